"""What the confound battery establishes, in words made from its shares."""

from erosion.experiments import Result
from erosion.experiments.confounds import ALL
from erosion.stats import Band, Estimate
from erosion.stats.estimates import interval_in_words

__all__ = ["best_layer", "confounds"]


def best_layer(value: Estimate | Band) -> tuple[Estimate, str]:
    """An estimate as it is, a band where its lower end is highest, and where that is."""
    if isinstance(value, Estimate):
        return value, ""
    defined = [one for one in value.labels if not value.at(one).undefined]
    label = max(defined, key=lambda one: value.at(one).low) if defined else value.labels[-1]
    return value.at(label), f" at layer {label}"


def confounds(result: Result, quantity: str) -> str:
    """What share of a quantity is left when every trait has taken what it can."""
    survives = result["quantities"][quantity]["survives"]
    if not survives:
        return f"No trait differs between the answers: the {quantity} has nothing to be confused with"
    name = ALL if ALL in survives else next(iter(survives))
    what = "all traits" if name == ALL else name
    share, where = best_layer(survives[name])
    if share.undefined:
        return f"The share of the {quantity} that survives {what} is undefined{where}"
    numbers = interval_in_words(share.value, share.low, share.high)
    if isinstance(survives[name], Band) and share.low > 0:
        band = survives[name]
        some = f"{int((band.low > 0).sum())} of {len(band)} layers"
        return f"Some of the {quantity} survives {what} at {some}, most surely {numbers}{where}"
    if share.low > 0:
        return f"{numbers} of the {quantity} survives {what}{where}, as a lower bound"
    return f"That any of the {quantity} survives {what} is not established{where}: {numbers}"
