"""Which direction, at which layer, how strong: chosen on a split of its own, the whole table kept.

After Arditi et al. (arXiv 2406.11717, section 2.3 and appendix C), who choose a refusal direction among all
layers and positions by three numbers. Here, for a candidate v (a layer and a span):

==================  =====================================================================================
in the paper        here
==================  =====================================================================================
bypass score        ``ablation``: change of the *aligned* model's margin when v is ablated at every writing
                    site; the paper measures refusal log-odds on harmful prompts
induce score        ``addition``: change of the *tuned* model's margin when the fitted gap is added at v's
                    layer; the paper adds to harmless prompts and wants refusal
KL score            ``kl``: of the aligned model's next-token distribution on neutral texts under that
                    ablation, a mean over tokens; the paper takes the last position of harmless prompts
==================  =====================================================================================

The rule is the paper's: among candidates with KL <= 0.1, addition > 0 and a layer before the last fifth, the
one whose ablation leaves least. Where none passes, none is chosen. A layer here is a block's output, the
paper's its input: l here is l + 1 there, and the last fifth begins one block later. The strength is then the
one with the largest gain of the tuned model's margin at KL <= 0.1. Both choices are made on the select split;
what the chosen edit does is reported on held-out questions, beside random directions at the same layer and
strength. :func:`erosion.select_causally` does all of it in one call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from erosion.directions import Direction, random_direction
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.interventions import ablate, repeated, steer
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Control, Estimate, mean, random_band
from erosion.sweeps import Cell, Damage, Sweep, grid

__all__ = [
    "MOST_KL",
    "STRENGTHS",
    "Candidate",
    "Chosen",
    "ablation_cells",
    "addition_cells",
    "candidates_of",
    "choose",
    "choose_strength",
    "reported_cells",
    "selection",
    "strength_cells",
]

MOST_KL = 0.1  # nats per token
LAST_SHARE = 0.2  # of the layers, where nothing is chosen
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
METRICS = ("harm margin", "choice margin")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A direction that may be chosen, and the span over which it was fitted."""

    direction: Direction
    span: str

    @property
    def labels(self) -> dict[str, str | int]:
        """Layer and span, as cells are labelled."""
        return {"layer": self.direction.site.layer, "span": self.span}


@dataclass(frozen=True)
class Chosen:
    """Which of the rows was chosen, or None with the reason."""

    index: int | None
    why: str


def candidates_of(by_span: Mapping[str, Mapping[Site, Direction]]) -> tuple[Candidate, ...]:
    """Every layer's direction for every span."""
    return tuple(Candidate(v, span) for span, found in by_span.items() for v in found.values())


def ablation_cells(candidates: Sequence[Candidate], *, at: Sequence[Site]) -> tuple[Cell, ...]:
    """Each candidate ablated at every site that writes (:func:`erosion.writing_sites`)."""
    return tuple(Cell(one.labels, repeated(ablate(one.direction), at=at)) for one in candidates)


def addition_cells(candidates: Sequence[Candidate]) -> tuple[Cell, ...]:
    """Each candidate's fitted gap added at its own layer."""
    return tuple(Cell(one.labels, (steer(one.direction, by=1.0),)) for one in candidates)


def strength_cells(direction: Direction) -> tuple[Cell, ...]:
    """The chosen direction added at every strength of :data:`STRENGTHS`."""
    return grid(lambda by: steer(direction, by=by), by=STRENGTHS)


def reported_cells(direction: Direction, *, by: float, sampling: Sampling) -> tuple[Cell, ...]:
    """The chosen direction at the chosen strength (``v``), and random ones in its place (``isotropic``)."""
    draws = range(sampling.random_directions)
    random = [random_direction(like=direction, seed=sampling.seed, draw=i) for i in draws]
    named = [("v", 0, direction), *(("isotropic", i, one) for i, one in enumerate(random))]
    return tuple(Cell({"direction": kind, "draw": i}, (steer(one, by=by),)) for kind, i, one in named)


def choose(ablation: Sweep, addition: Sweep, damage: Damage, *, n_layers: int) -> Chosen:
    """The row that passes and whose ablation leaves least of the harm margin.

    Args:
        ablation: of :func:`ablation_cells` on the aligned model, select split.
        addition: of :func:`addition_cells` on the tuned model, select split, the same rows.
        damage: of the ablations, on neutral texts.
        n_layers: of the model.
    """
    changed = ablation.effects("harm margin").mean(-1)
    passing = [i for i in range(len(ablation)) if not failures(ablation, addition, damage, i, n_layers)]
    if not passing:
        return Chosen(None, f"none of the {len(ablation)} candidates passes all three conditions")
    best = min(passing, key=lambda i: changed[i])
    return Chosen(best, f"its ablation leaves least margin, of the {len(passing)} candidates that pass")


