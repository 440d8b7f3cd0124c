"""Titles of the figures about loss geometry, made from the numbers."""

from erosion.experiments import Result
from erosion.stats import Estimate
from erosion.stats.estimates import interval_in_words

__all__ = ["loss_cosines", "loss_heatmaps", "loss_scatter"]


def loss_cosines(result: Result, pair: str | None = None) -> str:
    """Whether the two groups oppose in raw cosines, and whether centring makes base look so too."""
    pair = pair or result.inputs["pair"]
    apart = [model for model, by_pair in result["opposes"].items() if by_pair[pair]]
    raw = result["raw"]["tuned"]["cross"][pair]
    first = (
        f"{pair} oppose in raw cosines under {', '.join(apart)}"
        if apart
        else f"{pair} oppose under no model: raw cosine {_numbers(raw)} under tuned"
    )
    forced = [model for model, one in result["centred"].items() if _below(one["cross"][pair])]
    if not forced:
        return _sentence(first)
    without = [model for model in forced if not result["opposes"][model][pair]]
    if not without:
        return _sentence(first)
    base = ", and base has nothing to erode" if "base" in without else ""
    return _sentence(f"{first}. After centring the mean is negative under {' and '.join(without)}{base}")


def loss_heatmaps(result: Result, pair: str | None = None) -> str:
    """That blocks after centring are no finding where base, or arithmetic, shows them too."""
    pair = pair or result.inputs["pair"]
    tuned = result["centred"]["tuned"]["cross"][pair]
    if "base" not in result["centred"]:
        return (
            f"After centring the mean cosine across is {_numbers(tuned)} under tuned; centring pushes it down"
        )
    base = result["centred"]["base"]["cross"][pair]
    if _below(base) and _below(tuned):
        return (
            f"Base, which has nothing to erode, shows opposing blocks after centring ({_numbers(base)}), as "
            f"tuned does ({_numbers(tuned)})"
        )
    return (
        f"After centring the mean cosine across is {_numbers(tuned)} under tuned and {_numbers(base)} under "
        "base, which has nothing to erode"
    )


def loss_scatter(result: Result) -> str:
    """How much of the variance the picture holds."""
    shares = [
        f"{sum(one['variance explained']):.0%} in {model}"
        for model, one in result["scatter"]["models"].items()
    ]
    return f"Loss vectors on their first two principal components ({', '.join(shares)} of the variance)"


def _below(one: Estimate) -> bool:
    return not one.undefined and one.high < 0


def _numbers(one: Estimate) -> str:
    return "undefined" if one.undefined else interval_in_words(one.value, one.low, one.high)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
