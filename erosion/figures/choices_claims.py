"""Titles of the figures about choices: which direction, how strong, which dose, which part."""

from collections.abc import Mapping
from typing import Any

from erosion.experiments import Result
from erosion.figures.claims import layers_where, numbers
from erosion.stats import Band, Estimate

__all__ = ["candidates", "dose_curve", "reported", "restored_parts", "strengths"]


def candidates(result: Result) -> str:
    """Which candidate was chosen, or that none passed."""
    chosen = result["chosen"]
    if chosen is None:
        return f"No direction was chosen: {result['why']}"
    taken: Estimate = _row(result, chosen)["ablation"]["harm margin"]
    return (
        f"Chosen on other questions: layer {chosen['layer']}, {chosen['span']}; ablating it changes "
        "aligned's margin "
        f"by {numbers(taken)} {taken.unit}"
    )


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
    return (
        f"Strength {picked:g} was chosen: {numbers(gain)} {gain.unit} on the questions it was chosen on, at "
        "a KL of "
        f"{row['kl'].value:.2g}"
    )


def reported(result: Result, metric: str = "harm margin") -> str:
    """What the chosen edit does on held-out questions, and whether random directions do as much."""
    found = result["held out"][metric]
    difference: Estimate = found["difference"]
    control = difference.control
    lost: Estimate = found["lost"]
    if lost.low <= 0:
        return (
            f"No loss is established on held-out questions ({numbers(lost)} {lost.unit}), so none is restored"
        )
    sizes = f"{numbers(difference)} of {lost.value:.2g} {difference.unit} lost"
    if difference.low <= 0:
        return f"On held-out questions the chosen steering restores nothing that is established ({sizes})"
    if control is not None and difference.low <= control.high:
        return f"On held-out questions the chosen steering restores no more than random directions ({sizes})"
    return f"On held-out questions the chosen steering restores {sizes}, beyond random directions"


def dose_curve(result: Result, metric: str = "harm margin") -> str:
    """How much is lost at the whole dose, and whether the loss is linear in it."""
    found = result[metric]
    lost: Estimate = found["lost"]
    if lost.low <= 0:
        return f"No loss of the {metric} is established at the whole dose ({numbers(lost)} {lost.unit})"
    bent: Band = found["beyond the chord"]
    inner = [d for d in bent.labels if 0 < float(d) < 1]
    early = [d for d in layers_where(bent, lambda e: e.low > 0) if d in inner]
    late = [d for d in layers_where(bent, lambda e: e.high < 0) if d in inner]
    how = ""
    if early and not late:
        how = ": most of it at small doses"
    elif late and not early:
        how = ": most of it at large doses"
    half = numbers(found["lost by dose"].at("0.5"))
    return f"The whole fine-tune costs {numbers(lost)} {lost.unit} of the {metric}, half of it {half}{how}"


def restored_parts(result: Result, metric: str = "harm margin") -> str:
    """Which single part restores most, beside its share of what was changed."""
    found = result[metric]
    lost: Estimate = found["lost"]
    if lost.low <= 0:
        return f"No loss of the {metric} is established, so there is nothing for a part to restore"
    band: Band = found["restored"]
    single = [part for part in band.labels if "." in str(part) or part in ("embedding", "head", "final_norm")]
    good = [part for part in single if band.at(part).low > 0]
    if not good:
        return f"No single part that is put back restores the {metric}"
    best = max(good, key=lambda part: band.at(part).value)
    size = next(one for one in result["changes"] if one["part"] == best)["share of squared change"]
    share: Estimate = found["restored share"].at(best)
    return (
        f"Putting back {best} alone restores {numbers(share)} of the {metric} lost ({size:.2g} of the "
        "squared weight "
        "change)"
    )
