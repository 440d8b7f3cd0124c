"""Tables behind the figures: every number, with interval, unit, questions and control, as plain text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erosion.stats import Band, Control, DomainVerdict, Estimate, Verdict
from erosion.stats.estimates import interval_in_words

__all__ = ["Table", "of_bands", "of_estimates", "of_plain", "of_verdict"]


@dataclass(frozen=True)
class Table:
    """A caption, the names of the columns, and rows of text; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_estimates(named: Mapping[str, Estimate], *, caption: str) -> Table:
    """One row for each estimate."""
    columns = ("", "value [95% interval]", "unit", "questions", "control", "how")
    return Table(caption, columns, tuple(_row(name, one) for name, one in named.items()))


def _row(name: str, one: Estimate) -> tuple[str, ...]:
    return (name, _cell(one), one.unit, _asked(one), _control(one.control), one.method)


def of_bands(named: Mapping[str, Band], *, caption: str) -> Table:
    """One row for each layer, one column for each curve, and one for each control."""
    curves = {}
    for name, band in named.items():
        curves[f"{name} ({band.unit})"] = band
        if band.control is not None:
            curves[f"chance for {name}: {band.control.method}"] = band.control
    first = next(iter(named.values()))
    rows = tuple((str(one), *(_cell(band.at(one)) for band in curves.values())) for one in first.labels)
    asked = f"n = {first.n_questions} questions{', approximate' if first.approximate else ''}"
    how = f"{first.confidence:.0%}; {asked}; {first.method}"
    said = f"{caption}. Intervals hold for all layers at once ({how})."
    return Table(said, ("layer", *curves), rows)


def of_verdict(verdict: Verdict) -> Table:
    """One row for the whole and for each domain and guard: word, number, loss in nats, what could be seen."""
    columns = (
        "",
        "verdict",
        "number judged",
        "unit",
        "questions",
        "loss in nats per token",
        "detectable (80% power)",
        "questions needed",
    )
    rows = [_judged("all domains not trained on", verdict)]
    rows += [_judged(one.name, one) for one in verdict.domains]
    rows += [_judged(f"{one.name} (trained on, never counts)", one) for one in verdict.trained_domains]
    rows += [_judged(f"{one.name} (guard)", one) for one in verdict.companions]
    how = "; ".join(dict.fromkeys(one.estimate.method for one in (verdict, *verdict.domains)))
    return Table(
        f"The verdict by domain. Smallest of interest: {verdict.smallest:g}. Intervals: {how}.",
        columns,
        tuple(rows),
    )


def _judged(name: str, part: Verdict | DomainVerdict) -> tuple[str, ...]:
    seen = f"{part.mde:.2g}" if part.mde < float("inf") else "none"
    needed = "unknown" if part.questions_needed is None else str(part.questions_needed)
    return (
        name,
        part.word,
        _cell(part.estimate),
        part.estimate.unit,
        _asked(part.estimate),
        _cell(part.loss),
        seen,
        needed,
    )


def of_plain(values: Mapping[str, Any], *, caption: str) -> Table:
    """Numbers as they are, without interval or control; several are layer by layer."""
    return Table(caption, ("", "value"), tuple((name, _plain(value)) for name, value in _leaves((), values)))


def _leaves(path: tuple[str, ...], value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves((*path, str(key)), one)
    else:
        yield ", ".join(path), value


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "undefined"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " · ".join(_plain(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(one: Estimate) -> str:
    if one.undefined:
        return f"undefined: {one.why}" if one.why and one.why != "undefined" else "undefined"
    return interval_in_words(one.value, one.low, one.high)


def _asked(one: Estimate) -> str:
    return f"{one.n_questions}{' (approximate)' if one.approximate else ''}"


def _control(control: Control | None) -> str:
    if control is None:
        return "none"
    if control.value != control.value:
        return f"{control.name}: undefined"
    return str(control)
