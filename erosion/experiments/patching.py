"""Patching between models and between runs: whose computation, put where, moves the margin?

Between models, activations of a donor are put into another model that reads the same tokens:

===========  =====================  ==================================================================
name         patched <- donor       recovered is
===========  =====================  ==================================================================
``rescue``   tuned <- aligned       the share of the lost margin that returns
``corrupt``  aligned <- tuned       the share of the lost margin that goes
``base``     aligned <- base        the share of what alignment added that goes
===========  =====================  ==================================================================

Patching the whole residual at every position restores the donor by construction: that is the ceiling. The
finding is the part along v, against the same part along random directions. Within one model the run on the
misaligned answer is patched with the run on the aligned answer to the same question (:func:`within_run`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import repeat

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.experiments.layer_bands import LayerBands
from erosion.experiments.patching_cells import CONTROL, PARTS, patching_cells
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.experiments.within_run import ANSWER
from erosion.models import Model
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band
from erosion.sweeps import Sweep, sweep
from erosion.token_activations import TokenActivations

__all__ = ["PAIRS", "patched", "patching"]

PAIRS: Mapping[str, tuple[str, str]] = {
    "rescue": ("tuned", "aligned"),
    "corrupt": ("aligned", "tuned"),
    "base": ("aligned", "base"),
}
METRICS = ("harm margin", "choice margin")
Sweeps = Mapping[Site, Sweep]


def patched(
    model: Model,
    contrast: Contrast,
    donor: TokenActivations,
    direction: Direction,
    *,
    aligned: Activations,
    sampling: Sampling | None = None,
) -> Sweep:
    """Margins under every patch of one layer (see :func:`patching_cells`).

    Args:
        model: the model that is patched.
        contrast: held-out questions, the donor's own.
        donor: the other model's activations on them, at the layer's sites.
        direction: the answer direction at that layer.
        aligned: the aligned model's activations on the fit split, for the controls.
        sampling: how many random directions, and the seed.

    Raises:
        BadDirection: the direction was fitted on one of the questions.
        BadInput: the donor was read on other exchanges or tokens.

    Cost: 27 + heads + draws passes over the contrast, most of which skip the blocks up to this layer.
    Memory: as :func:`erosion.sweep`, beside the donor's activations.
    """
    sampling = sampling or Sampling()
    cells = patching_cells(
        donor, direction, aligned=aligned, draws=sampling.random_directions, seed=sampling.seed
    )
    return sweep(model, contrast, cells)


def patching(
    sweeps: Mapping[str, Sweeps],
    *,
    base: Mapping[str, Array] | None = None,
    within: Mapping[str, Sweeps] | None = None,
    sampling: Sampling | None = None,
) -> Result:
    """Curves and maps over layers from the sweeps of every pair of models.

    Args:
        sweeps: ``rescue``, ``corrupt`` and, with base, ``base`` -> site -> sweep (see :func:`patched`).
        base: the base model's margins on the same questions, metric -> ``[question]``, for the pair ``base``.
        within: model -> site -> sweep of patches between its own runs (see :func:`within_run`).
        sampling: draws and seed of the bands.

    Returns:
        ``ours[pair][metric]``: ``gap`` (by how much the donor's margin differs), for each part its effect and
        share of the gap by layer, and effects by place and by component.
    """
    sampling = sampling or Sampling()
    before = {pair: next(iter(found.values())).before for pair, found in sweeps.items()}
    margins = {"tuned": before["rescue"], "aligned": before["corrupt"], "base": base or {}}
    ours: dict[str, Any] = {
        pair: {
            metric: _of_pair(found, margins[PAIRS[pair][1]][metric], metric, sampling) for metric in METRICS
        }
        for pair, found in sweeps.items()
    }
    if within:
        ours["within"] = {model: _within(found, sampling) for model, found in within.items()}
    first = next(iter(sweeps["rescue"].values()))
    inputs = {
        "layers": [site.layer for site in sweeps["rescue"]],
        "held-out questions": len(set(first.questions)),
        "random directions": sampling.random_directions,
        "pairs": {pair: f"{PAIRS[pair][0]} <- {PAIRS[pair][1]}" for pair in sweeps},
    }
    return Result("patching", inputs, {}, ours)


def _of_pair(sweeps: Sweeps, donor: Array, metric: str, sampling: Sampling) -> dict[str, Any]:
    curves = _Curves(sweeps, donor, metric, sampling)
    bands = curves.bands
    found: dict[str, Any] = {"gap": bands.band(curves.gap).at(bands.labels[0])}
    for part in PARTS:
        effect = curves.effect(at="resid_post", part=part, scope="all", direction="v")
        found[part] = {"effect": bands.band(effect), "share": bands.share(effect, curves.gap)}
    along = found["along"]["effect"]
    found["along"]["effect"] = along.with_control(curves.null())
    found["by place"] = curves.places()
    found["by component"] = curves.components()
    return found


class _Curves:
    """One metric's effects under the patches of one pair, positive where they go the donor's way."""

    def __init__(self, sweeps: Sweeps, donor: Array, metric: str, sampling: Sampling) -> None:
        self.sweeps, self.metric = sweeps, metric
        self.first = next(iter(sweeps.values()))
        labels = tuple(site.layer for site in sweeps)
        self.bands = LayerBands(self.first.questions, self.first.units[metric], labels, sampling)
        apart = donor - self.first.before[metric]
        self.sign = 1.0 if apart.mean() >= 0 else -1.0
        self.gap = repeat(self.sign * apart, "question -> question layer", layer=len(labels))

    def effect(self, **labels: Any) -> Array:
        """The effect of one patch on every question, ``[question, layer]``."""
        chosen = [one.where(**labels) for one in self.sweeps.values()]
        return self.sign * np.stack([one.effects(self.metric)[0] for one in chosen], axis=1)

    def null(self) -> Band:
        """Where the same patch along one more random direction would lie."""
        chosen = [one.where(direction=CONTROL) for one in self.sweeps.values()]
        drawn = np.stack([one.effects(self.metric).mean(-1) for one in chosen], axis=1)
        return self.bands.null(self.sign * drawn, said=f"random directions ({CONTROL}), the same patch")

    def places(self) -> dict[str, dict[str, Band]]:
        """Part -> span or position -> effect by layer."""
        scopes = dict.fromkeys(str(cell["scope"]) for cell in self.first.cells if cell["scope"] != "all")
        return {
            part: {
                scope: self.bands.band(self.effect(at="resid_post", part=part, scope=scope, direction="v"))
                for scope in scopes
            }
            for part in PARTS[:2]
        }

    def components(self) -> dict[str, Band]:
        """Component -> effect by layer: attention, MLP, each head, whole and along v."""
        found = {}
        for cell in self.first.cells:
            if cell["at"] != "resid_post":
                name = str(cell["at"]) + ("" if cell["part"] == "whole" else ", along v")
                found[name] = self.bands.band(self.effect(at=cell["at"], part=cell["part"]))
        return found


def _within(sweeps: Sweeps, sampling: Sampling) -> dict[str, Band]:
    """Part -> change of log p per token of the misaligned answer, by layer."""
    first, labels = next(iter(sweeps.values())), tuple(site.layer for site in sweeps)
    bands = LayerBands(first.questions, first.units[ANSWER], labels, sampling)
    found = {}
    for part in dict.fromkeys(str(cell["part"]) for cell in first.cells):
        chosen = [one.where(part=part) for one in sweeps.values()]
        found[part] = bands.band(np.stack([one.effects(ANSWER)[0] for one in chosen], axis=1))
    return found
