"""Titles of comparisons: a run is called more or less eroded only where the whole interval says so."""

from collections.abc import Sequence

from erosion.comparing import Comparison
from erosion.comparing.differences import WORDS, Difference
from erosion.figures.claims import numbers, sentence

__all__ = ["compared_domains", "compared_runs", "cut", "depths", "of_word"]

_NAMED, _LONGEST = 3, 40  # rows named in a title, characters of a name; more are counted, or cut
_MORE = {"erosion": "more erosion", "loss": "more preference lost", "changed sides": "more changed sides"}
_LESS = {"erosion": "less erosion", "loss": "less preference lost", "changed sides": "fewer changed sides"}


def compared_runs(compared: Comparison) -> str:
    """Which rows show more or less than the one they are held against, which the same, which neither."""
    found = list(compared.of(compared.judged).values())
    if len(found) == 1:
        return sentence(_alone(found[0]))
    parts = [
        f"{_what(word, there)} {_where(there, len(found))}"
        for word in WORDS
        if (there := [one for one in found if one.word == word])
    ]
    return sentence(f"held against {cut(compared.against)}: {'; '.join(parts)}")


def cut(name: str) -> str:
    """A name short enough for a title: 40 characters, the rest cut with an ellipsis.

    >>> cut("a" * 300) == "a" * 39 + "…"
    True
    """
    if len(name) <= _LONGEST:
        return name
    closed = "\u2069" if name.startswith("\u2068") else ""
    return f"{name[: _LONGEST - 1]}…{closed}"


def of_word(one: Difference) -> str:
    """One difference as a table says it.

    Smaller than matters is said of what is established too.
    """
    if one.word in ("more", "less") and one.within_smallest:
        return f"{one.word}, by less than {one.smallest:g}"
    return f"alike within {one.smallest:g}" if one.word == "alike" else one.word


def _alone(one: Difference) -> str:
    value, unit = numbers(one.estimate), one.estimate.unit
    if one.word == "undefined":
        return f"{cut(one.row)} and {cut(one.against)} have no difference here: {one.estimate.why}"
    if one.word in ("more", "less"):
        said = (_MORE if one.word == "more" else _LESS)[one.quantity]
        small = f", less than {one.smallest:g}" if one.within_smallest else ""
        return f"{cut(one.row)} shows {said} than {cut(one.against)}: a difference of {value} {unit}{small}"
    if one.word == "alike":
        return f"{cut(one.row)} and {cut(one.against)} differ by less than {one.smallest:g} {unit}: {value}"
    return f"no difference between {cut(one.row)} and {cut(one.against)} is established: {value} {unit}"


def _what(word: str, there: Sequence[Difference]) -> str:
    quantity = there[0].quantity
    if word in ("more", "less"):
        return (_MORE if word == "more" else _LESS)[quantity]
    if word == "alike":
        return f"a difference below {there[0].smallest:g}"
    return "no difference established" if word == "open" else "undefined"


def _where(there: Sequence[Difference], total: int) -> str:
    names = [cut(one.row) for one in there]
    if len(names) > _NAMED:
        return f"in {'all' if len(names) == total else len(names)} of {total}"
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"in {joined}"


def compared_domains(compared: Comparison) -> str:
    """In how many domains which differences are established, all of them at once."""
    found = [one for domain in compared.domains for one in compared.of(compared.judged, domain).values()]
    if not found:
        return "No domain is compared: every question is about what some run was trained on"
    clear = sum(one.word in ("more", "less") for one in found)
    within = sum(one.word == "alike" for one in found)
    said = (
        f"{clear or 'none'} of {len(found)} differences by domain {'is' if clear < 2 else 'are'} established"
    )
    alike = (
        f", {within} {'is' if within == 1 else 'are'} shown to be below {found[0].smallest:g}"
        if within
        else ""
    )
    return sentence(f"{said}{alike}; all of them at once")


def depths(compared: Comparison) -> str:
    """Whether the peaks of the layer curves lie apart: only where no depth belongs to both."""
    apart, curves = [], dict.fromkeys(peak.curve for run in compared.runs for peak in run.peaks)
    for curve in curves:
        spans = [p.depths for run in compared.runs for p in run.peaks if p.curve == curve]
        if len(spans) > 1 and max(low for low, _ in spans) > min(high for _, high in spans):
            apart.append(curve)
    if apart:
        return sentence(f"the depths of the peak of the {' and of the '.join(apart)} lie apart in some runs")
    return "No two runs are shown to peak at different depths"
