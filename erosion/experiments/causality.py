"""Causality, layer by layer: does moving a model along the direction bring the eroded margin back?

At each layer the tuned model is steered toward aligned by the fitted gap, its projection is clamped to the
aligned model's mean, and its part along the direction is removed; each time the margins of held-out
questions are measured anew. An effect of an edit on the tuned model alone is not yet restoration, since the
edit may do the same to any model: so the *difference* from the same edit on the aligned model is what counts.
Both are held against random directions, isotropic and of the activations' covariance, the same draws at every
layer, and against the same fit to shuffled labels; what the edits cost on neutral texts stands beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from einops import reduce

from erosion.activations import Activations
from erosion.directions import Direction, random_direction
from erosion.experiments.causal_cells import EDITS, causal_cells, edits_of
from erosion.experiments.layer_bands import LayerBands
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.models import Model
from erosion.prompts import Contrast, Text
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band, mean
from erosion.sweeps import Cell, Damage, Sweep, damage, sweep

__all__ = ["causal_cell", "causal_damage", "causal_domains", "causality"]

METRICS = ("harm margin", "choice margin")
MATCHED = "against covariance-matched directions"
Sweeps = Mapping[Site, Sweep]


def causal_cell(
    model: Model, contrast: Contrast, direction: Direction, *, aligned: Activations, draws: int, seed: int = 0
) -> Sweep:
    """Margins at one layer: untouched, under each edit along v, and under every control.

    Args:
        model: the model to edit.
        contrast: held-out questions.
        direction: the answer direction at that layer.
        aligned: the aligned model's activations on the fit split (see :func:`causal_cells`).
        draws: random directions of each kind.
        seed: of the controls.

    Raises:
        BadDirection: the direction was fitted on one of the questions.

    Cost: 9 + 6 x draws passes over the contrast, all but one of which skip the blocks up to this layer.
    Memory: as :func:`erosion.sweep`.
    """
    return sweep(model, contrast, causal_cells(direction, aligned=aligned, draws=draws, seed=seed))


def causal_damage(
    model: Model,
    texts: Sequence[Text],
    directions: Mapping[Site, Direction],
    *,
    aligned: Activations,
    sampling: Sampling | None = None,
    draws: int = 5,
) -> dict[str, Any]:
    """What the edits along v cost on neutral texts, by layer: edit -> KL and rise of cross-entropy, as bands.

    The control is the mean of ``draws`` random directions. Arguments as :func:`causal_cell`.

    Raises:
        BadInput: no text.
    """
    sampling = sampling or Sampling()
    cells = [
        cell
        for direction in directions.values()
        for cell in _text_cells(direction, aligned, draws, sampling.seed)
    ]
    found = damage(model, texts, cells)
    rows = {
        (edit, kind): [
            i for i, cell in enumerate(cells) if cell.labels["edit"] == edit and _kind(cell) == kind
        ]
        for edit in EDITS
        for kind in ("v", "random")
    }
    return {
        edit: {
            name: _text_band(found, rows[edit, "v"], rows[edit, "random"], list(directions), name, sampling)
            for name in ("kl", "cost")
        }
        for edit in EDITS
    }


def _text_cells(direction: Direction, aligned: Activations, draws: int, seed: int) -> list[Cell]:
    every = [direction, *(random_direction(like=direction, seed=seed, draw=i) for i in range(draws))]
    return [
        Cell({"edit": edit, "layer": direction.site.layer, "draw": draw - 1}, (made,))
        for draw, one in enumerate(every)
        for edit, made in edits_of(one, aligned).items()
    ]


def _kind(cell: Cell) -> str:
    return "v" if cell.labels["draw"] == -1 else "random"


def _text_band(
    found: Damage, own: list[int], random: list[int], sites: list[Site], name: str, sampling: Sampling
) -> Band:
    values: Array = getattr(found, name)
    bands = LayerBands(found.texts, "nats per token", tuple(site.layer for site in sites), sampling)
    drawn = reduce(values[random], "(layer draw) text -> text layer", "mean", layer=len(sites))
    method = f"mean of {len(random) // len(sites)} random directions"
    return bands.band(values[own].T).with_control(replace(bands.band(drawn), method=method))


def causal_domains(tuned: Sweep, aligned: Sweep, domains: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Edit -> domain -> the difference that the edit along v makes, and what was lost there.

    Intervals hold for all domains of an edit at once (Bonferroni).

    Args:
        tuned: a sweep of the edits along v at one layer.
        aligned: the same of the aligned model.
        domains: question -> domain.
    """
    names = list(dict.fromkeys(domains[q] for q in tuned.questions))
    confidence, metric = 1 - 0.05 / len(names), "harm margin"
    rows = {name: [i for i, q in enumerate(tuned.questions) if domains[q] == name] for name in names}

    def estimates(values: Array) -> dict[str, Any]:
        return {
            name: mean(
                values[at], [tuned.questions[i] for i in at], unit=tuned.units[metric], confidence=confidence
            )
            for name, at in rows.items()
        }

    found = {"lost": estimates(aligned.before[metric] - tuned.before[metric])}
    for edit in EDITS:
        one, other = (s.where(edit=edit).effects(metric)[0] for s in (tuned, aligned))
        found[edit] = estimates(one - other)
    return found


