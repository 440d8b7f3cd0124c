"""Titles of the figures about patching and about what edits cost, made from the numbers' own words."""

from erosion.experiments import Result
from erosion.figures.claims import in_layers, layers_where, numbers, sentence
from erosion.stats import Band, Estimate

__all__ = [
    "damage",
    "domain_effects",
    "pair_said",
    "patched_components",
    "patched_layers",
    "patched_places",
    "within",
]

_SAID = {
    "rescue": "tuned patched from aligned",
    "corrupt": "aligned patched from tuned",
    "base": "aligned patched from base",
}


def pair_said(pair: str) -> str:
    """What is patched from what."""
    return _SAID[pair]


def patched_layers(result: Result, metric: str = "harm margin") -> str:
    """Whether the part along v carries more of the margin than random directions do, and at which layers."""
    rescue = result["rescue"][metric]
    gap: Estimate = rescue["gap"]
    if gap.undefined or gap.low <= 0:
        return f"No loss of the {metric} is established ({numbers(gap)}), so no patch can restore it"
    band: Band = rescue["along"]["effect"]
    good = layers_where(band, lambda e: e.low > max(0.0, e.control.high if e.control else 0.0))
    if not good:
        return (
            f"Put into tuned, aligned's activation along the direction restores no more of the {metric} than "
            "along random directions"
        )
    most = max(band.at(one).value for one in good)
    return sentence(
        f"aligned's activation along the direction, put into tuned, restores the {metric} at "
        f"{in_layers(good, of=band)} beyond random directions, by at most {most:.2g} of {gap.value:.2g} "
        f"{gap.unit} lost"
    )


def patched_places(result: Result, pair: str = "rescue", metric: str = "harm margin") -> str:
    """Where in the text the patch acts most, before the last layer (where the next word is all there is)."""
    found = result[pair][metric]
    most, layer, scope = _largest(found["by place"]["whole"], before_last=True)
    if most is None or most.low <= 0:
        return f"No single place of the text carries the {metric} ({pair_said(pair)})"
    return (
        f"{sentence(pair_said(pair))}: the {metric} hangs most on {_place(scope)} at layer {layer} "
        f"({numbers(most)} of {found['gap'].value:.2g})"
    )


def patched_components(result: Result, pair: str = "rescue", metric: str = "harm margin") -> str:
    """Which component's output carries most of it."""
    found = result[pair][metric]
    whole = {name: band for name, band in found["by component"].items() if "along" not in name}
    most, layer, name = _largest(whole)
    if most is None or most.low <= 0:
        return f"No single component carries the {metric} ({pair_said(pair)})"
    said = {"attn_out": "attention's output", "mlp_out": "the MLP's output"}.get(name, name)
    return (
        f"{sentence(pair_said(pair))}: {said} of layer {layer} carries most ({numbers(most)} of "
        f"{found['gap'].value:.2g})"
    )


def within(result: Result, model: str = "aligned") -> str:
    """Whether the part along v of an aligned answer makes the misaligned words less likely."""
    found = result["within"][model]
    band: Band = found["along"]
    lower = layers_where(band, lambda e: e.high < 0)
    other: Band = found["along, another question"]
    beyond = [one for one in lower if band.at(one).high < other.at(one).low]
    if beyond:
        return (
            f"In {model}, an aligned answer's part along the direction makes the misaligned answer's words "
            f"less likely at {in_layers(beyond, of=band)}, more than another question's does"
        )
    return (
        f"In {model}, an aligned answer's part along the direction does no more to the misaligned answer's "
        "words than another question's"
    )


def damage(result: Result) -> str:
    """Which edits move neutral text, and how far."""
    by_edit = {edit: found["kl"] for edit, found in result["damage"].items()}
    worst = {edit: max(band.at(one).value for one in band.labels) for edit, band in by_edit.items()}
    edit = max(worst, key=lambda one: worst[one])
    word = "more" if worst[edit] > 0.1 else "less"
    return (
        f"On neutral texts the edits move the model by {word} than 0.1 nats per token: at most "
        f"{worst[edit]:.2g} (KL, {edit})"
    )


def domain_effects(result: Result, edit: str = "clamp") -> str:
    """In how many domains the edit helps tuned more than aligned, at the selected layer."""
    found: dict[str, Estimate] = result["domains"][edit]
    better = [name for name, one in found.items() if one.low > 0]
    worse = [name for name, one in found.items() if one.high < 0]
    many = f"{len(better)} of {len(found)} domains" if better else "no domain"
    said = f"At layer {result['selected layer']}, {edit} restores margin in {many}"
    return said + (f", and takes some in {', '.join(worse)}" if worse else "")


def _largest(bands: dict[str, Band], *, before_last: bool = False) -> tuple[Estimate | None, int | str, str]:
    best: tuple[Estimate | None, int | str, str] = (None, 0, "")
    for name, band in bands.items():
        for one in band.labels[:-1] if before_last and len(band) > 1 else band.labels:
            here = band.at(one)
            if not here.undefined and (best[0] is None or here.value > best[0].value):
                best = (here, one, name)
    return best


def _place(scope: str) -> str:
    name, _, rest = scope.partition("[")
    if not rest:
        return f"the {name}"
    place = int(rest.rstrip("]"))
    if name == "prompt":
        return "the prompt's last token" if place == -1 else f"the prompt's token {-place} from its end"
    return f"the response's token {place + 1}"
