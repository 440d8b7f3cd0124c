"""Calibration: are the intervals, tests and verdicts of this package right as often as they say?

Simulated audits with a planted direction and a planted erosion pass through the very functions that a real
audit uses. At a true erosion of exactly the smallest of interest both *eroded* and *kept* are false, so
either may be said in at most 4% of audits; intervals should hold the truth in 93 to 97%, tests should cry
wolf in 3 to 7%; elsewhere the words' shares are power. A cell
(:mod:`erosion.experiments.calibration_cells`) is pure and may be cached:
``calibration([measured(one) for one in cells()])`` is all that :func:`calibrate` does.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.calibration_cells import Cell, inside, judged, measured
from erosion.experiments.calibration_planted import NOISES, Design
from erosion.experiments.results import Result
from erosion.progress import tracked
from erosion.stats import SMALLEST, Estimate, share
from erosion.stats.clusters import student_t

__all__ = ["COLUMNS", "calibrate", "calibration", "cells", "end_to_end", "power_rows", "rows"]

QUESTIONS = (24, 48, 96, 192)
EROSIONS = (0.0, 0.05, 0.15, 0.2, 0.3)
COLUMNS = ("promise", "simulated", "audits", "rate [95% interval]", "target", "outcome")
_COVERS, _CRIES, _SAYS = (0.93, 0.97), (0.03, 0.07), (0.0, 0.04)
_ENOUGH = 96  # questions from which on coverage is promised

Promise = tuple[str, tuple[float, float] | None, int]
PROMISES: Mapping[str, Promise] = {
    "word: eroded": ("says eroded at the smallest of interest", _SAYS, 0),
    "word: kept": ("says kept at the smallest of interest", _SAYS, 0),
    "erosion covered": ("interval of erosion covers (margins)", _COVERS, _ENOUGH),
    "loss covered": ("interval of the loss covers (margins)", _COVERS, _ENOUGH),
    "domains covered": ("intervals of all domains cover together", _COVERS, _ENOUGH),
    "unguarded: eroded": ("control: eroded by an interval without the guard against skewness", None, 0),
    "unguarded: kept": ("control: kept by an interval without the guard against skewness", None, 0),
    "clusters ignored": ("control: interval covers where clusters are ignored", None, 0),
    "mean covered": ("interval of a mean covers (fitted direction)", _COVERS, _ENOUGH),
    "fitted erosion covered": ("interval of erosion covers (fitted direction)", _COVERS, _ENOUGH),
    "band covered": ("simultaneous band covers every layer", _COVERS, _ENOUGH),
    "ratio band covered": ("band of erosion covers every layer", _COVERS, _ENOUGH),
    "sign flips false": ("sign flips find an effect that is not there", _CRIES, 0),
    "refitted test false": ("refitted label swaps find a direction that is not there", _CRIES, 0),
    "fitted null band false": ("refitted null band is left by nothing", _CRIES, 0),
}
"""Count -> what it promises, the range of rates that keeps it, and from how many questions on."""


def cells(*, simulations: int = 1000, seed: int = 0) -> tuple[Cell, ...]:
    """Everything that :func:`calibrate` simulates.

    Raises:
        BadInput: fewer than 10 audits in a cell.
    """
    if simulations < 10:
        raise BadInput(f"{simulations} audits of a design show no rate: simulate at least 10, better 1000.")
    at_smallest = [
        Design(n, domains, noise, SMALLEST["erosion"])
        for noise in NOISES
        for domains in (1, 6)
        for n in QUESTIONS
    ]
    at_smallest += [
        Design(96, 1, noise, SMALLEST["erosion"], per_cluster=4) for noise in ("normal", "skewed")
    ]
    nothing = [Design(n, gained=0.0) for n in QUESTIONS]
    powers = [
        Design(n, domains, noise, erosion)
        for domains, noise in ((1, "normal"), (1, "skewed"), (6, "normal"))
        for erosion in EROSIONS
        for n in QUESTIONS
    ]
    powers += [Design(n, 6, "normal", 0.0) for n in (384, 768)]  # every domain has to be kept
    fitted = [Design(n, 1, noise, SMALLEST["erosion"], layers=4) for noise in NOISES for n in QUESTIONS]
    planned = (
        (judged, at_smallest, simulations),
        (judged, nothing, simulations),
        (inside, fitted, max(10, simulations // 2)),
        (judged, powers, max(10, 2 * simulations // 5)),
    )
    return tuple(Cell(part, design, audits, seed) for part, group, audits in planned for design in group)


def calibrate(
    *,
    simulations: int = 1000,
    seed: int = 0,
    each: Callable[[Callable[[Cell], Any], Sequence[Cell]], Iterable[Any]] = map,
) -> Result:
    """Simulate audits of many designs and hold every rate against its target.

    Args:
        simulations: audits of each design at the smallest erosion of interest, where the sharpest rates are
            judged; 71 times as many in all.
        seed: of every draw.
        each: how to go through the cells: ``map``, or ``pool.map`` of a process pool.

    Raises:
        BadInput: fewer than 10 audits in a cell.

    Time: about 0.23 s of one core for each of ``simulations``: four minutes at 1000, two on two cores.
    Memory: one audit.
    """
    planned = cells(simulations=simulations, seed=seed)
    found = tracked(each(measured, planned), name="calibrating", total=len(planned))
    return calibration(list(found))


def calibration(found: Sequence[Mapping[str, Any]]) -> Result:
    """The table from the cells' counts (see :func:`erosion.experiments.calibration_cells.measured`)."""
    rates = [one for cell in found for one in _rates(cell)]
    outcomes = Counter(one["outcome"] for one in rates if one["target"] is not None)
    inputs = {
        "audits": sum(int(cell["audits"]) for cell in found),
        "designs": len(found),
        "seed": sorted({int(cell["seed"]) for cell in found})[0],
        "smallest erosion of interest": SMALLEST["erosion"],
    }
    ours = {
        "outcomes": {name: outcomes[name] for name in ("pass", "unclear", "miss")},
        "rates": rates,
        "power": [_power(cell) for cell in found if cell["part"] == "judged" and _usual(cell)],
    }
    return Result("calibration", inputs, {}, ours)


