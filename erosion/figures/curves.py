"""Curves over layers: a band that holds for all of them, and in grey the band that chance would give.

Undefined layers are left out of the curve, shaded, and said.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from erosion.figures.marks import LAST, Panel, hover, note
from erosion.figures.style import NULL, Look, faded, literal
from erosion.stats import Band

__all__ = ["curve", "layer_axis", "null_curve"]

_MANY = 14  # markers on a curve, at most
Within = tuple[float, float]
_ANYWHERE: Within = (-math.inf, math.inf)


def curve(panel: Panel, band: Band, look: Look, *, name: str, within: Within = _ANYWHERE) -> None:
    """A curve over layers inside its simultaneous band, which is cut to what its unit allows."""
    _area(panel, band, faded(look.colour), name=name, within=within)
    at = _places(band)
    thinned = {"maxdisplayed": _MANY} if len(band) > _MANY else {}
    trace = go.Scatter(
        x=at,
        y=[None if math.isnan(v) else float(v) for v in band.values],
        mode="lines+markers",
        name=literal(name),
        legendgroup=name,
        showlegend=panel.first,
        line={"color": look.colour, "width": 2.4, "dash": look.dash},
        marker={"color": look.colour, "symbol": look.symbol, "size": 8, **thinned},
        customdata=[hover(band.at(one), f"{name}, {_layer(one)}") for one in band.labels],
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)
    for run in _runs([bool(math.isnan(v)) for v in band.values]):
        ends = at[run[0]], at[run[-1]]
        shade = {"x0": ends[0] - 0.5, "x1": ends[1] + 0.5, "fillcolor": faded(NULL, 0.07), "line_width": 0}
        panel.figure.add_vrect(**shade, **panel.place)
        note(panel, "undefined", at=(sum(ends) / 2, 0.06), why=band.why[run[0]], inside=True)


def null_curve(panel: Panel, band: Band | None, *, name: str, within: Within = _ANYWHERE) -> None:
    """Where chance alone would leave the whole curve, in grey."""
    if band is not None:
        _area(panel, band, faded(NULL, 0.22), name=name, within=within)


def layer_axis(figure: go.Figure, band: Band, *, rows: int = 1) -> None:
    """Name the layers below the lowest panel, thinned out where there are many."""
    at, every = _places(band), max(1, math.ceil(len(band) / 16))
    every = next(step for step in (1, 2, 4, 8, 16, 32, every) if step >= every)
    ticks = [i for i in range(len(at)) if i % every == 0 or (i == len(at) - 1 and i % every > every / 2)]
    if all(isinstance(one, int) for one in band.labels):  # a page can mark one layer in every such figure
        layout: Any = figure.layout
        figure.update_layout(meta={**layout.meta, "layers": list(band.labels)})
    span = [min(at) - 0.5, max(at) + 0.5]
    names = [literal(band.labels[i]) for i in ticks]
    figure.update_xaxes(range=span, zeroline=False, showgrid=False)
    figure.update_xaxes(tickvals=[at[i] for i in ticks], ticktext=names)
    for row in range(1, rows):
        figure.update_xaxes(showticklabels=False, **Panel(figure, row).place)
    figure.update_xaxes(
        title_text="layer (output of the block)", **Panel(figure, rows if rows > 1 else None).place
    )


def _places(band: Band) -> list[float]:
    """Where a band's labels lie on the axis: layer numbers as they are, other labels in their order."""
    if all(isinstance(one, int) for one in band.labels):
        return [float(one) for one in band.labels]
    return [float(i) for i in range(len(band))]


def _runs(there: Sequence[bool]) -> list[range]:
    """Stretches of neighbouring positions where ``there`` holds."""
    runs, start = [], None
    for i, one in enumerate([*there, False]):
        if one and start is None:
            start = i
        elif not one and start is not None:
            runs.append(range(start, i))
            start = None
    return runs


def _area(panel: Panel, band: Band, fill: str, *, name: str, within: Within) -> None:
    """A filled band; where one layer stands alone, a narrow box."""
    at = _places(band)
    bounded = [bool(one) for one in np.isfinite(band.low) & np.isfinite(band.high)]
    lows, highs = (np.clip(ends, *within) for ends in (band.low, band.high))
    x: list[float | None] = []
    y: list[float | None] = []
    for run in _runs(bounded):
        side = 0.12 if len(run) == 1 else 0.0
        ends = [run[0], *run[1:-1], run[-1]]
        there = [at[run[0]] - side, *[at[i] for i in run[1:-1]], at[run[-1]] + side]
        x += [*there, *reversed(there), None]
        y += [*[float(highs[i]) for i in ends], *[float(lows[i]) for i in reversed(ends)], None]
    if x:
        chance = fill == faded(NULL, 0.22)
        trace = go.Scatter(
            x=x,
            y=y,
            fill="toself",
            fillcolor=fill,
            mode="lines",
            line={"width": 0, "color": fill},
            name=literal(name),
            legendgroup=name,
            showlegend=chance and panel.first,
            legendrank=LAST,
            hoverinfo="skip",
        )
        panel.figure.add_trace(trace, **panel.place)


def _layer(one: str | int) -> str:
    return f"layer {one}" if isinstance(one, int) else str(one)
