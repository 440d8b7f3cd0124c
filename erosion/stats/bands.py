"""A curve over layers (or sites) with an interval at every point that holds for all points at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from erosion.errors import BadInput
from erosion.stats.estimates import FEW, Control, Estimate, finite_or_none, taken, why_not, with_bounds

__all__ = ["Band"]


@dataclass(frozen=True, eq=False)
class Band:
    """One value per label with a simultaneous interval: the whole true curve lies inside at ``confidence``.

    ``values``, ``low`` and ``high`` are ``[layer]``, read-only, NaN where the value is undefined and
    infinite where an interval has no end; ``why`` then says the reason, label by label. ``control`` is a
    band over the same labels (random directions, no effect).

    Raises:
        BadInput: the lengths differ, or the control has other labels.

    >>> ends = np.array([0.0, 0.1]), np.array([0.2, 0.5])
    >>> band = Band(np.array([0.1, 0.3]), *ends, ("L0", "L1"), "fraction", 96, "max-|t| bootstrap")
    >>> print(band.at("L1"))
    0.30 [0.10, 0.50] fraction (n = 96 questions)
    """

    values: Float[Array, " layer"]
    low: Float[Array, " layer"]
    high: Float[Array, " layer"]
    labels: tuple[str | int, ...]
    unit: str
    n_questions: int
    method: str
    confidence: float = 0.95
    control: "Band | None" = None
    why: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        """Spell out absent numbers, and refuse a band whose parts do not match."""
        sizes = {len(self.values), len(self.low), len(self.high), len(self.labels)}
        if len(sizes) > 1 or len(self.why) not in (0, len(self.values)):
            raise BadInput(
                f"A band needs one value, low, high and label per layer: got lengths {sorted(sizes)}."
            )
        if self.control is not None and self.control.labels != self.labels:
            raise BadInput(
                f"The band has {_range(self.labels)}, its control {_range(self.control.labels)}: give both "
                "the same labels."
            )
        points = [with_bounds(*point) for point in zip(self.values, self.low, self.high, strict=True)]
        reasons = self.why or (None,) * len(points)
        why = tuple(reason or why_not(*point) for reason, point in zip(reasons, points, strict=True))
        for name, column in zip(("values", "low", "high"), np.array(points).reshape(-1, 3).T, strict=True):
            column = np.ascontiguousarray(column, dtype=np.float64)
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        object.__setattr__(self, "why", why)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Band) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.labels, self.unit, self.n_questions, self.method))

    def __len__(self) -> int:
        """The number of labels."""
        return len(self.labels)

    @property
    def approximate(self) -> bool:
        """Whether fewer than 30 questions stand behind the intervals."""
        return self.n_questions < FEW

    def at(self, label: str | int) -> Estimate:
        """The point of one label; its interval stays the simultaneous one.

        Raises:
            BadInput: no such label.
        """
        if label not in self.labels:
            raise BadInput(f"This band has no {label!r}: it has {_range(self.labels)}.")
        i = self.labels.index(label)
        beside = None
        if self.control is not None:
            control = self.control.at(label)
            beside = Control(control.method, control.value, control.low, control.high)
        return Estimate(
            float(self.values[i]),
            float(self.low[i]),
            float(self.high[i]),
            self.unit,
            self.n_questions,
            self.method,
            self.confidence,
            beside,
            self.why[i],
        )

    def with_control(self, control: "Band") -> "Band":
        """The same band beside ``control``, a band over the same labels."""
        return replace(self, control=control)

    def to_json(self) -> dict[str, Any]:
        """The band as JSON: NaN and infinities are null, with ``why`` (one entry per label) where any is."""
        written: dict[str, Any] = {
            "labels": list(self.labels),
            "values": _listed(self.values),
            "low": _listed(self.low),
            "high": _listed(self.high),
            "unit": self.unit,
            "n_questions": self.n_questions,
            "control": self.control.to_json() if self.control else None,
            "confidence": self.confidence,
            "method": self.method,
        }
        if any(self.why):
            written["why"] = list(self.why)
        if self.approximate:
            written["approximate"] = True
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Band":
        """The band that :meth:`to_json` wrote, to the last bit.

        Raises:
            BadInput: an entry is missing.
        """
        names = ("values", "low", "high", "labels", "unit", "n_questions", "method")
        *curves, labels, unit, n_questions, method = taken(written, *names, what="A band")
        control = written.get("control")
        return cls(
            *(
                np.array([np.nan if number is None else number for number in curve], float)
                for curve in curves
            ),
            labels=tuple(labels),
            unit=unit,
            n_questions=n_questions,
            method=method,
            confidence=written.get("confidence", 0.95),
            control=cls.from_json(control) if control else None,
            why=tuple(written.get("why", ())),
        )


def _listed(numbers: Iterable[float]) -> list[float | None]:
    return [finite_or_none(number) for number in numbers]


def _range(labels: Sequence[str | int]) -> str:
    if not labels:
        return "no labels"
    return f"{labels[0]!r} to {labels[-1]!r} ({len(labels)})" if len(labels) > 1 else repr(labels[0])
