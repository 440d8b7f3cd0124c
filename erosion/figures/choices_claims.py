"""Titles of the figures about choices: which direction, how strong, which dose, which part."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from erosion.experiments import Result
from erosion.figures.claims import numbers
from erosion.stats import Band, Estimate

__all__ = ["candidates", "dose_curve", "reported", "restored_parts", "strengths"]


def candidates(result: Result) -> str:
    """Which candidate was chosen and what its ablation takes, or that none passed."""
    chosen = result["chosen"]
    if chosen is None:
        return f"No direction was chosen: {result['why']}"
    said = f"Chosen on other questions: layer {chosen['layer']}, {chosen['span']}"
    changed: Estimate = _row(result, chosen)["ablation"]["harm margin"]
    if changed.undefined or not changed.high < 0:
        return f"{said}; that ablating it takes any of aligned's margin is not established ({_said(changed)})"
    return f"{said}; ablating it changes aligned's margin by {_said(changed)}"


def _said(estimate: Estimate) -> str:
    return f"{numbers(estimate)} {estimate.unit}"


def _row(result: Result, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = (chosen["layer"], chosen["span"])
    return next(row for row in result["rows"] if (row["layer"], row["span"]) == wanted)


def strengths(result: Result) -> str:
    """Which strength was chosen, and what it gains where it was chosen."""
    picked = result.ours.get("strength")
    if picked is None:
        return f"No strength was chosen: {result.ours.get('why this strength', result['why'])}"
    row = next(one for one in result["strengths"] if one["by"] == picked)
    gain: Estimate = row["gain"]["harm margin"]
    cost = f"at a KL of {row['kl'].value:.2g}"
    if gain.undefined or not gain.low > 0:
        return f"Strength {picked:g} was chosen without an established gain ({_said(gain)}), {cost}"
    return f"Strength {picked:g} was chosen: it gains {_said(gain)} on the questions it was chosen on, {cost}"


def reported(result: Result, metric: str = "harm margin") -> str:
    """What the chosen edit does on held-out questions, and whether random directions do as much."""
    found = result["held out"][metric]
    difference: Estimate = found["difference"]
    control = difference.control
    lost: Estimate = found["lost"]
    if not lost.low > 0:
        return (
            f"No loss of the {metric} is established on held-out questions ({_said(lost)}): none is restored"
        )
    said = "On held-out questions the chosen steering restores"
    sizes = f"{numbers(difference)} of {lost.value:.2g} {difference.unit} lost"
    if not difference.low > 0:
        return f"{said} nothing of the {metric} that is established ({sizes})"
    if control is not None and not difference.low > control.high:
        return f"{said} no more of the {metric} than random directions ({sizes})"
    return f"{said} {sizes} of the {metric}, beyond random directions"


def dose_curve(result: Result, metric: str = "harm margin") -> str:
    """How much the whole dose costs, and whether half of it costs half of that."""
    found = result[metric]
    lost: Estimate = found["lost"]
    if lost.high < 0:
        return f"The whole fine-tune costs none of the {metric}: it raises it by {_said(_negative(lost))}"
    if not lost.low > 0:
        return f"No loss of the {metric} is established at the whole dose ({_said(lost)})"
    bent: Estimate = found["beyond the chord"].at("0.5")
    how = "that this is not half is not established"
    if bent.low > 0:
        how = "more than half of that"
    elif bent.high < 0:
        how = "less than half of that"
    half = numbers(found["lost by dose"].at("0.5"))
    return f"The whole fine-tune costs {_said(lost)} of the {metric}; half the dose costs {half}: {how}"


def _negative(lost: Estimate) -> Estimate:
    return replace(lost, value=-lost.value, low=-lost.high, high=-lost.low)


def restored_parts(result: Result, metric: str = "harm margin") -> str:
    """Which single part restores most, and whether that is more than its share of what was changed."""
    found = result[metric]
    lost: Estimate = found["lost"]
    if not lost.low > 0:
        return f"No loss of the {metric} is established, so there is nothing for a part to restore"
    band: Band = found["restored"]
    single = [part for part in band.labels if "." in str(part) or part in ("embedding", "head", "final_norm")]
    good = [part for part in single if band.at(part).low > 0]
    if not good:
        return f"No single part that is put back restores the {metric}"
    best = max(good, key=lambda part: band.at(part).value)
    share: Estimate = found["restored share"].at(best)
    if share.undefined:
        return f"Putting back {best} alone restores {_said(band.at(best))} of the {metric}"
    size = next(one for one in result["changes"] if one["part"] == best)["share of squared change"]
    return (
        f"Putting back {best} alone restores {numbers(share)} of the {metric} lost, {_against(share, size)} "
        "of the squared weight change"
    )


def _against(share: Estimate, size: float) -> str:
    """A share in words, against the part's share of the change."""
    if share.low > size:
        return f"more than its {size:.2g}"
    if share.high < size:
        return f"less than its {size:.2g}"
    return f"not clearly more or less than its {size:.2g}"
