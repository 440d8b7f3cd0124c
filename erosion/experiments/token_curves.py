"""Curves along a response: one band over positions, always about the same questions, beside a control."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from erosion.experiments.shared_positions import relative_bins
from erosion.shapes import Array, Float
from erosion.stats import Band, Estimate, mean
from erosion.stats.clusters import average_questions, student_t

__all__ = [
    "PARTS",
    "Control",
    "Reduce",
    "Side",
    "at_parts",
    "at_positions",
    "band_of",
    "estimate_of",
    "side_of",
]

PARTS = 10  # of a response, of equal length
_METHOD = "cluster t, Bonferroni over positions"

Values = Sequence[Array]
Reduce = Callable[[Values], Float[Array, "exchange position"]]


@dataclass(frozen=True, eq=False)
class Side:
    """Some responses' values token by token, with their questions."""

    values: Values
    questions: Sequence[str]

    def of(self, questions: Sequence[str]) -> "Side":
        """The part about some questions."""
        keep, rows = set(questions), range(len(self.questions))
        chosen = [i for i in rows if self.questions[i] in keep]
        return Side([self.values[i] for i in chosen], [self.questions[i] for i in chosen])


@dataclass(frozen=True, eq=False)
class Control:
    """The same measurement where nothing about harm is at stake, and what it is called."""

    name: str
    side: Side


def side_of(values: Values, questions: Sequence[str], labels: Sequence[str], label: str) -> Side:
    """The responses with one label."""
    rows = [i for i, one in enumerate(labels) if one == label]
    return Side([values[i] for i in rows], [questions[i] for i in rows])


def at_positions(length: int) -> Reduce:
    """The first ``length`` tokens of each response."""
    return lambda values: np.array([one[:length] for one in values])


def at_parts(values: Values) -> Float[Array, "exchange position"]:
    """Means over tenths of each response, whatever its length."""
    return relative_bins(values, PARTS)


def band_of(side: Side, control: Control | None, *, reduce: Reduce, unit: str) -> Band:
    """The mean over questions along the response, in one band, beside the same of the control."""

    def made(one: Side) -> Band:
        matrix = reduce(one.values)
        labels = _labels(matrix.shape[1], parts=reduce is at_parts)
        return _band(average_questions(matrix, one.questions), labels, unit=unit)

    band = made(side)
    return band if control is None else band.with_control(replace(made(control.side), method=control.name))


def _band(means: Float[Array, "question position"], labels: Sequence[str], *, unit: str) -> Band:
    """Cluster t at every position with Bonferroni's correction over them.

    Not the max-|t| bootstrap: most divergences are next to 0 and a few are not, so at some position one
    question outweighs all others, its resamples have no spread, and the whole curve would be lost with it.
    """
    n, length = means.shape
    centre, spread = means.mean(axis=0), means.std(axis=0, ddof=1) if n > 1 else np.full(length, np.inf)
    reach = student_t(n, 1 - 0.05 / length) * spread / np.sqrt(n) if n > 1 else spread
    return Band(centre, centre - reach, centre + reach, tuple(labels), unit, n, _METHOD)


def estimate_of(side: Side, control: Control | None, *, unit: str) -> Estimate:
    """The mean over questions of each response's mean over tokens, beside the same of the control."""

    def made(one: Side) -> Estimate:
        return mean(np.array([values.mean() for values in one.values]), one.questions, unit=unit)

    estimate = made(side)
    return estimate if control is None else estimate.with_control(made(control.side), name=control.name)


def _labels(n: int, *, parts: bool) -> list[str]:
    if parts:
        return [f"{100 * i // n} to {100 * (i + 1) // n}%" for i in range(n)]
    return [f"token {i + 1}" for i in range(n)]
