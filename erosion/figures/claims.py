"""Titles, made from the numbers: each says what its figure establishes, and nothing that it does not.

The words *eroded* and *kept* come from the verdict alone. Elsewhere a change is stated only when its whole
interval lies on one side of zero and it lies beyond its control; otherwise the title says that it is not
established.
"""

import math
from collections.abc import Callable, Sequence

from erosion.effects import Effect
from erosion.experiments import Result
from erosion.stats import Band, Estimate, Verdict
from erosion.stats.estimates import decimals_for, interval_in_words, shown

__all__ = [
    "causal_curves",
    "effects",
    "erosion_by_layer",
    "established",
    "headline",
    "held_out_auc",
    "in_layers",
    "layers_where",
    "margins",
    "numbers",
    "positions",
    "sentence",
    "shift",
    "style_and_harm",
    "tokens",
    "verdict_by_domain",
]

_NONE_LEFT = "Every domain was trained on, so no change beyond them is judged"
ORDER = ("eroded", "kept", "inconclusive", "undefined", "general damage")


def headline(verdict: Verdict) -> str:
    """The word, and the number it was judged on."""
    if verdict.estimate.undefined:
        return f"{verdict.word.capitalize()}: {verdict.estimate.why}"
    return f"{verdict.word.capitalize()}: {_judged(verdict)}"


def _judged(verdict: Verdict) -> str:
    fell = numbers(verdict.estimate)
    if verdict.quantity == "erosion":
        return f"{fell} of what alignment added is gone"
    return f"the preference for aligned answers fell by {fell} nats per token"


def verdict_by_domain(verdict: Verdict) -> str:
    """How many domains earned each word; where it is general damage, no domain is called eroded."""
    total = len(verdict.domains)
    if not total:
        return sentence(f"{verdict.word}: every domain was trained on, so none is judged apart")
    counts = {word: sum(d.word == word for d in verdict.domains) for word in ORDER}
    if verdict.word == "general damage":
        lost = counts["eroded"] + counts["general damage"]
        return f"General damage: {lost} of {total} domains lose the margin, and not the margin alone"
    parts = [f"{word} in {count} of {total}" for word, count in counts.items() if count]
    if len(parts) == 1:
        every = next(word for word in ORDER if counts[word])
        where = "the one domain" if total == 1 else f"all {total} domains"
        over_all = "" if every == verdict.word else f"{verdict.word} over all; "
        return sentence(f"{over_all}{every} in {where} not trained on")
    return sentence(f"{'; '.join(parts)} domains not trained on")


def margins(result: Result, metric: str = "harm margin") -> str:
    """What aligned and tuned prefer, and whether a change is established."""
    if "overall" not in result.ours:
        return _NONE_LEFT
    found = result["overall"]
    change = found["harm-specific change"][metric]
    before, after = (found["margins"][model][metric] for model in ("aligned", "tuned"))
    moved = f"from {_alike(before, after)} (aligned) to {_alike(after, before)} (tuned) {after.unit}"
    if established(change):
        return f"The {metric} {'fell' if change.value < 0 else 'rose'} {moved}"
    return f"No change of the {metric} is established: {moved}"


def style_and_harm(result: Result) -> str:
    """Harm-specific change and style drift, each with its number, and which of them is established."""
    if "overall" not in result.ours:
        return _NONE_LEFT
    found = result["overall"]
    harm, style = found["harm-specific change"]["harm margin"], found["style drift"]
    parts = []
    for name, one in (("harm-specific change", harm), ("style drift", style)):
        state = "" if established(one) else ", not established"
        parts.append(f"{name} {numbers(one)}{state}")
    return sentence(f"{'; '.join(parts)} ({harm.unit})")


