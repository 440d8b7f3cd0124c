"""Titles of the figures of ``dimensions`` and ``sharing``, computed from their numbers."""

from collections.abc import Sequence

import numpy as np

from erosion.experiments import Result
from erosion.figures.claims import in_layers
from erosion.stats import Band
from erosion.stats.estimates import interval_in_words

__all__ = [
    "answer_directions",
    "domain_cosines",
    "domains_left_out",
    "layer_shown",
    "shared_component",
    "variance_by_rank",
]


def layer_shown(result: Result) -> int:
    """The layer that single-layer figures show: the selected one, else the middle one of those read."""
    layers: Sequence[int] = result.inputs["layers"]
    site = str(result.ours.get("selected", {}).get("site", ""))
    chosen = next((one for one in layers if site.startswith(f"L{one}.")), None)
    return layers[len(layers) // 2] if chosen is None else chosen


def domains_left_out(result: Result) -> str:
    """In how many domains a direction that saw none of them puts the aligned side higher, beyond chance."""
    found = result.ours.get("domains", {}).get("left out", {})
    if not found:
        return "Undefined: no second domain to leave out"
    layer, by = layer_shown(result), found["by domain"]
    scores = [bands["held-out AUC"].at(layer) for bands in by.values()]
    good = sum(e.low > max(0.5, e.control.high) for e in scores)
    wrong = sum(e.high < min(0.5, e.control.low) for e in scores)
    said = f"Fitted on all others, the direction separates {good} of {len(scores)} domains at layer {layer}"
    said += f" and points the wrong way in {wrong}" if wrong else ""
    mean = found["mean AUC over domains"].at(layer)
    beyond = mean.low > mean.control.high
    return f"{said}; on average it does {'better' if beyond else 'no better'} than random directions"


def domain_cosines(result: Result) -> str:
    """The mean cosine between domains' directions, against its noise ceiling and chance."""
    found = result.ours.get("domains", {}).get("cosines", {})
    if not found:
        return "Undefined: there is one domain only"
    layer = layer_shown(result)
    mean, ceiling = (found[name].at(layer) for name in ("mean cosine", "mean noise ceiling"))
    number = interval_in_words(mean.value, mean.low, mean.high)
    if mean.control is not None and not mean.low > mean.control.high:
        return f"Domains share no direction beyond chance at layer {layer}: mean cosine {number}"
    part = "below what noise alone allows" if mean.high < ceiling.low else "as alike as noise allows"
    return f"Domains share a direction at layer {layer}, mean cosine {number}, {part} ({ceiling.value:.2f})"


def variance_by_rank(result: Result) -> str:
    """How many directions were chosen, and what the first of them explains elsewhere."""
    layer = layer_shown(result)
    rank, band = result["rank"], result["rank"]["variance explained"][str(layer)]
    k, first = rank["k"][str(layer)], band.at(1)
    most = band.labels[-1]
    many = f"{k} or more directions" if k == most else f"{k} direction{'s' if k > 1 else ''}"
    beyond = first.low > first.control.high if first.control else False
    than = "more than a random one" if beyond else "not established as more than a random one"
    share = interval_in_words(first.value, first.low, first.high)
    return f"Held-out answers differ in {many} at layer {layer}; one explains {share}, {than}"


def shared_component(result: Result) -> str:
    """Whether the published sharing of components exceeds that with benign data."""
    difference = result["difference"]
    if not isinstance(difference, Band):
        return "Undefined: without benign data, sharing of components has no control"
    more = _where(difference.low > 0, difference)
    pair = result["harmful pair"]
    high = f"up to {float(np.nanmax(pair.values)):.2f}"
    if not more:
        return f"First components of harmful data are shared ({high}), but no more than with benign data"
    where = in_layers(more, of=difference)
    return f"The first components of harmful data are shared ({high}), more than with benign data at {where}"


def answer_directions(result: Result, model: str = "aligned") -> str:
    """Whether the answer directions of two kinds of harm are alike beyond benign answers."""
    found = result["answer directions"][model]
    if "difference" not in found:
        return f"Undefined in the {model} model: {found['why']}"
    difference = found["difference"]
    more, less = _where(difference.low > 0, difference), _where(difference.high < 0, difference)
    if more:
        return (
            f"In the {model} model the answer directions of both kinds of harm are more alike than "
            f"either is to right and wrong answers at {in_layers(more, of=difference)}"
        )
    less_said = f" (less, at {in_layers(less, of=difference)})" if less else ""
    return f"In the {model} model no answer direction specific to harm is established{less_said}"


def _where(holds: np.ndarray, band: Band) -> list[str | int]:
    return [one for one, there in zip(band.labels, holds, strict=True) if there]
