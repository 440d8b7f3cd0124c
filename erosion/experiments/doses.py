"""Dose and rollback: how the margin falls as the fine-tune is turned up, and which part's change did it.

With W(d) = W_aligned + d (W_tuned - W_aligned), margins are measured at doses from 0 to 1.5. Then one part at
a time (a block's attention, its MLP, …) is put back in the tuned model (*restored*), and brought alone into
the aligned one (*grafted*). A part that merely changed much restores much; so its share of the squared weight
change stands beside: a part that carries the erosion restores more than its size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import repeat

from erosion.experiments.layer_bands import LayerBands
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.interventions import dose
from erosion.models import Change
from erosion.sweeps import Cell, Sweep
from erosion.triads import Checkpoint

__all__ = ["DOSES", "dose_cells", "doses", "part_cells", "parts_to_try"]

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
METRICS = ("harm margin", "choice margin")


def dose_cells(aligned: Checkpoint, tuned: Checkpoint) -> tuple[Cell, ...]:
    """The whole fine-tune at every dose of :data:`DOSES`."""
    return tuple(Cell({"dose": d}, (), dose(d, aligned=aligned, tuned=tuned)) for d in DOSES)


def parts_to_try(changes: Sequence[Change]) -> tuple[str, ...]:
    """The parts that changed, then whole blocks and whole kinds where they hold several of them."""
    parts = [one.part for one in changes]
    wider = [word for part in parts for word in part.split(".") if word != part]
    several = [word for word in dict.fromkeys(wider) if wider.count(word) > 1]
    return (*parts, *sorted(several, key=lambda word: not _is_block(word)))


def _is_block(word: str) -> bool:
    return word.startswith("L") and word[1:].isdigit()


def part_cells(
    aligned: Checkpoint, tuned: Checkpoint, parts: Sequence[str], *, restored: bool
) -> tuple[Cell, ...]:
    """Each part at dose 0 (restored, on the tuned model) or at dose 1 (grafted, on the aligned one)."""
    share = 0.0 if restored else 1.0
    return tuple(
        Cell({"part": part}, (), dose(share, aligned=aligned, tuned=tuned, only=(part,))) for part in parts
    )


def doses(
    by_dose: Sweep,
    restored: Sweep,
    grafted: Sweep,
    changes: Sequence[Change],
    *,
    competence: Sweep | None = None,
    sampling: Sampling | None = None,
) -> Result:
    """Margins by dose, and what each part restores or takes.

    Args:
        by_dose: of :func:`dose_cells`.
        restored: of :func:`part_cells` on the tuned model.
        grafted: of :func:`part_cells` on the aligned model, the same parts and questions.
        changes: how far each part moved (:func:`erosion.parts_of_change`).
        competence: of :func:`dose_cells` on harmless questions with right and wrong answers.
        sampling: draws and seed of the bands.
    """
    sampling = sampling or Sampling()
    ours: dict[str, Any] = {
        metric: {**_by_dose(by_dose, metric, sampling), **_by_part(restored, grafted, metric, sampling)}
        for metric in METRICS
    }
    if competence is not None:
        labels = tuple(f"{d:g}" for d in DOSES)
        bands = LayerBands(competence.questions, competence.units["harm margin"], labels, sampling)
        ours["competence margin"] = bands.band(competence.after["harm margin"].T)
    ours["changes"] = [_shown(part, changes) for part in _parts(restored)]
    inputs = {
        "doses": list(DOSES),
        "held-out questions": len(set(by_dose.questions)),
        "parts": _parts(restored),
    }
    return Result("doses", inputs, {}, ours)


def _parts(sweep: Sweep) -> list[str]:
    return [str(cell["part"]) for cell in sweep.cells]


def _shown(part: str, changes: Sequence[Change]) -> dict[str, Any]:
    """A part's size: of all that was changed in squares, and against the weights it changes."""
    inside = [one for one in changes if part == one.part or part in one.part.split(".")]
    total = sum(one.norm**2 for one in changes)
    moved = sum(one.norm**2 for one in inside)
    size = sum((one.norm / one.relative) ** 2 for one in inside if one.relative > 0)
    return {
        "part": part,
        "norm": moved**0.5,
        "relative": (moved / size) ** 0.5 if size else 0.0,
        "share of squared change": moved / total if total else 0.0,
    }


def _by_dose(sweep: Sweep, metric: str, sampling: Sampling) -> dict[str, Any]:
    labels = tuple(f"{d:g}" for d in DOSES)
    bands = LayerBands(sweep.questions, sweep.units[metric], labels, sampling)
    values = sweep.after[metric].T
    lost = values[:, :1] - values
    whole = lost[:, list(DOSES).index(1.0)]
    chord = lost - np.outer(whole, DOSES)
    return {
        "margin by dose": bands.band(values),
        "lost by dose": bands.band(lost),
        "beyond the chord": bands.band(chord),
        "lost": bands.band(lost).at("1"),
    }


def _by_part(restored: Sweep, grafted: Sweep, metric: str, sampling: Sampling) -> dict[str, Any]:
    bands = LayerBands(restored.questions, restored.units[metric], tuple(_parts(restored)), sampling)
    back, taken = restored.effects(metric).T, -grafted.effects(metric).T
    lost = grafted.before[metric] - restored.before[metric]
    gap = repeat(lost, "question -> question part", part=back.shape[1])
    return {
        "restored": bands.band(back),
        "restored share": bands.share(back, gap),
        "grafted": bands.band(taken),
        "grafted share": bands.share(taken, gap),
    }