def held_out_auc(result: Result) -> str:
    """At which layers the difference of means separates held-out answers beyond its control."""
    name, bands = next(iter(result["by fit"].items()))
    band = bands["held-out AUC"]
    good = layers_where(band, lambda e: e.low > max(0.5, _ends(e)[1]))
    if not good:
        return f"At no layer does the {name} separate held-out answers better than chance"
    best = max((band.at(one) for one in good), key=lambda e: e.value)
    return (
        f"The {name} separates held-out answers beyond chance at {in_layers(good, of=band)} "
        f"(AUC up to {_short(best)})"
    )


def positions(result: Result) -> str:
    """Where the tuned model's aligned answers stand against the aligned model's, layer by layer."""
    place = result["position"]
    tuned, aligned = place["tuned"]["aligned"], place["aligned"]["aligned"]
    apart = [
        one
        for one in tuned.labels
        if tuned.at(one).high < aligned.at(one).low or tuned.at(one).low > aligned.at(one).high
    ]
    if not apart:
        return "At no layer do the bands of aligned and tuned stand apart on aligned answers"
    return f"On aligned answers the bands of aligned and tuned stand apart at {in_layers(apart, of=tuned)}"


def shift(result: Result) -> str:
    """At which layers the tuned model moved along the direction further than along random ones."""
    band = result["shift of tuned"]
    down = layers_where(band, lambda e: e.high < min(0.0, _ends(e)[0]))
    up = layers_where(band, lambda e: e.low > max(0.0, _ends(e)[1]))
    if not down and not up:
        return "At no layer did the tuned model move along the direction further than along random ones"
    parts = [
        f"toward {side} at {in_layers(there, of=band)}"
        for side, there in (("misaligned answers", down), ("aligned answers", up))
        if there
    ]
    return f"The tuned model moved {' and '.join(parts)}, further than along random directions"


def erosion_by_layer(result: Result) -> str:
    """At which layers the tuned model lies measurably back toward base."""
    band = result.ours.get("erosion of position")
    if band is None:
        return "Undefined: without a base model there is no way back to measure"
    if all(band.at(one).undefined for one in band.labels):
        return "Undefined at every layer: aligned does not clearly lie beyond base along the direction"
    moved = result["shift of tuned"]
    past_chance = set(layers_where(moved, lambda e: e.high < min(0.0, _ends(e)[0])))
    back = [one for one in layers_where(band, lambda e: e.low > 0) if one in past_chance]
    if not back:
        return "At no layer does the tuned model lie back toward base further than by chance"
    most = max((band.at(one) for one in back), key=lambda e: e.value)
    past = " (above 1 is past base)" if most.value > 1 else ""
    return (
        f"Along the direction the tuned model went toward base at {in_layers(back, of=band)}, "
        f"up to {numbers(most)} of the way{past}"
    )


def causal_curves(result: Result, metric: str = "harm margin") -> str:
    """Which edits raise the margin in tuned, and more than in aligned; where; how much of the loss."""
    found, lost = result[metric], result[metric]["lost"]
    if lost.undefined or lost.low <= 0:
        known = f"No loss of the {metric} is established here ({numbers(lost)} {lost.unit})"
        return f"{known}, so no edit can restore it"
    beyond: dict[bool, list[str]] = {True: [], False: []}
    most = 0.0
    for edit, verb in (("steer", "steering"), ("clamp", "clamping"), ("ablate", "ablating")):
        band, raised = found[edit]["difference"], found[edit]["on tuned"]
        stricter = found[edit].get("against covariance-matched directions", band)
        good = layers_where(band, lambda e: e.low > max(0.0, _ends(e)[1]))
        good = [one for one in good if stricter.at(one).low > max(0.0, _ends(stricter.at(one))[1])]
        good = [one for one in good if raised.at(one).low > 0]
        if good:
            beyond[band.control is not None].append(f"{verb} at {in_layers(good, of=band)}")
            most = max(most, *(raised.at(one).value for one in good))
    if not any(beyond.values()):
        return f"No edit along the direction raises the {metric} more in tuned than in aligned"
    said = [f"{' and '.join(beyond[True])}, beyond random directions"] if beyond[True] else []
    said += [f"{' and '.join(beyond[False])}, without a random control"] if beyond[False] else []
    size = f"by at most {most:.2g} of the {lost.value:.2g} {lost.unit} lost"
    return sentence(f"{'; '.join(said)}: the {metric} rises in tuned, {size}, and more than in aligned")