def _usual(cell: Mapping[str, Any]) -> bool:
    return cell["design"]["gained"] == Design.gained and cell["design"]["per_cluster"] == 1


def _rates(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    design = Design(**cell["design"])
    if design.gained == 0:
        hits = cell["sums"].get("erosion undefined", 0)
        return [
            _judge(cell, design, "undefined where alignment gained nothing", _share(cell, hits), (0.96, 1.0))
        ]
    if design.erosion != SMALLEST["erosion"]:
        return []
    result = [_recovery(cell, design)] if cell["part"] == "inside" else []
    for name, (promise, target, enough) in PROMISES.items():
        belongs = name in cell["sums"] or (name.startswith("word") and cell["part"] == "judged")
        undefined = cell["sums"].get("erosion undefined", 0) if name == "erosion covered" else 0
        if belongs and cell["audits"] > undefined:
            rate = _share(cell, cell["sums"].get(name, 0), of=cell["audits"] - undefined)
            promised = target if design.questions >= enough else None
            result.append(_judge(cell, design, promise, rate, promised))
    return result


def _share(cell: Mapping[str, Any], hits: float | int, *, of: float | int | None = None) -> Estimate:
    total = round(cell["audits"] if of is None else of)
    rate = share(np.arange(total) < round(hits), unit="share of audits")
    return replace(rate, n_questions=cell["design"]["questions"])


def _recovery(cell: Mapping[str, Any], design: Design) -> dict[str, Any]:
    """The mean cosine of fitted and planted direction, minus what theory expects of it, and t over audits."""
    n, sums = cell["audits"], cell["sums"]
    mean = sums["cosine"] / n
    sd = math.sqrt(max(sums["cosine squared"] / n - mean**2, 0.0) * n / (n - 1))
    reach = student_t(n, 0.95) * sd / math.sqrt(n)
    expected = sums["expected cosine"] / n
    off = Estimate(mean, mean - reach, mean + reach, "cosine", design.questions, "t over audits")
    promise = f"recovery: cosine minus its expectation ({expected:.3f})"
    return _judge(cell, design, promise, off, (-0.02, 0.02)) | {"expected": expected}


def _judge(
    cell: Mapping[str, Any], design: Design, promise: str, rate: Estimate, target: tuple[float, float] | None
) -> dict[str, Any]:
    """A rate beside its target: *miss* only where the whole interval lies outside."""
    outcome = "no target"
    if target is not None:
        inside_it = target[0] <= rate.value <= target[1]
        reaches = rate.high >= target[0] and rate.low <= target[1]
        outcome = "pass" if inside_it else "unclear" if reaches else "miss"
    return {
        "promise": promise,
        "design": design.words,
        "questions": design.questions,
        "domains": design.domains,
        "noise": design.noise,
        "clusters of": design.per_cluster,
        "audits": cell["audits"],
        "rate": rate,
        "target": None if target is None else list(target),
        "outcome": outcome,
    }


def _power(cell: Mapping[str, Any]) -> dict[str, Any]:
    design = cell["design"]
    said = {word: cell["sums"].get(f"word: {word}", 0) for word in ("eroded", "kept", "inconclusive")}
    said["undefined erosion"] = cell["sums"].get("erosion undefined", 0)
    return {
        **{name: design[name] for name in ("questions", "domains", "noise", "erosion")},
        "audits": cell["audits"],
        **{word: _share(cell, hits) for word, hits in said.items()},
    }


def rows(result: Result) -> tuple[tuple[str, ...], ...]:
    """The table of rates as text, columns as in :data:`COLUMNS`; what failed comes first."""
    order = {"miss": 0, "unclear": 1, "pass": 2, "no target": 3}
    ranked = sorted(result["rates"], key=lambda one: order[one["outcome"]])
    return tuple(
        (one["promise"], one["design"], str(one["audits"]), _text(one), _target(one), one["outcome"])
        for one in ranked
    )


def _text(one: Mapping[str, Any]) -> str:
    rate, digits = one["rate"], 4 if one["rate"].unit == "cosine" else 3
    return f"{rate.value:.{digits}f} [{rate.low:.{digits}f}, {rate.high:.{digits}f}]"


def _target(one: Mapping[str, Any]) -> str:
    return "none" if one["target"] is None else f"{one['target'][0]:g} to {one['target'][1]:g}"


def power_rows(result: Result) -> tuple[tuple[str, ...], ...]:
    """Which word is said: (simulated, true erosion, questions, audits, and the shares of four words)."""
    ranked = sorted(
        result["power"], key=lambda one: (one["domains"], one["noise"], one["erosion"], one["questions"])
    )
    words = ("eroded", "kept", "inconclusive", "undefined erosion")
    return tuple(
        (
            f"{one['noise']}, {one['domains']} domain{'s' if one['domains'] > 1 else ''}",
            f"{one['erosion']:g}",
            str(one["questions"]),
            str(one["audits"]),
            *(f"{one[word].value:.3f}" for word in words),
        )
        for one in ranked
    )


def end_to_end(result: Result, words: Sequence[tuple[str, str]]) -> Result:
    """The same calibration beside whole audits of planted organisms: (expected word, found word) for each.

    They test the plumbing; too few to claim a rate, which is why none is judged.

    Raises:
        BadInput: no audit.
    """
    if not words:
        raise BadInput("There are no whole audits: give an expected and a found word for each.")
    counts = Counter(words)
    table = [[expected, found, count] for (expected, found), count in sorted(counts.items())]
    agreeing = sum(expected == found for expected, found in words)
    whole = {"audits": len(words), "as expected": agreeing, "expected, found, audits": table}
    return replace(result, ours={**result.ours, "end to end": whole})
