"""Titles of the guards' figures: what the template changes, and how far the written answers lie."""

from collections.abc import Mapping

from erosion.experiments import Result
from erosion.stats import Estimate
from erosion.stats.estimates import interval_in_words

__all__ = ["off_distribution", "rendering"]


def rendering(result: Result) -> str:
    """The first flag, where there is one; else what chat and plain text give."""
    flags = result.ours.get("flags") or []
    if flags:
        more = f" (and {len(flags) - 1} more)" if len(flags) > 1 else ""
        return f"{flags[0][:1].upper()}{flags[0][1:]}{more}"
    what = "erosion" if "erosion" in result.ours else "loss"
    both = result[what]["overall"]
    apart, seen = both["difference"], result.ours.get("detectable difference")
    could = "" if seen is None else f", {seen:.2g} could have been seen"
    return f"No sign that the template makes the {what}: chat minus plain text is {_short(apart)}{could}"


def off_distribution(result: Result) -> str:
    """For how many models a written answer is more surprising than their own, beyond two own answers."""
    found: Mapping[str, Mapping[str, Estimate]] = result.ours.get("overall", {})
    if not any(found.values()):
        return "Every answered question is in a domain that was trained on"
    parts = []
    for side in ("aligned answers", "misaligned answers"):
        gaps = {name: one[side] for name, one in found.items()}
        above = [name for name, one in gaps.items() if _beyond(one)]
        least = min((one.value for one in gaps.values() if _beyond(one)), default=0.0)
        size = f" (by {least:.2g} nats per token or more)" if above else ""
        parts.append(f"{side} for {', '.join(above) or 'no model'}{size}")
    return f"More surprising than a model's own answers: {'; '.join(parts)}"


def _beyond(one: Estimate) -> bool:
    """Whether the gap lies above zero, and above what two own answers differ by."""
    chance = one.control.high if one.control is not None and one.control.value == one.control.value else 0.0
    return not one.undefined and one.low > 0 and one.value > chance


def _short(one: Estimate) -> str:
    return "undefined" if one.undefined else interval_in_words(one.value, one.low, one.high)
