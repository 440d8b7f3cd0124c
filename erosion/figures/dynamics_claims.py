"""Titles of the figures of ``dynamics`` and ``trajectories``: what the numbers establish, and no more.

A part, a write or an interaction is named only where its whole interval lies beyond zero and beyond its
control; everything else is said to be not established.
"""

from collections.abc import Callable, Sequence
from typing import Any

from erosion.experiments import Result
from erosion.figures.claims import in_layers
from erosion.stats import Band, Estimate
from erosion.stats.estimates import interval_in_words

__all__ = [
    "attribution",
    "departure",
    "likeness",
    "published_fraction",
    "rotation",
    "shares",
    "trajectories",
    "two_by_two",
]


def shares(result: Result) -> str:
    """Which part of the move is the largest where, and how much of it is a translation along v.

    Layers at which neutral texts moved the other way are named and not judged: the shares beyond that shift
    then make good for it, and exceed the whole.
    """
    parts: dict[str, Band] = result["shares of the move"]
    along = parts["translation along v"]
    defined = [one for one in along.labels if not along.at(one).undefined]
    if not defined:
        return "Undefined: the tuned model did not move away from the aligned one"
    contrary = _where(parts["constant shift"], lambda e, _: e.high < 0) if "constant shift" in parts else []
    judged = [one for one in defined if one not in contrary]
    said = [f"Neutral texts moved another way at {in_layers(contrary, of=along)}"] if contrary else []
    return ". ".join([*said, *([_largest(parts, judged), _translation(along, judged)] if judged else [])])


def _largest(parts: dict[str, Band], judged: Sequence[str | int]) -> str:
    found = []
    for name, band in parts.items():
        others = [other for key, other in parts.items() if key != name]
        where = _where(band, lambda e, one: all(e.low > other.at(one).high for other in others))  # noqa: B023
        if where := [one for one in where if one in judged]:
            found.append(f"{name} at {in_layers(where, of=band)}")
    return f"Largest part of the move: {'; '.join(found)}" if found else "No part of the move is the largest"


def _translation(along: Band, judged: Sequence[str | int]) -> str:
    high = max(along.at(one).high for one in judged)
    beyond = [one for one in _beyond(along, above=True) if one in judged]
    state = "beyond random directions" if beyond else "no more than along random directions"
    where = f" at {in_layers(beyond, of=along)}" if beyond else ""
    there = "" if len(judged) == len(along.labels) else f" at {in_layers(judged, of=along)}"
    return f"Translation along v{there}: at most {_percent(high)}, {state}{where}"


def likeness(result: Result) -> str:
    """How alike aligned and tuned are where they are least alike, by CKA."""
    found = result["likeness"]["aligned and tuned"]
    if "CKA" not in found:
        return "Too few questions for CKA; the cosine of the same answer in both models stands below"
    band = found["CKA"]
    defined = [one for one in band.labels if not band.at(one).undefined]
    if not defined:
        return "CKA is undefined: the activations do not vary over questions"
    least = min(defined, key=lambda one: band.at(one).value)
    beyond = _beyond(band, above=True)
    chance = (
        "beyond exchanged questions at every layer"
        if len(beyond) == len(band)
        else f"beyond exchanged questions at {in_layers(beyond, of=band) if beyond else 'no layer'}"
    )
    return f"Aligned and tuned are least alike at layer {least}: CKA {_numbers(band.at(least))}; {chance}"


def two_by_two(result: Result) -> str:
    """Whether the tuned model tells the answers apart less, where, and beyond random directions."""
    band = result["two by two"]["interaction"]
    parts = [
        f"{verb} at {in_layers(where, of=band)}"
        for verb, where in (("shrank", _beyond(band, above=False)), ("grew", _beyond(band, above=True)))
        if where
    ]
    if parts:
        return f"The gap between the answers {' and '.join(parts)} in tuned, beyond random directions"
    clear = _where(band, lambda e, _: not e.covers(0))
    if clear:
        return (
            f"The gap between the answers changed at {in_layers(clear, of=band)}, "
            "but no more than along random directions"
        )
    return "At no layer did the tuned model change the gap between the answers"


