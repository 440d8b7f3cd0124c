"""A number that never travels alone: its interval, its unit, its questions and its control.

The value is NaN where it is undefined, a bound is infinite where there is none, and ``why`` says the
reason in words whenever either happens. In JSON both become null.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from erosion.errors import BadInput

__all__ = ["FEW", "Control", "Estimate"]

FEW = 30  # below this many questions an interval is only approximate


def finite_or_none(number: float) -> float | None:
    """``number``, or None where JSON has no word for it."""
    return float(number) if math.isfinite(number) else None


def with_bounds(value: float | None, low: float | None, high: float | None) -> tuple[float, float, float]:
    """The three numbers with absent ones spelled out: no value is NaN, no bound is infinite."""
    if value is None or not math.isfinite(value):
        return math.nan, math.nan, math.nan
    low = -math.inf if low is None or math.isnan(low) else float(low)
    high = math.inf if high is None or math.isnan(high) else float(high)
    return float(value), low, high


def why_not(value: float, low: float, high: float) -> str | None:
    """The plain reason for a null, where nobody gave a better one; None where nothing is missing."""
    if math.isnan(value):
        return "undefined"
    missing = [name for name, bound in (("lower", low), ("upper", high)) if math.isinf(bound)]
    return f"the interval has no {' and no '.join(missing)} end" if missing else None


def decimals_for(value: float, low: float, high: float) -> int:
    """How many decimals the interval's width deserves (the value's size, where it has none)."""
    width = high - low
    scale = width if 0 < width < math.inf else abs(value)
    return min(6, max(0, math.ceil(math.log10(7 / scale)))) if scale > 0 else 2


def shown(number: float, decimals: int) -> str:
    """``number`` with that many decimals and no negative zero."""
    return f"{round(number, decimals) + 0.0:.{decimals}f}" if math.isfinite(number) else f"{number:g}"


def interval_in_words(value: float, low: float, high: float) -> str:
    """``value [low, high]``, with as many decimals as the interval deserves."""
    decimals = decimals_for(value, low, high)
    return f"{shown(value, decimals)} [{shown(low, decimals)}, {shown(high, decimals)}]"


def taken(written: Mapping[str, Any], *names: str, what: str) -> list[Any]:
    """The named entries of a JSON object, or one line on the first that is missing."""
    missing = [name for name in names if name not in written]
    if missing:
        raise BadInput(f"{what} has no {missing[0]!r}: it has {', '.join(sorted(written)) or 'nothing'}.")
    return [written[name] for name in names]


@dataclass(frozen=True, eq=False)
class Control:
    """What the same measurement gives where nothing should happen: a random direction, a benign tune.

    >>> str(Control("random directions", 0.02, -0.05, 0.08))
    'random directions: 0.02 [-0.05, 0.08]'
    """

    name: str
    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Spell out absent numbers."""
        for name, number in zip(
            ("value", "low", "high"), with_bounds(self.value, self.low, self.high), strict=True
        ):
            object.__setattr__(self, name, number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Control) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.name, finite_or_none(self.value), self.low, self.high))

    def __str__(self) -> str:
        return f"{self.name}: {interval_in_words(self.value, self.low, self.high)}"

    def to_json(self) -> dict[str, Any]:
        """The control as JSON; what is not finite is null."""
        numbers = {name: finite_or_none(getattr(self, name)) for name in ("value", "low", "high")}
        return {"name": self.name, **numbers}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Control":
        """The control that :meth:`to_json` wrote."""
        name, *numbers = taken(written, "name", "value", "low", "high", what="A control")
        return cls(name, *with_bounds(*numbers))


@dataclass(frozen=True, eq=False)
class Estimate:
    """One number over questions, with its interval.

    ``value`` is NaN where the quantity is undefined (the bounds are then NaN too), a bound is infinite
    where the interval has no end on that side; ``why`` gives the reason. ``method`` names how the
    interval was made, ``control`` what the number is to be held against.

    >>> estimate = Estimate(0.62, 0.55, 0.69, "fraction", 96, "Fieller, cluster t")
    >>> print(estimate)
    0.62 [0.55, 0.69] fraction (n = 96 questions)
    >>> Estimate.from_json(estimate.to_json()) == estimate
    True
    """

    value: float
    low: float
    high: float
    unit: str
    n_questions: int
    method: str
    confidence: float = 0.95
    control: Control | None = None
    why: str | None = field(default=None)

    def __post_init__(self) -> None:
        """Spell out absent numbers, and say why where nobody did."""
        value, low, high = with_bounds(self.value, self.low, self.high)
        why = self.why or why_not(value, low, high)
        for name, entry in (("value", value), ("low", low), ("high", high), ("why", why)):
            object.__setattr__(self, name, entry)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimate) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((finite_or_none(self.value), self.unit, self.n_questions, self.method))

    def __str__(self) -> str:
        few = ", approximate" if self.approximate else ""
        of = f"{self.unit} (n = {self.n_questions} questions{few})"
        if self.undefined:
            return f"undefined {of}: {self.why}"
        beside = f"; {self.control}" if self.control else ""
        return f"{interval_in_words(self.value, self.low, self.high)} {of}{beside}"

    @property
    def undefined(self) -> bool:
        """Whether there is no value at all."""
        return math.isnan(self.value)

    @property
    def approximate(self) -> bool:
        """Whether fewer than 30 questions stand behind the interval."""
        return self.n_questions < FEW

    def covers(self, number: float | int) -> bool:
        """Whether the interval does not exclude ``number``; an undefined estimate excludes nothing."""
        return self.undefined or self.low <= number <= self.high

    def with_control(self, control: "Control | Estimate", *, name: str = "control") -> "Estimate":
        """The same estimate beside ``control`` (an estimate becomes one, called ``name``)."""
        if isinstance(control, Estimate):
            control = Control(name, control.value, control.low, control.high)
        return replace(self, control=control)

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON: NaN and infinities are null, with ``why``; ``approximate`` when it is.

        >>> Estimate(float("nan"), 0.0, 1.0, "nats", 12, "cluster t", why="no base").to_json()["value"]
        """
        written: dict[str, Any] = {
            "value": finite_or_none(self.value),
            "low": finite_or_none(self.low),
            "high": finite_or_none(self.high),
            "unit": self.unit,
            "n_questions": self.n_questions,
            "control": self.control.to_json() if self.control else None,
            "confidence": self.confidence,
            "method": self.method,
        }
        if self.why:
            written["why"] = self.why
        if self.approximate:
            written["approximate"] = True
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Estimate":
        """The estimate that :meth:`to_json` wrote, to the last bit.

        Raises:
            BadInput: an entry is missing.
        """
        names = ("value", "low", "high", "unit", "n_questions", "method")
        value, low, high, unit, n_questions, method = taken(written, *names, what="An estimate")
        control = written.get("control")
        return cls(
            *with_bounds(value, low, high),
            unit=unit,
            n_questions=n_questions,
            method=method,
            confidence=written.get("confidence", 0.95),
            control=Control.from_json(control) if control else None,
            why=written.get("why"),
        )