def failures(ablation: Sweep, addition: Sweep, damage: Damage, row: int, n_layers: int) -> list[str]:
    """What a row does not pass."""
    found = []
    if (moved := float(damage.kl[row].mean())) > MOST_KL:
        found.append(f"KL {moved:.2g} above {MOST_KL:g}")
    if (gained := float(addition.effects("harm margin")[row].mean())) <= 0:
        found.append(f"adding it takes {-gained:.2g}")
    if int(ablation.cells[row]["layer"]) >= n_layers * (1 - LAST_SHARE):
        found.append("in the last fifth of the layers")
    return found


def choose_strength(strengths: Sweep, damage: Damage) -> Chosen:
    """The strength with the largest gain of the tuned model's harm margin at KL <= 0.1."""
    gained = strengths.effects("harm margin").mean(-1)
    passing = [i for i in range(len(strengths)) if damage.kl[i].mean() <= MOST_KL]
    if not passing:
        return Chosen(None, f"every strength moves neutral texts by more than {MOST_KL:g} nats per token")
    return Chosen(max(passing, key=lambda i: gained[i]), f"the largest gain of {len(passing)} that pass")


@dataclass(frozen=True, eq=False)
class Tried:
    """What selection measured: see :func:`selection`."""

    ablation: Sweep
    addition: Sweep
    damage: Damage
    n_layers: int
    strengths: Sweep | None = None
    strength_damage: Damage | None = None
    on_tuned: Sweep | None = None
    on_aligned: Sweep | None = None


def selection(tried: Tried, *, sampling: Sampling | None = None) -> Result:
    """The whole table, the choices, and what the chosen edit does on held-out questions.

    Args:
        tried: sweeps on the select split, and of the chosen edit with its random directions on held-out
            questions (cells labelled ``direction``: ``v`` or ``isotropic``), of tuned and of aligned.
        sampling: draws and seed.

    Returns:
        ``ours``: ``rows`` (layer, span, ablation, addition, KL, what it fails), ``chosen``, ``strengths``,
        ``strength`` and ``held out``.
    """
    sampling = sampling or Sampling()
    chosen = choose(tried.ablation, tried.addition, tried.damage, n_layers=tried.n_layers)
    rows = [_row(tried, i) for i in range(len(tried.ablation))]
    ours: dict[str, Any] = {
        "rows": rows,
        "chosen": None if chosen.index is None else {**tried.ablation.cells[chosen.index]},
        "why": chosen.why,
    }
    if tried.strengths is not None and tried.strength_damage is not None:
        picked = choose_strength(tried.strengths, tried.strength_damage)
        ours["strengths"] = [
            {
                "by": cell["by"],
                "gain": {m: tried.strengths.change(i, m) for m in METRICS},
                "kl": tried.strength_damage.kl_of(i),
            }
            for i, cell in enumerate(tried.strengths.cells)
        ]
        ours["strength"] = None if picked.index is None else tried.strengths.cells[picked.index]["by"]
        ours["why this strength"] = picked.why
    if tried.on_tuned is not None and tried.on_aligned is not None:
        ours["held out"] = {m: _held_out(tried.on_tuned, tried.on_aligned, m) for m in METRICS}
    inputs = {
        "candidates": len(rows),
        "select questions": len(tried.ablation.questions),
        "neutral texts": len(tried.damage.texts),
        "random directions": sampling.random_directions,
        "most KL": MOST_KL,
        "layers": tried.n_layers,
    }
    return Result("selection", inputs, {}, ours)


def _row(tried: Tried, i: int) -> dict[str, Any]:
    return {
        **tried.ablation.cells[i],
        "ablation": {m: tried.ablation.change(i, m) for m in METRICS},
        "addition": {m: tried.addition.change(i, m) for m in METRICS},
        "kl": tried.damage.kl_of(i),
        "fails": failures(tried.ablation, tried.addition, tried.damage, i, tried.n_layers),
    }


def _held_out(tuned: Sweep, aligned: Sweep, metric: str) -> dict[str, Estimate]:
    """The chosen edit on tuned, on aligned, their difference with its control, and what was lost."""

    def estimate(values: Array) -> Estimate:
        return mean(values, tuned.questions, unit=tuned.units[metric])

    own = [sweep.where(direction="v").effects(metric)[0] for sweep in (tuned, aligned)]
    drawn = [sweep.where(direction="isotropic").effects(metric).mean(-1) for sweep in (tuned, aligned)]
    random = np.subtract(*drawn)
    band = random_band(random[:, None], unit=tuned.units[metric], n_questions=len(set(tuned.questions)))
    at = band.at(0)
    control = Control(f"{len(random)} random directions at this layer", at.value, at.low, at.high)
    return {
        "lost": estimate(aligned.before[metric] - tuned.before[metric]),
        "on tuned": estimate(own[0]),
        "on aligned": estimate(own[1]),
        "difference": replace(estimate(own[0] - own[1]), control=control),
    }