def effects(measured: Sequence[Effect]) -> str:
    """How many edits change the metric, their intervals taken one by one."""
    name, changes = measured[0].after.name, [one.change for one in measured]
    clear = sum(not one.covers(0) for one in changes)
    if len(measured) == 1:
        change = changes[0]
        if clear:
            return f"The {name} {'rises' if change.value > 0 else 'falls'} by {_size(change)} {change.unit}"
        return f"No change of the {name} is established: {numbers(change)} {change.unit}"
    edits = f"{clear or 'None'} of {len(measured)} edits {'changes' if clear == 1 else 'change'}"
    return f"{edits} the {name} (intervals one by one)"


def established(estimate: Estimate) -> bool:
    """Whether the whole interval lies on one side of zero, and the value beyond its control.

    >>> established(Estimate(0.5, -0.1, 1.1, "nats", 40, "cluster t"))
    False
    """
    if estimate.undefined or estimate.covers(0):
        return False
    low, high = _ends(estimate)
    return not low <= estimate.value <= high


def in_layers(labels: Sequence[str | int], *, of: Band) -> str:
    """Layers in words, neighbours joined.

    >>> from erosion.stats import random_band
    >>> import numpy as np
    >>> band = random_band(np.random.default_rng(0).normal(size=(40, 6)), unit="nats", n_questions=40)
    >>> in_layers([0, 1, 2, 5], of=band)
    'layers 0 to 2 and 5'
    """
    if len(labels) == len(of.labels) > 1:
        return f"all {len(labels)} layers"
    runs: list[list[str | int]] = []
    for one in labels:
        at = of.labels.index(one)
        if runs and of.labels.index(runs[-1][-1]) == at - 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    joined = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
    return f"{'layer' if len(labels) == 1 else 'layers'} {joined}"


def layers_where(band: Band, holds: Callable[[Estimate], bool]) -> list[str | int]:
    """The labels whose point is defined and of which ``holds`` is true."""
    return [one for one in band.labels if not band.at(one).undefined and holds(band.at(one))]


def _ends(estimate: Estimate) -> tuple[float, float]:
    """The control's interval; an empty one where there is no control."""
    control = estimate.control
    if control is None or math.isnan(control.value):
        return math.inf, -math.inf
    return control.low, control.high


def numbers(estimate: Estimate) -> str:
    """The value with its interval, or the word undefined."""
    if estimate.undefined:
        return "undefined"
    return interval_in_words(estimate.value, estimate.low, estimate.high)


def _short(estimate: Estimate) -> str:
    return numbers(estimate).split(" [")[0]


def _alike(one: Estimate, other: Estimate) -> str:
    """``one``'s value with as many decimals as the coarser of both deserves."""
    return shown(one.value, min(decimals_for(e.value, e.low, e.high) for e in (one, other)))


def _size(change: Estimate) -> str:
    if change.value > 0:
        return numbers(change)
    return interval_in_words(-change.value, -change.high, -change.low)


def tokens(result: Result) -> str:
    """Which questions are shown: single answers illustrate, so no finding is claimed."""
    shown = result["shown"]
    if not shown:
        return "No question is shown token by token"
    lost = {one["question"]: one["margin"]["aligned"] - one["margin"]["tuned"] for one in shown}
    first = max(lost, key=lambda q: lost[q])
    if len(shown) == 1:
        return f"One question token by token: the margin of {first} {_fell(lost[first])}"
    last = min(lost, key=lambda q: lost[q])
    return (
        f"Among the {len(shown)} questions shown, the margin of {first} {_fell(lost[first])} "
        f"and that of {last} {_fell(lost[last])} nats per token: examples, not findings"
    )


def _fell(by: float) -> str:
    return f"{'fell' if by > 0 else 'rose'} by {abs(by):.2g}"


def sentence(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]
