"""Layer-wise dynamics (section 4.3 of arXiv 2507.03662): where the three models lie along the direction.

As published: raw projections, separation and cosine distance between mean activations, on the data at
hand. Ours: the answer direction is fitted on other questions than it is projected on; positions are in
fitted gaps with bands that hold for the whole curve; the tuned model's shift is held against its shift
along random directions of the same kind; and erosion of position is a ratio with a joint interval.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from erosion.activations import Activations
from erosion.directions import Direction, random_direction
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.linalg import cosine, in_double
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band, random_band, ratio_band, simultaneous_band

__all__ = ["dynamics"]


def dynamics(
    acts: Mapping[str, Activations],
    directions: Mapping[Site, Direction],
    *,
    held_out: Sequence[str],
    sampling: Sampling | None = None,
) -> Result:
    """Projections of every model by layer on held-out questions.

    Args:
        acts: ``aligned`` and ``tuned`` (``base`` where there is one) -> activations on the same contrast.
        directions: site -> answer direction, fitted in the aligned model on other questions.
        held_out: the questions to project.
        sampling: draws and seed.

    Memory: exchanges x layers floats for each model.
    """
    sampling = sampling or Sampling()
    there = {name: one.of(held_out) for name, one in acts.items()}
    labels = [site.layer for site in directions]
    places = {name: _positions(one, directions) for name, one in there.items()}
    questions = [
        q
        for q, label in zip(there["aligned"].questions, there["aligned"].labels, strict=True)
        if label == "aligned"
    ]

    def band(values: Array) -> Band:
        return simultaneous_band(
            values,
            questions,
            unit="fitted gaps",
            labels=labels,
            resamples=sampling.resamples,
            seed=sampling.seed,
        )

    positions = {
        name: {side: band(values) for side, values in sides.items()} for name, sides in places.items()
    }
    middle = {name: (sides["aligned"] + sides["misaligned"]) / 2 for name, sides in places.items()}
    shift = band(middle["tuned"] - middle["aligned"]).with_control(
        _random_shifts(there, directions, labels, len(set(questions)), sampling)
    )
    ours: dict[str, object] = {"position": positions, "shift of tuned": shift}
    if "base" in middle:
        ours["erosion of position"] = ratio_band(
            middle["aligned"] - middle["tuned"],
            middle["aligned"] - middle["base"],
            questions,
            labels=labels,
            resamples=sampling.resamples,
            seed=sampling.seed,
        )
    inputs = {"layers": labels, "held-out questions": len(set(questions)), "span": there["aligned"].span}
    return Result("dynamics", inputs, _published(there, directions), ours)


def _positions(acts: Activations, directions: Mapping[Site, Direction]) -> dict[str, Array]:
    """Side -> [question, layer] projections, in fitted gaps."""
    return {
        label: np.stack([(v.project(side[site]) / v.scale).numpy() for site, v in directions.items()], axis=1)
        for label, side in (("aligned", acts.aligned), ("misaligned", acts.misaligned))
    }


def _random_shifts(
    acts: Mapping[str, Activations],
    directions: Mapping[Site, Direction],
    labels: Sequence[int],
    n_questions: int,
    sampling: Sampling,
) -> Band:
    """How far the tuned model moved along random directions, the same draws at every layer."""
    moved = {site: in_double(acts["tuned"][site] - acts["aligned"][site]).mean(0) for site in directions}
    curves = [
        [
            float(
                torch.dot(
                    in_double(random_direction(like=v, seed=sampling.seed, draw=draw).vector), moved[site]
                )
                / v.scale
            )
            for site, v in directions.items()
        ]
        for draw in range(sampling.random_directions)
    ]
    return random_band(np.array(curves), unit="fitted gaps", n_questions=n_questions, labels=list(labels))


def _published(acts: Mapping[str, Activations], directions: Mapping[Site, Direction]) -> dict[str, object]:
    """Mean raw projection, separation (mean - mean)/(std + std) and 1 - cosine of means, by layer."""
    raw = {
        name: {site: v.project(one[site]).numpy() for site, v in directions.items()}
        for name, one in acts.items()
    }
    result: dict[str, object] = {
        "mean raw projection": {
            name: [float(p.mean()) for p in curve.values()] for name, curve in raw.items()
        }
    }
    for other in (name for name in acts if name != "aligned"):
        result[f"{other} against aligned"] = {
            "separation": [
                float((a.mean() - b.mean()) / max(a.std() + b.std(), 1e-12))
                for a, b in zip(raw["aligned"].values(), raw[other].values(), strict=True)
            ],
            "1 - cosine of mean activations": [
                1
                - float(
                    cosine(in_double(acts["aligned"][site]).mean(0), in_double(acts[other][site]).mean(0))
                )
                for site in directions
            ],
        }
    return result