def causality(
    tuned: Sweeps,
    aligned: Sweeps,
    *,
    sampling: Sampling | None = None,
    beside: Mapping[str, Any] | None = None,
) -> Result:
    """Curves over layers from the sweeps of both models (see :func:`causal_cell`).

    Args:
        tuned: site -> sweep of the tuned model.
        aligned: site -> sweep of the aligned model, same directions and questions.
        sampling: draws and seed of the bands.
        beside: what else belongs to the result: ``damage``, ``domains``, the ``noise`` floor.
    """
    sampling = sampling or Sampling()
    ours: dict[str, Any] = {metric: _of_metric(metric, tuned, aligned, sampling) for metric in METRICS}
    first = next(iter(tuned.values()))
    inputs = {
        "layers": [site.layer for site in tuned],
        "held-out questions": len(set(first.questions)),
        "random directions": sampling.random_directions,
        "scope": "all, and prompt",
        "blocks skipped": all(one.replayed for one in (*tuned.values(), *aligned.values())),
    }
    return Result("causality", inputs, {}, ours | dict(beside or {}))


def _of_metric(metric: str, tuned: Sweeps, aligned: Sweeps, sampling: Sampling) -> dict[str, Any]:
    curves = _Curves(metric, tuned, aligned, sampling)
    bands = curves.bands
    result: dict[str, Any] = {"lost": bands.band(curves.lost).at(bands.labels[0])}
    for edit in EDITS:
        difference = curves.difference(edit)
        found = {
            "on tuned": bands.band(curves.of(tuned, edit)).with_control(
                curves.null(edit, "isotropic", alone=True)
            ),
            "on aligned": bands.band(curves.of(aligned, edit)),
            "difference": bands.band(difference).with_control(curves.null(edit, "isotropic")),
            "recovered": bands.share(difference, curves.lost),
            "difference, shuffled labels": bands.band(curves.difference(edit, "shuffled labels")),
            "difference, prompt alone": bands.band(curves.difference(edit, scope="prompt")),
        }
        if edit == "clamp":
            prompt = found["difference, prompt alone"]
            null = curves.null(edit, "isotropic", scope="prompt")
            found["difference, prompt alone"] = prompt.with_control(null)
        if edit != "steer":
            matched = curves.null(edit, "covariance-matched")
            found[MATCHED] = found["difference"].with_control(matched)
        result[edit] = found
    return result


class _Curves:
    """One metric's effects by layer, ``[question, layer]``, on both models."""

    def __init__(self, metric: str, tuned: Sweeps, aligned: Sweeps, sampling: Sampling) -> None:
        first = next(iter(tuned.values()))
        self.metric, self.tuned, self.aligned = metric, tuned, aligned
        labels = tuple(site.layer for site in tuned)
        self.bands = LayerBands(first.questions, first.units[metric], labels, sampling)
        self.lost = np.stack(
            [aligned[site].before[metric] - one.before[metric] for site, one in tuned.items()], axis=1
        )

    def of(self, sweeps: Sweeps, edit: str, direction: str = "v", scope: str = "all") -> Array:
        """The effect of one edit on every question, ``[question, layer]``."""
        chosen = [s.where(edit=edit, direction=direction, scope=scope) for s in sweeps.values()]
        return np.stack([one.effects(self.metric)[0] for one in chosen], axis=1)

    def difference(self, edit: str, direction: str = "v", scope: str = "all") -> Array:
        """On tuned minus on aligned."""
        return self.of(self.tuned, edit, direction, scope) - self.of(self.aligned, edit, direction, scope)

    def null(self, edit: str, kind: str, *, scope: str = "all", alone: bool = False) -> Band:
        """Where one more random direction's difference would lie (``alone``: its effect on tuned)."""
        drawn = self._drawn(self.tuned, edit, kind, scope)
        if not alone:
            drawn = drawn - self._drawn(self.aligned, edit, kind, scope)
        return self.bands.null(drawn, said=f"random directions ({kind}) of the same norm")

    def _drawn(self, sweeps: Sweeps, edit: str, kind: str, scope: str) -> Array:
        """Mean effects of the random directions, ``[draw, layer]``."""
        chosen = [s.where(edit=edit, direction=kind, scope=scope) for s in sweeps.values()]
        return np.stack([one.effects(self.metric).mean(-1) for one in chosen], axis=1)
