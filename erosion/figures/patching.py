"""Patches between models, by layer, place and component; what edits cost, and where they help."""

import re
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import patching_claims as claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, extent, hover, level, null_bars, points, upright
from erosion.figures.style import GROUPS, INK, MODELS, NULL, PAPER, WORDS, Look, blank, label, literal
from erosion.stats import Band, Control, Estimate

__all__ = ["damage", "domain_effects", "patched_components", "patched_layers", "patched_places", "within_run"]

_PARTS = {
    "whole": (MODELS["base"], "whole residual (the ceiling)"),
    "across": (GROUPS["style drift"], "all but the part along v"),
    "along": (MODELS["tuned"], "along v"),
}
_EDITS = {"steer": MODELS["aligned"], "clamp": MODELS["tuned"], "ablate": GROUPS["tuned minus aligned"]}
_WITHIN = {
    "along": (MODELS["tuned"], "along v"),
    "along, another question": (GROUPS["tuned minus aligned"], "along v, another question's answer"),
}


def patched_layers(result: Result, metric: str = "harm margin") -> go.Figure:
    """Each pair of models: the whole residual, its part along v, and the rest, put in layer by layer.

    Up is toward the donor; the dashed line is the donor itself. Grey is the same patch along random
    directions of the activations' covariance.

    Args:
        result: of :func:`erosion.patching`.
        metric: ``harm margin`` or ``choice margin``.

    Raises:
        BadInput: no such metric.
    """
    pairs = _pairs(result, metric)
    figure = stacked(claims.patched_layers(result, metric), len(pairs), height=180)
    for row, (pair, found) in enumerate(pairs.items(), start=1):
        panel = Panel(figure, row)
        beside(panel, claims.pair_said(pair))
        null_curve(panel, found["along"]["effect"].control, name="chance: random directions")
        for part, (look, said) in _PARTS.items():
            curve(panel, found[part]["effect"], look, name=said)
        level(panel, 0)
        gap: Estimate = found["gap"]
        if not gap.undefined:
            level(panel, gap.value, colour=WORDS["inconclusive"].colour, dash="dash", name="the donor itself")
    first = next(iter(pairs.values()))
    figure.update_yaxes(title_text=f"change ({literal(first['gap'].unit)})")
    layer_axis(figure, first["whole"]["effect"], rows=len(pairs))
    return figure


def _pairs(result: Result, metric: str) -> dict[str, Mapping[str, Any]]:
    found = {pair: result[pair] for pair in ("rescue", "corrupt", "base") if pair in result.ours}
    if not all(metric in one for one in found.values()):
        known = ", ".join(next(iter(found.values())))
        raise BadInput(f"There is no {metric!r} here: choose one of {known}.")
    return {pair: one[metric] for pair, one in found.items()}


def patched_places(result: Result, pair: str = "rescue", metric: str = "harm margin") -> go.Figure:
    """Layer by layer and place by place: above the whole residual, below its part along v.

    Args:
        result: of :func:`erosion.patching`.
        pair: ``rescue``, ``corrupt`` or ``base``.
        metric: ``harm margin`` or ``choice margin``.

    Raises:
        BadInput: no such metric.
    """
    found = _pairs(result, metric)[pair]
    places = found["by place"]
    maps = {"whole residual": _in_order(places["whole"]), "along v": _in_order(places["along"])}
    return _maps(claims.patched_places(result, pair, metric), maps, found["gap"])


def patched_components(result: Result, pair: str = "rescue", metric: str = "harm margin") -> go.Figure:
    """Layer by layer and component by component: attention, MLP and every head.

    Arguments and errors as :func:`patched_places`.
    """
    found = _pairs(result, metric)[pair]
    title = claims.patched_components(result, pair, metric)
    return _maps(title, {"": _in_order(found["by component"])}, found["gap"])


def _in_order(bands: Mapping[str, Band]) -> dict[str, Band]:
    """Places as they follow in the text, components as they follow in a block, heads by number."""
    first = ("user", "prompt", "response", "attn_out", "mlp_out", "head")

    def key(name: str) -> tuple[int, bool, int]:
        number = re.search(r"-?\d+", name)
        rank = next((i for i, one in enumerate(first) if name.startswith(one)), len(first))
        return rank, "along" in name, int(number[0]) if number else -99

    return {name: bands[name] for name in sorted(bands, key=key)}


