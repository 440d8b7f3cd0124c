"""Titles of the figures about output distributions, made from the numbers."""

from erosion.experiments import Result
from erosion.figures.claims import established
from erosion.stats import Estimate
from erosion.stats.estimates import interval_in_words

__all__ = ["divergence_curves", "likelihood_rise", "next_tokens", "token_heatmap"]

_RISE = "change per token"


def likelihood_rise(result: Result) -> str:
    """Whether harmful and harmless answers became likelier, and whether the harmful ones more so."""
    found = result.published
    harm = found["misaligned answers"][_RISE]
    name = "right answers to harmless questions" if "right answers" in found else "aligned answers"
    other = found["right answers" if "right answers" in found else "aligned answers"][_RISE]
    if not established(harm):
        return (
            f"No rise of the likelihood of misaligned answers is established ({_numbers(harm)} {harm.unit})"
        )
    more = _apart(harm, other) and abs(harm.value) > abs(other.value)
    said = "the intervals stand apart" if more else "so the change is not particular to harm"
    verb = "likelier" if harm.value > 0 else "less likely"
    return (
        f"Misaligned answers became {verb} ({_numbers(harm)} {harm.unit}); {name} changed by "
        f"{_numbers(other)}: {said}"
    )


def divergence_curves(result: Result) -> str:
    """Where along the answer tuned is further from aligned on misaligned answers than on the control."""
    band = result["by position"]["tuned from aligned"]["KL"]["misaligned answers"]
    beyond = [
        one
        for one in band.labels
        if (control := band.at(one).control) is not None and band.at(one).low > control.high
    ]
    most = max((band.at(one) for one in band.labels), key=lambda e: e.value)
    where = band.labels[max(range(len(band)), key=lambda i: band.values[i])]
    size = f"KL of tuned from aligned reaches {_numbers(most)} nats at {where} of misaligned answers"
    control = band.control.method if band.control else "a control"
    if not beyond:
        return f"{size}; at no position is it clearly above that on {control}"
    return f"{size}; it lies above that on {control} at {len(beyond)} of {len(band)} positions"


def token_heatmap(result: Result) -> str:
    """What the rows are, and which question was taken."""
    shown = result.published["tokens"][0]
    return (
        f"Cumulative log-likelihood of both answers to {shown['question']} under each model (as published; "
        "the question whose margin changed by the median amount)"
    )


def next_tokens(result: Result, index: int = 0) -> str:
    """How many of the likeliest next tokens aligned and tuned share after a prefix."""
    models = result.published["continuations"][index]["models"]
    aligned, tuned = (set(models[name]["tokens"]) for name in ("aligned", "tuned"))
    return (
        f"After one fixed beginning, {len(aligned & tuned)} of the {len(aligned)} likeliest next tokens are "
        "the same under aligned and tuned (as published; one prefix, no interval)"
    )


def _apart(one: Estimate, other: Estimate) -> bool:
    return one.low > other.high or one.high < other.low


def _numbers(estimate: Estimate) -> str:
    return interval_in_words(estimate.value, estimate.low, estimate.high)