def attribution(result: Result) -> str:
    """Which writes carry the shift, beyond what they carry along random directions."""
    found = result.ours.get("attribution")
    if found is None:
        return "What attention and MLPs wrote was not read"
    named = []
    for side, above in (("misaligned", False), ("aligned", True)):
        parts = [
            f"{part} of {_blocks(where)}"
            for part in ("attention", "MLP")
            if (where := _beyond(found[part], above=above))
        ]
        if parts:
            named.append(f"toward {side} answers by {' and '.join(parts)}")
    total = f"shift at layer {found['at']}: {_numbers(found['total'].at(found['at']))} fitted gaps"
    if not named:
        return f"No single write carries the shift beyond random directions ({total})"
    return _sentence(f"written {'; '.join(named)}, beyond random directions ({total})")


def departure(result: Result) -> str:
    """The range of layers in which tuned leaves aligned, and whether harmless questions show one too."""
    found, benign = result["departure"], result.ours.get("departure on benign questions")
    size = f"{found['smallest']:g} fitted gaps"
    if found["latest"] is None:
        if found["earliest"] is None:
            said = f"At no layer did the tuned model move by more than {size} along v"
        else:
            said = f"No departure by {size} along v is established; possible from layer {found['earliest']}"
    else:
        said = (
            f"The tuned model leaves the aligned one {_between(found)}, by more than {size} "
            f"toward {found['toward']} answers"
        )
        if not _beyond(result["shift of tuned"], above=found["toward"] == "aligned"):
            said += ", no further than along random directions"
    if benign is not None and benign["latest"] is not None:
        said += f"; on harmless questions too, {_between(benign)}"
    return said


def rotation(result: Result) -> str:
    """Whether the direction turned beyond the noise of fitting it."""
    band = result["rotation"]["cosine without noise"]
    turned = _where(band, lambda e, _: e.high < 1)
    if not turned:
        return "At no layer is a rotation of v established beyond the noise of fitting it"
    least = min((band.at(one) for one in turned), key=lambda e: e.value)
    where = in_layers(turned, of=band)
    return f"v turned at {where}: its noise-free cosine is as low as {_numbers(least)}"


def published_fraction(result: Result) -> str:
    """Whether the published fraction on the contrast is any larger than on harmless questions."""
    found = result.ours.get("eroded fraction along the model direction")
    if found is None:
        return "Undefined: the published fraction needs a base model"
    if "benign" not in found:
        return "The published eroded fraction, without harmless questions to hold it against"
    ours, benign = found["contrast"], found["benign"]
    more = _where(ours, lambda e, one: e.low > benign.at(one).high)
    if more:
        return f"The published fraction is larger than on harmless questions at {in_layers(more, of=ours)}"
    return "At no layer is the published fraction larger than on harmless questions"


def trajectories(result: Result) -> str:
    """When each curve jumps, where a jump is established for all curves together (Bonferroni)."""
    said = []
    for name, found in result["change"].items():
        one = found["jump"]
        if one["p"] * len(result["change"]) > 0.05:
            continue
        at = one["last step before"]
        steps = result.inputs["steps"]
        low, last = int(at.low), steps[steps.index(int(at.high)) + 1]
        even = "" if one["explained beyond a line"].low > 0 else " (or changes evenly)"
        said.append(f"the {name} jumps between steps {low} and {last}{even}")
    if said:
        return _sentence("; ".join(said))
    return "No change at one point in training is established"


def _beyond(band: Band, *, above: bool) -> list[str | int]:
    """Labels where the interval lies beyond zero and beyond the control, on one side."""

    def holds(e: Estimate, _: Any) -> bool:
        edge = 0.0 if e.control is None else (e.control.high if above else e.control.low)
        if edge != edge:
            return False
        return e.low > max(0.0, edge) if above else e.high < min(0.0, edge)

    return _where(band, holds)


def _where(band: Band, holds: Callable[[Estimate, Any], bool]) -> list[str | int]:
    return [one for one in band.labels if not band.at(one).undefined and holds(band.at(one), one)]


def _between(found: dict[str, Any]) -> str:
    if found["earliest"] == found["latest"]:
        return f"at layer {found['latest']}"
    return f"between layers {found['earliest']} and {found['latest']}"


def _blocks(labels: Sequence[str | int]) -> str:
    names = [str(one) for one in labels]
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"block{'' if len(names) == 1 else 's'} {joined}"


def _percent(number: float) -> str:
    return f"{100 * number:.2g}%" if abs(number) < 0.095 else f"{100 * number:.0f}%"


def _numbers(estimate: Estimate) -> str:
    return interval_in_words(estimate.value, estimate.low, estimate.high)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
