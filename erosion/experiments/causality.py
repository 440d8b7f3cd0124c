"""Causality, layer by layer: does moving a model along the direction bring the eroded margin back?

At each layer the tuned model is steered toward aligned by the fitted gap, its projection is clamped to the
aligned model's mean, and its part along the direction is removed; each time the margins of held-out
questions are measured anew. An effect of an edit on the tuned model alone is not yet restoration, since the
edit may do the same to any model: so the *difference* from the same edit on the aligned model is what counts,
and both are held against random directions of the same norm, the same draws at every layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from erosion.activations import Activations
from erosion.directions import Direction, check_unseen, random_direction
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.interventions import Intervention, ablate, clamp, steer
from erosion.metrics import choice_margin_of, harm_margin_of, score_choices
from erosion.models import Model
from erosion.models.replay import replaying
from erosion.progress import tracked
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band, random_band, ratio_band, simultaneous_band

__all__ = ["EDITS", "causal_cell", "causality"]

EDITS = ("steer", "clamp", "ablate")
_METRICS = {"harm margin": harm_margin_of, "choice margin": choice_margin_of}

Cell = Mapping[str, Array]


def causal_cell(
    model: Model, contrast: Contrast, direction: Direction, *, aligned: Activations, draws: int, seed: int = 0
) -> dict[str, Array]:
    """Margins at one layer: untouched, under each edit, and under random directions.

    Args:
        model: the model to edit.
        contrast: held-out questions.
        direction: the answer direction at that layer.
        aligned: the aligned model's activations on the fit split: ``clamp`` puts the projection where their
            mean projection is.
        draws: random directions (same scale, same draws at every layer), each edited in the same three ways.
        seed: of the random directions.

    Returns:
        ``"harm margin before"``, ``"harm margin steer"``, … -> ``[question]``; ``"harm margin random
        steer"``, … -> ``[draw]`` mean effects. The same for the choice margin.

    Raises:
        BadDirection: the direction was fitted on one of the questions.

    Cost: 4 + 3 x draws passes over the contrast, of which all but the first skip the blocks up to this
    layer. Memory: one batch of logits, and the residual stream at this layer for every token.
    """
    check_unseen(direction, contrast.questions)
    cell: dict[str, Array] = {}
    random: dict[str, list[float]] = {}
    exchanges = contrast.exchanges
    rendered = model.render(exchanges)

    def margins(*under: Intervention) -> dict[str, Array]:
        with model.applied(under):
            scored = score_choices(model, rendered, exchanges)
        return {metric: of(scored).values for metric, of in _METRICS.items()}

    with replaying(model, direction.site.layer):
        before = margins()
        for metric, values in before.items():
            cell[f"{metric} before"] = values
        for name, edit in _edits(direction, aligned).items():
            for metric, values in margins(edit).items():
                cell[f"{metric} {name}"] = values
        for draw in tracked(range(draws), name=f"random directions at {direction.site}"):
            control = random_direction(like=direction, seed=seed, draw=draw)
            for name, edit in _edits(control, aligned).items():
                for metric, values in margins(edit).items():
                    moved = float((values - before[metric]).mean())
                    random.setdefault(f"{metric} random {name}", []).append(moved)
    return cell | {name: np.array(values) for name, values in random.items()}


def _edits(direction: Direction, aligned: Activations) -> dict[str, Intervention]:
    """Toward aligned by the fitted gap; to the aligned model's mean; and not at all along the direction."""
    return {
        "steer": steer(direction, by=1.0),
        "clamp": clamp(direction, to=float(direction.project(aligned[direction.site]).mean())),
        "ablate": ablate(direction),
    }


def causality(
    tuned: Mapping[Site, Cell],
    aligned: Mapping[Site, Cell],
    questions: Sequence[str],
    *,
    sampling: Sampling | None = None,
) -> Result:
    """Curves over layers from the cells of both models (see :func:`causal_cell`).

    Args:
        tuned: site -> cell of the tuned model.
        aligned: site -> cell of the aligned model, same directions and questions.
        questions: the ids behind the cells' rows.
        sampling: draws and seed of the bands.
    """
    sampling = sampling or Sampling()
    ours = {metric: _of_metric(metric, tuned, aligned, questions, sampling) for metric in _METRICS}
    inputs = {
        "layers": [site.layer for site in tuned],
        "held-out questions": len(set(questions)),
        "random directions": sampling.random_directions,
        "scope": "all",
    }
    return Result("causality", inputs, {}, ours)


def _of_metric(
    metric: str,
    tuned: Mapping[Site, Cell],
    aligned: Mapping[Site, Cell],
    questions: Sequence[str],
    sampling: Sampling,
) -> dict[str, object]:
    labels = [site.layer for site in tuned]
    unit = "nats per token" if metric == "harm margin" else "nats"

    def curve(cells: Mapping[Site, Cell], name: str) -> Array:
        return np.stack([cell[f"{metric} {name}"] for cell in cells.values()], axis=1)

    def band(values: Array) -> Band:
        return simultaneous_band(
            values, questions, unit=unit, labels=labels, resamples=sampling.resamples, seed=sampling.seed
        )

    def null(random: Array) -> Band:
        made = random_band(random, unit=unit, n_questions=len(set(questions)), labels=labels)
        return replace(made, method=f"{len(random)} random directions of the same norm")

    lost = curve(aligned, "before") - curve(tuned, "before")
    result: dict[str, object] = {"lost": band(lost).at(labels[0])}
    for name in EDITS:
        on_tuned = curve(tuned, name) - curve(tuned, "before")
        on_aligned = curve(aligned, name) - curve(aligned, "before")
        effect, difference = band(on_tuned), band(on_tuned - on_aligned)
        if f"{metric} random {name}" in next(iter(tuned.values())):
            random = curve(tuned, f"random {name}"), curve(aligned, f"random {name}")
            effect, difference = (
                effect.with_control(null(random[0])),
                difference.with_control(null(random[0] - random[1])),
            )
        result[name] = {
            "on tuned": effect,
            "on aligned": band(on_aligned),
            "difference": difference,
            "recovered": ratio_band(
                on_tuned - on_aligned,
                lost,
                questions,
                labels=labels,
                resamples=sampling.resamples,
                seed=sampling.seed,
            ),
        }
    return result
