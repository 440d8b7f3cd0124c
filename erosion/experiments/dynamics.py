"""Layer-wise dynamics (section 4.3 of arXiv 2507.03662): where the models lie, who moved, and how.

As published: raw projections, separation and cosine distance between mean activations, and the eroded
fraction along the model direction, on the data at hand. Ours: the answer direction is fitted on other
questions than it is projected on; positions are in fitted gaps with bands that hold for the whole curve; the
tuned model's shift is held against its shift along random directions; and the move is taken apart.

======================  ====================================================================
part                    where
======================  ====================================================================
positions, 2 x 2        here
likeness, separation    :mod:`erosion.experiments.dynamics_likeness`
shares of the move      :mod:`erosion.experiments.dynamics_shares`
rotation of v           :mod:`erosion.experiments.dynamics_rotation`
attention and MLP       :mod:`erosion.experiments.dynamics_attribution`
layer of departure      :mod:`erosion.experiments.dynamics_departure`
over checkpoints        :mod:`erosion.experiments.trajectories`
======================  ====================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import einsum

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.experiments.dynamics_attribution import attribution
from erosion.experiments.dynamics_departure import (
    SMALLEST,
    by_question,
    departure,
    fraction_along_model_direction,
    published_fraction,
)
from erosion.experiments.dynamics_likeness import likeness, separations
from erosion.experiments.dynamics_paired import SIDES, Frame, paired, questions_of, random_vectors
from erosion.experiments.dynamics_rotation import rotation
from erosion.experiments.dynamics_shares import Neutral, move, shares
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.linalg import cosine, in_double, unit
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["Beside", "dynamics"]

_GAPS = "fitted gaps"


@dataclass(frozen=True, eq=False)
class Beside:
    """What is read beside the contrast; each may be absent, and what needs it is then left out.

    ``neutral``: ``aligned`` and ``tuned`` -> activations of neutral texts (or site -> their mean), for the
    constant shift. ``benign``: the models of the contrast -> activations of harmless questions, for the
    published finding's control. ``writes``: ``aligned`` and ``tuned`` -> activations of the contrast at
    :func:`~erosion.experiments.dynamics_attribution.write_sites`, for attribution at ``at`` (the site of
    one of the directions). ``smallest``: the smallest move of interest in fitted gaps, for the departure.
    """

    neutral: Mapping[str, Neutral] | None = None
    benign: Mapping[str, Activations] | None = None
    writes: Mapping[str, Activations] | None = None
    at: Site | None = None
    smallest: float = field(default=SMALLEST)


def dynamics(
    acts: Mapping[str, Activations],
    directions: Mapping[Site, Direction],
    *,
    held_out: Sequence[str],
    sampling: Sampling | None = None,
    beside: Beside | None = None,
) -> Result:
    """Where every model lies by layer on held-out questions, and what the tuned model's move consists of.

    Args:
        acts: ``aligned`` and ``tuned`` (``base`` where there is one) -> activations on the same contrast.
            Where they hold the questions that the directions were fitted on, the rotation is of fits on
            those.
        directions: site -> answer direction, fitted in the aligned model on other questions.
        held_out: the questions to project.
        sampling: draws and seed.
        beside: neutral texts, harmless questions and writes (see :class:`Beside`).

    Raises:
        BadContrast: a question without both answers, or not read in every model.
        BadInput: neutral texts or writes that lack a site.

    Memory: activations are turned to float64 one site at a time (six copies of one site at most), beside
    exchanges x layers floats, matrices of exchanges^2, and random directions x layers x d_model floats.
    """
    sampling, beside = sampling or Sampling(), beside or Beside()
    there = {name: one.of(held_out) for name, one in acts.items()}
    frame = Frame(questions_of(there["aligned"]), [site.layer for site in directions], sampling)
    sites = tuple(directions)
    along = {
        site: torch.cat([in_double(v.vector)[None], drawn]) / v.scale
        for (site, v), drawn in zip(
            directions.items(), random_vectors(directions, sampling).values(), strict=True
        )
    }
    places = {name: _positions(one, along, frame) for name, one in there.items()}
    ours = _where(places, frame)
    ours["departure"] = departure(ours["shift of tuned"], smallest=beside.smallest)  # type: ignore[arg-type]
    if "base" in places:
        ours["erosion of position"] = _erosion(there, places, directions, frame)
    ours["separation"] = separations(there, directions, frame)
    ours["likeness"] = likeness(there, sites, frame)
    ours["shares of the move"] = shares(there, directions, frame, neutral=beside.neutral)
    ours["size of the move"] = move(there, directions, frame)
    ours["rotation"] = _rotation(acts, directions, frame)
    ours |= _benign(there, beside, along, frame)
    if beside.writes is not None:
        at = directions[beside.at or sites[len(sites) // 2]]
        ours["attribution"] = attribution(beside.writes, at, frame)
    inputs = {
        "layers": list(frame.labels),
        "held-out questions": len(frame.questions),
        "span": there["aligned"].span,
        "neutral texts": beside.neutral is not None,
        "benign questions": _asked(beside.benign),
    }
    return Result("dynamics", inputs, _published(there, directions, beside.benign), ours)


def _asked(benign: Mapping[str, Activations] | None) -> int:
    return 0 if benign is None else len(set(benign["aligned"].questions))


def _positions(
    acts: Activations, along: Mapping[Site, Float[Tensor, "draw d_model"]], frame: Frame
) -> Float[Array, "question side draw layer"]:
    """Projections in fitted gaps: draw 0 is the direction, the others are random."""
    return np.stack(
        [
            einsum(paired(acts, site, frame.questions), drawn, "q side d, draw d -> q side draw")
            .cpu()
            .numpy()
            for site, drawn in along.items()
        ],
        axis=-1,
    )


def _where(places: Mapping[str, Float[Array, "question side draw layer"]], frame: Frame) -> dict[str, object]:
    """Positions, the shift, and the 2 x 2 of model (aligned, tuned) and data (both answers) along v.

    Model effect: the shift, over both answers. Data effect: the gap between the answers, over both models.
    Interaction: how much the tuned model changed the gap; below 0, it tells the answers apart less.
    """
    positions = {
        name: {side: frame.mean(place[:, i, 0], unit=_GAPS) for i, side in enumerate(SIDES)}
        for name, place in places.items()
    }
    before, after = places["aligned"], places["tuned"]
    effects = {
        "model": (after - before).mean(axis=1),
        "data": ((before + after)[:, 0] - (before + after)[:, 1]) / 2,
        "interaction": (after - before)[:, 0] - (after - before)[:, 1],
    }
    bands = {
        name: frame.mean(effect[:, 0], unit=_GAPS).with_control(
            frame.chance(effect[:, 1:].mean(axis=0), unit=_GAPS, what="random directions")
        )
        for name, effect in effects.items()
    }
    gap = {name: place[:, 0, 0] - place[:, 1, 0] for name, place in places.items()}
    kept = frame.ratio(gap["tuned"], gap["aligned"])
    return {"position": positions, "shift of tuned": bands["model"], "two by two": bands, "gap kept": kept}


def _erosion(
    acts: Mapping[str, Activations],
    places: Mapping[str, Float[Array, "question side draw layer"]],
    directions: Mapping[Site, Direction],
    frame: Frame,
) -> Band:
    """Erosion of position, before random directions that reach as far from base to aligned as v does.

    Along a wholly random direction the way from base to aligned is nearly zero and the ratio means nothing;
    so with u = unit(mu_aligned - mu_base) the control is (v . u) u + sqrt(1 - (v . u)^2) r, r random and
    orthogonal to u: the same denominator, and chance alone in the rest.
    """
    middle = {name: place[:, :, 0].mean(axis=1) for name, place in places.items()}
    band = frame.ratio(middle["aligned"] - middle["tuned"], middle["aligned"] - middle["base"])
    random = random_vectors(directions, frame.sampling)
    curves = np.full((frame.sampling.random_directions, len(directions)), np.nan)
    for i, (site, v) in enumerate(directions.items()):
        mean = {
            name: paired(acts[name], site, frame.questions).mean(dim=(0, 1))
            for name in ("base", "aligned", "tuned")
        }
        way = mean["aligned"] - mean["base"]
        if np.isnan(band.values[i]) or not bool(way.any()):
            continue
        u = unit(way)
        reach = cosine(in_double(v.vector), u)
        drawn = random[site] - einsum(random[site] @ u, u, "draw, d -> draw d")
        like_v = reach * u + torch.sqrt(1 - reach**2) * unit(drawn)
        curves[:, i] = (like_v @ (mean["aligned"] - mean["tuned"]) / (like_v @ way)).cpu().numpy()
    return band.with_control(
        frame.chance(curves, unit="fraction", what="random directions that reach base as v does")
    )


def _rotation(
    acts: Mapping[str, Activations], directions: Mapping[Site, Direction], frame: Frame
) -> dict[str, Band]:
    """Of fits on the questions that the directions saw, where those were read; else on the held-out ones."""
    read = set(acts["aligned"].questions) & set(acts["tuned"].questions)
    seen = [q for v in directions.values() for q in (v.passport.questions or ()) if q in read]
    questions = list(dict.fromkeys(seen)) if len(set(seen)) >= 4 else list(frame.questions)
    chosen = {name: acts[name].of(questions) for name in ("aligned", "tuned")}
    fitting = Frame(questions_of(chosen["aligned"]), frame.labels, frame.sampling)
    return rotation(chosen, tuple(directions), fitting)


def _benign(
    acts: Mapping[str, Activations],
    beside: Beside,
    along: Mapping[Site, Float[Tensor, "draw d_model"]],
    frame: Frame,
) -> dict[str, object]:
    """The shift along v and the published fraction, on the contrast and on harmless questions alike."""
    frames = {"contrast": (acts, Frame(sorted(frame.questions), frame.labels, frame.sampling))}
    found: dict[str, object] = {}
    if beside.benign is not None:
        benign = beside.benign
        frames["benign"] = (
            benign,
            Frame(sorted(set(benign["aligned"].questions)), frame.labels, frame.sampling),
        )
        moved = np.stack(
            [
                (by_question(benign["tuned"], site) - by_question(benign["aligned"], site))
                @ drawn[0].to("cpu")
                for site, drawn in along.items()
            ],
            axis=1,
        )
        shift = frames["benign"][1].mean(moved, unit=_GAPS)
        found["shift on benign questions"] = shift
        found["departure on benign questions"] = departure(shift, smallest=beside.smallest)
    if all("base" in models for models, _ in frames.values()):
        bands = {
            name: fraction_along_model_direction(models, tuple(along), its)
            for name, (models, its) in frames.items()
        }
        if "benign" in bands:
            bands["contrast"] = bands["contrast"].with_control(bands["benign"])
        found["eroded fraction along the model direction"] = bands
    return found


def _published(
    acts: Mapping[str, Activations],
    directions: Mapping[Site, Direction],
    benign: Mapping[str, Activations] | None,
) -> dict[str, object]:
    """Mean raw projection, separation, 1 - cosine of means and eroded fraction by layer, as in the paper.

    separation = (mean - mean)/(std + std)
    """
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
    if "base" in acts:
        sets = {"contrast": acts} | ({} if benign is None or "base" not in benign else {"benign": benign})
        result["eroded fraction along the model direction"] = {
            name: published_fraction(models, tuple(directions)) for name, models in sets.items()
        }
    return result