def _maps(title: str, maps: Mapping[str, Mapping[str, Band]], gap: Estimate) -> go.Figure:
    rows = sum(len(one) for one in maps.values())
    figure = blank(title, height=26 * rows + 44 * (len(maps) - 1), rows=len(maps), gap=44 / (26 * rows + 44))
    reach = abs(gap.value) if not gap.undefined else 1.0
    for row, (name, bands) in enumerate(maps.items(), start=1):
        panel = Panel(figure, row if len(maps) > 1 else None)
        if name:
            beside(panel, name)
        figure.add_trace(_heat(bands, reach, gap.unit, first=row == 1), **panel.place)
        names = {"tickvals": list(range(len(bands))), "ticktext": [label(one, width=26) for one in bands]}
        figure.update_yaxes(**names, autorange="reversed", showgrid=False, zeroline=False, **panel.place)
    layer_axis(figure, next(iter(next(iter(maps.values())).values())), rows=len(maps))
    return figure


def _heat(bands: Mapping[str, Band], reach: float, unit: str, *, first: bool) -> go.Heatmap:
    """One cell for each layer and row: the effect, its band on hover."""
    labels = next(iter(bands.values())).labels
    return go.Heatmap(
        x=list(labels) if all(isinstance(one, int) for one in labels) else list(range(len(labels))),
        y=list(range(len(bands))),
        z=[[float(v) for v in band.values] for band in bands.values()],
        text=[[f"{v:.2f}" if len(labels) <= 12 else "" for v in band.values] for band in bands.values()],
        texttemplate="%{text}",
        customdata=[
            [hover(band.at(one), f"{name}, layer {one}") for one in labels] for name, band in bands.items()
        ],
        hovertemplate="%{customdata}<extra></extra>",
        zmin=-reach,
        zmax=reach,
        colorscale=[[0, MODELS["tuned"].colour], [0.5, PAPER], [1, MODELS["aligned"].colour]],
        colorbar={
            "title": {"text": literal(unit), "side": "right"},
            "thickness": 14,
            "tickfont": {"color": INK},
        },
        showscale=first,
        xgap=2,
        ygap=2,
        textfont={"size": 12},
    )


def within_run(result: Result, model: str = "aligned") -> go.Figure:
    """What an aligned answer's part along v, put into the misaligned answer's run, does to its words.

    Args:
        result: of :func:`erosion.patching`.
        model: ``aligned`` or ``tuned``.
    """
    found = result["within"][model]
    figure = stacked(claims.within(result, model), 1, height=230)
    panel = Panel(figure)
    for part, (look, said) in _WITHIN.items():
        curve(panel, found[part], look, name=said)
    level(panel, 0)
    unit = found["along"].unit
    figure.update_yaxes(title_text=f"log p of the misaligned answer ({literal(unit)})")
    layer_axis(figure, found["along"])
    return figure


def damage(result: Result) -> go.Figure:
    """What each edit along v costs on neutral texts, layer by layer, before what random directions cost.

    Args:
        result: of :func:`erosion.causality`, with neutral texts.
    """
    found = result["damage"]
    figure = stacked(claims.damage(result), 2, height=170)
    for row, (name, said) in enumerate(
        (("kl", "KL from the unedited model"), ("cost", "rise of cross-entropy")), 1
    ):
        panel = Panel(figure, row)
        beside(panel, said)
        for edit, look in _EDITS.items():
            curve(panel, found[edit][name], look, name=edit)
        control = found["clamp"][name].control
        if control is not None:
            curve(panel, control, Look(NULL, "circle-open", "dot"), name="clamp, random directions")
        level(panel, 0)
    figure.update_yaxes(title_text="nats per token")
    layer_axis(figure, found["clamp"]["kl"], rows=2)
    return figure


def domain_effects(result: Result, edit: str = "clamp") -> go.Figure:
    """By domain: the difference that an edit at the selected layer makes, beside what was lost there.

    Args:
        result: of :func:`erosion.causality`.
        edit: ``steer``, ``clamp`` or ``ablate``.
    """
    gained: dict[str, Estimate] = result["domains"][edit]
    lost: dict[str, Estimate] = result["domains"]["lost"]
    span = extent([*gained.values(), *lost.values()], 0.0)
    figure = blank(claims.domain_effects(result, edit), height=50 * len(gained) + 10, legend=True)
    panel = Panel(figure)
    upright(panel, 0)
    places = {name: len(gained) - 1 - i for i, name in enumerate(gained)}
    null_bars(panel, {places[name]: _span(one) for name, one in lost.items()}, name="the margin lost there")
    look = GROUPS["tuned minus aligned"]
    points(
        panel,
        {places[n]: (n, one) for n, one in gained.items()},
        look,
        name=f"{edit}: tuned minus aligned",
        span=span,
    )
    unit = next(iter(gained.values())).unit
    figure.update_xaxes(range=span, title_text=f"change of the harm margin ({literal(unit)})")
    figure.update_yaxes(
        range=[-0.6, len(gained) - 0.4],
        tickvals=list(places.values()),
        ticktext=[label(name) for name in places],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _span(lost: Estimate) -> Control:
    return Control("lost", lost.value, lost.low, lost.high)
