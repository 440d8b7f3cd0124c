"""Gradient geometry: raw cosines beside centred ones, by layer, by map; and the bridge to real steps."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import gradient_geometry_claims as claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, extent, level, upright
from erosion.figures.style import (
    BLUE,
    GOLD,
    GREEN,
    INK,
    MODELS,
    ORANGE,
    PAPER,
    PURPLE,
    SOFT,
    Look,
    blank,
    literal,
)
from erosion.stats import Band

__all__ = ["bridge_scatter", "cosines_by_layer", "cosines_by_map", "gradient_heatmaps", "gradient_scatter"]

_LOOKS = {
    "insecure": Look(ORANGE, "diamond"),
    "secure": Look(BLUE, "circle"),
    "educational": Look(GOLD, "triangle-up"),
    "aligned": Look(GREEN, "square"),
    "misaligned": Look(PURPLE, "pentagon"),
}
_OTHER = Look(SOFT, "x")
_PAIRS = ("insecure and aligned", "insecure and misaligned", "aligned and misaligned", "insecure and secure")
_SIDE, _GAP = 260, 44


def gradient_heatmaps(result: Result) -> go.Figure:
    """Cosines at the last attention output: raw left, pooled-centred right; one row a model, base first.

    Args:
        result: of :func:`erosion.experiments.gradient_geometry`.
    """
    models = [model for model in MODELS if model in result.published]
    whole = _SIDE * len(models) + _GAP * (len(models) - 1)
    figure = blank(claims.gradient_heatmaps(result), height=whole)
    for row, model in enumerate(models):
        found = result.published[model]["heatmap"]
        top = 1 - row * (_SIDE + _GAP) / whole
        for column, kind in enumerate(("raw", "pooled-centred")):
            number = 2 * row + column + 1
            place = "" if number == 1 else str(number)
            across = (0.0, 0.43) if column == 0 else (0.49, 0.92)
            _axes(figure, place, across, (top - _SIDE / whole, top), found["groups"], named=column == 0)
            figure.add_trace(_heat(found, kind, place))
            _named(figure, f"{model}, {kind}", across[0], top)
    return figure


def _axes(
    figure: go.Figure,
    place: str,
    across: tuple[float, float],
    height: tuple[float, float],
    groups: Sequence[str],
    *,
    named: bool,
) -> None:
    order = list(dict.fromkeys(groups))
    middles = [sum(i for i, g in enumerate(groups) if g == one) / groups.count(one) for one in order]
    edges = [i - 0.5 for i in range(1, len(groups)) if groups[i] != groups[i - 1]]
    plain: dict[str, Any] = {"showgrid": False, "zeroline": False, "tickvals": middles}
    figure.update_layout(
        {
            f"xaxis{place}": {**plain, "domain": across, "anchor": f"y{place}", "showticklabels": False},
            f"yaxis{place}": {
                **plain,
                "domain": height,
                "anchor": f"x{place}",
                "autorange": "reversed",
                "ticktext": [literal(one) for one in order],
                "showticklabels": named,
            },
        }
    )
    ends = [-0.5, len(groups) - 0.5]
    for edge in edges:
        for x, y in ((ends, [edge, edge]), ([edge, edge], ends)):
            line = {"color": INK, "width": 0.7}
            figure.add_shape(
                type="line", x0=x[0], x1=x[1], y0=y[0], y1=y[1], xref=f"x{place}", yref=f"y{place}", line=line
            )


def _heat(found: Any, kind: str, place: str) -> go.Heatmap:
    who = [f"{q} ({g})" for q, g in zip(found["questions"], found["groups"], strict=True)]
    return go.Heatmap(
        z=found[kind],
        customdata=[[literal(f"{a} with {b}") for b in who] for a in who],
        xaxis=f"x{place}",
        yaxis=f"y{place}",
        zmin=-1,
        zmax=1,
        colorscale=[[0, ORANGE], [0.5, PAPER], [1, BLUE]],
        showscale=place == "",
        colorbar={"title": {"text": "cosine"}, "thickness": 12, "x": 0.94},
        hovertemplate="%{customdata}<br>cosine %{z:.2f}<extra></extra>",
    )


def _named(figure: go.Figure, text: str, x: float, y: float) -> None:
    figure.add_annotation(
        text=f"<b>{literal(text)}</b>",
        x=x,
        y=y,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        yshift=3,
        showarrow=False,
        font={"size": 13, "color": INK},
    )


def gradient_scatter(result: Result) -> go.Figure:
    """The pooled-centred gradients at the last o on their first two principal components, every model.

    Args:
        result: of :func:`erosion.experiments.gradient_geometry`.
    """
    models = [model for model in MODELS if model in result.published]
    whole = 230 * len(models) + 60 * (len(models) - 1)
    title = claims.gradient_scatter(result)
    figure = blank(title, height=whole, legend=True, rows=len(models), gap=60 / whole)
    for row, model in enumerate(models, start=1):
        panel = Panel(figure, row if len(models) > 1 else None)
        beside(panel, model)
        found = result.published[model]["scatter"]
        for group in dict.fromkeys(found["groups"]):
            places = {axis: found[axis] for axis in ("first", "second")}
            _dots(panel, {**places, "groups": found["groups"]}, group, axes=("first", "second"))
        figure.update_yaxes(title_text="second", **panel.place)
    last = Panel(figure, len(models) if len(models) > 1 else None)
    figure.update_xaxes(title_text="first component (largest = 1)", **last.place)
    return figure


def cosines_by_layer(result: Result) -> go.Figure:
    """Mean raw cosine across two groups by layer, all maps of a layer together, every model.

    Grey: where swapping labels within questions would leave the tuned model's.

    Args:
        result: of :func:`erosion.experiments.gradient_geometry`.
    """
    found = result["by layer"]
    there = next(iter(found.values()))
    pairs = [pair for pair in _PAIRS if pair in there] or [claims.main_pair(result)]
    figure = stacked(claims.cosines_by_layer(result), len(pairs), height=150)
    for row, pair in enumerate(pairs, start=1):
        panel = Panel(figure, row if len(pairs) > 1 else None)
        beside(panel, pair)
        _models(panel, {model: curves[pair] for model, curves in found.items()})
    _finish(figure, [curves[pair] for curves in found.values() for pair in pairs], len(pairs))
    return figure


def cosines_by_map(result: Result) -> go.Figure:
    """The same for the pair of the paper's claim, one panel for each kind of linear map.

    Args:
        result: of :func:`erosion.experiments.gradient_geometry`.
    """
    found, pair = result["by map"], claims.main_pair(result)
    parts = [part for part, curves in next(iter(found.values())).items() if pair in curves]
    figure = stacked(claims.cosines_by_map(result), max(len(parts), 1), height=110)
    for row, part in enumerate(parts, start=1):
        panel = Panel(figure, row if len(parts) > 1 else None)
        beside(panel, part)
        _models(panel, {model: kinds[part][pair] for model, kinds in found.items()})
    bands = [kinds[part][pair] for kinds in found.values() for part in parts]
    if bands:
        _finish(figure, bands, len(parts))
    return figure


def _models(panel: Panel, bands: dict[str, Band]) -> None:
    last = bands.get("tuned", next(iter(bands.values())))
    null_curve(panel, last.control, name="labels swapped", within=(-1.0, 1.0))
    for model in (one for one in MODELS if one in bands):
        curve(panel, bands[model], MODELS[model], name=model, within=(-1.0, 1.0))
    level(panel, 0)


def _finish(figure: go.Figure, bands: Sequence[Band], rows: int) -> None:
    low, high = extent([band.at(one) for band in bands for one in band.labels], 0.0)
    figure.update_yaxes(range=[max(low, -1.04), min(high, 1.04)], title_text="cosine")
    layer_axis(figure, bands[0], rows=rows)


def bridge_scatter(result: Result) -> go.Figure:
    """Predicted against real moves of each target by one SGD step, exchange by exchange.

    Args:
        result: of :func:`erosion.experiments.bridged_steps`.
    """
    taken = {name: found["SGD"] for name, found in result.ours.items() if "SGD" in found}
    whole = 260 * max(len(taken), 1) + 84 * max(len(taken) - 1, 0)
    figure = blank(
        claims.bridge_scatter(result), height=whole, legend=True, rows=len(taken) or 1, gap=84 / whole
    )
    for row, (name, found) in enumerate(taken.items(), start=1):
        panel = Panel(figure, row if len(taken) > 1 else None)
        unit = result[name]["unit"]
        beside(panel, f"{name} ({unit})")
        points = found["points"]
        for group in dict.fromkeys(points["groups"]):
            _dots(panel, points, group)
        slope = found["slope"].value
        ends = [min(points["predicted"]), max(points["predicted"])]
        line = go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            name="exactly as predicted",
            legendgroup="line",
            showlegend=panel.first,
            line={"color": SOFT, "dash": "dot", "width": 1.5},
            hovertemplate=f"measured slope {slope:.2f}<extra></extra>",
        )
        figure.add_trace(line, **panel.place)
        level(panel, 0)
        upright(panel, 0)
        figure.update_xaxes(title_text="predicted move", **panel.place)
        figure.update_yaxes(title_text="real move", **panel.place)
    return figure


def _dots(panel: Panel, points: Any, group: str, *, axes: tuple[str, str] = ("predicted", "moved")) -> None:
    rows = [i for i, one in enumerate(points["groups"]) if one == group]
    look = _LOOKS.get(group, _OTHER)
    trace = go.Scatter(
        x=[points[axes[0]][i] for i in rows],
        y=[points[axes[1]][i] for i in rows],
        mode="markers",
        name=literal(group),
        legendgroup=group,
        showlegend=panel.first,
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        hovertemplate=f"{literal(group)}<br>{axes[0]} %{{x:.3g}}, {axes[1]} %{{y:.3g}}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)
