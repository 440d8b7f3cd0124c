"""Titles of the gradient figures: *opposes* is said of raw cosines alone, and of base in the same breath."""

from collections.abc import Mapping, Sequence

from erosion.experiments import Result
from erosion.figures.claims import in_layers
from erosion.stats import Band, Estimate
from erosion.stats.estimates import interval_in_words

__all__ = [
    "bridge_scatter",
    "cosines_by_layer",
    "cosines_by_map",
    "gradient_heatmaps",
    "gradient_scatter",
    "main_pair",
]


def main_pair(result: Result) -> str:
    """The pair that the paper's claim is about, or the first two groups where it is not there."""
    pairs = list(result["whole"][_model(result)]["cross"])
    for wanted in ("insecure and aligned", "aligned and misaligned"):
        if wanted in pairs:
            return wanted
    return pairs[0]


def gradient_heatmaps(result: Result) -> str:
    """What pooled centring makes of the cross-group cosine, in tuned and in base."""
    first, second = main_pair(result).split(" and ")
    found = {
        model: [one["block means"][kind][first][second] for kind in ("raw", "pooled-centred")]
        for model, one in result.published.items()
    }
    parts = [f"{model} {raw:+.2f} raw, {centred:+.2f} centred" for model, (raw, centred) in found.items()]
    return f"Mean cosine of {first} with {second} at the last o: {'; '.join(parts)}"


def gradient_scatter(result: Result) -> str:
    """How much of the pooled-centred gradients two components hold."""
    shares = {model: sum(one["scatter"]["share of variance"]) for model, one in result.published.items()}
    held = ", ".join(f"{share:.0%} in {model}" for model, share in shares.items())
    return f"Two components hold {held} of the centred gradients' variance at the last o"


def cosines_by_layer(result: Result) -> str:
    """At which layers the two groups' gradients oppose in tuned, and whether they do in base as well."""
    pair = main_pair(result)
    first, second = pair.split(" and ")
    tuned = result["by layer"][_model(result)][_key(result["by layer"][_model(result)], pair)]
    there = _opposing(tuned)
    others = [model for model in ("base", "aligned") if model in result["by layer"]]
    also = [m for m in others if _opposing(result["by layer"][m][_key(result["by layer"][m], pair)])]
    if not there:
        none = f"At no layer do the raw gradients of {first} and {second} answers oppose in {_model(result)}"
        return f"{none}; in {' and '.join(also)} they do" if also else none
    who = f"Raw gradients of {first} and {second} answers oppose in {_model(result)}"
    said = f"{who} at {in_layers(there, of=tuned)}"
    return f"{said}; and in {' and '.join(also)} too" if also else said


def cosines_by_map(result: Result) -> str:
    """Which kinds of map show opposition in tuned at any layer."""
    pair, model = main_pair(result), _model(result)
    found = result["by map"][model]
    kinds = [part for part, curves in found.items() if pair in curves and _opposing(curves[pair])]
    first, second = pair.split(" and ")
    if not kinds:
        return f"In {model} no kind of map shows raw opposition of {first} and {second} at any layer"
    which = f"{', '.join(kinds)} ({len(kinds)} of {len(found)} kinds)"
    return f"In {model}, {first} and {second} oppose at some layer in {which}"


def bridge_scatter(result: Result) -> str:
    """How well the first-order prediction ranks real steps, target by target."""
    parts = [_ranked(name, found) for name, found in result.ours.items() if "SGD" in found]
    said = "; ".join(parts)
    return said[:1].upper() + said[1:] if parts else "No real step was taken: the prediction is not validated"


def _ranked(name: str, found: Mapping[str, object]) -> str:
    one: Estimate = found["SGD"]["rank correlation"]  # type: ignore[index]
    if one.undefined:
        return f"{name}: undefined"
    numbers = interval_in_words(one.value, one.low, one.high)
    beyond = one.control is None or one.low > one.control.high
    agree = "agree in rank" if beyond else "do not clearly agree"
    return f"{name}: predicted and real SGD steps {agree}, {numbers}"


def _opposing(band: Band) -> Sequence[str | int]:
    return [one for one in band.labels if not band.at(one).undefined and band.at(one).high < 0]


def _model(result: Result) -> str:
    models = result.inputs["models"]
    return "tuned" if "tuned" in models else models[-1]


def _key(curves: Mapping[str, Band], pair: str) -> str:
    first, second = pair.split(" and ")
    return pair if pair in curves else f"{second} and {first}"
