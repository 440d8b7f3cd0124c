"""What figures are drawn with: a point with whiskers, a curve with its band, a band of chance in grey.

An undefined number is never a point at zero: it is left out, and the word *undefined* stands in its place.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from erosion.figures.style import INK, NULL, SOFT, Look, faded, literal
from erosion.stats import Band, Control, Estimate
from erosion.stats.estimates import interval_in_words

__all__ = ["beside", "curve", "extent", "hover", "layer_axis", "layers", "note", "null_bars", "null_curve", "points"]

_MANY = 14  # markers on a curve, at most
_LAST = 2000  # place in the legend


def hover(estimate: Estimate, name: str) -> str:
    """What a pointer over a number shows: name, value with interval, unit, n, control."""
    few = ", approximate" if estimate.approximate else ""
    lines = [f"<b>{literal(name)}</b>"]
    if estimate.undefined:
        lines.append(f"undefined: {literal(estimate.why)}")
    else:
        numbers = interval_in_words(estimate.value, estimate.low, estimate.high)
        lines.append(f"{numbers} {literal(estimate.unit)}")
    lines.append(f"{estimate.confidence:.0%} interval, n = {estimate.n_questions} questions{few}")
    if estimate.control is not None and not math.isnan(estimate.control.value):
        lines.append(literal(estimate.control))
    return "<br>".join(lines)


def extent(estimates: Sequence[Estimate], *others: float) -> tuple[float, float]:
    """The range that shows every finite number of ``estimates`` and all ``others``, with some air."""
    numbers = [n for e in estimates for n in (e.value, e.low, e.high) if math.isfinite(n)]
    for control in (e.control for e in estimates if e.control is not None):
        numbers += [n for n in (control.low, control.high) if math.isfinite(n)]
    numbers += others
    low, high = (min(numbers), max(numbers)) if numbers else (-1.0, 1.0)
    air = 0.06 * (high - low) or 0.1
    return low - air, high + air


def points(
    figure: go.Figure,
    at: Mapping[float, tuple[str, Estimate]],
    look: Look,
    *,
    name: str,
    span: tuple[float, float],
    row: int | None = None,
    legend: bool = True,
) -> None:
    """Points with whiskers, one for each height ``y``: ``at[y] = (name, estimate)``.

    A whisker without an end runs to the edge of ``span``; an undefined estimate is said in words.
    """
    drawn = {y: one for y, one in at.items() if not one[1].undefined}
    for y, (_, estimate) in at.items():
        if estimate.undefined:
            note(figure, literal("undefined"), x=span[0] + 0.02 * (span[1] - span[0]), y=y, row=row, why=estimate.why)
    ends = [(max(e.low, span[0]), min(e.high, span[1])) for _, e in drawn.values()]
    values = [e.value for _, e in drawn.values()]
    figure.add_trace(
        go.Scatter(
            x=values,
            y=list(drawn),
            mode="markers",
            name=literal(name),
            legendgroup=name,
            showlegend=legend,
            marker=dict(color=look.colour, symbol=look.symbol, size=11, line=dict(width=2, color=look.colour)),
            error_x=dict(
                type="data",
                symmetric=False,
                array=[high - value for value, (_, high) in zip(values, ends, strict=True)],
                arrayminus=[value - low for value, (low, _) in zip(values, ends, strict=True)],
                color=look.colour,
                thickness=2,
                width=5,
            ),
            customdata=[hover(e, said) for said, e in drawn.values()],
            hovertemplate="%{customdata}<extra></extra>",
        ),
        row=row,
        col=None if row is None else 1,
    )


def null_bars(
    figure: go.Figure, at: Mapping[float, Control | None], *, name: str, row: int | None = None, thick: int = 13
) -> None:
    """Where chance alone would leave each number: a grey bar behind it."""
    there = {y: c for y, c in at.items() if c is not None and math.isfinite(c.low) and math.isfinite(c.high)}
    x: list[float | None] = []
    heights: list[float | None] = []
    for y, control in there.items():
        x += [control.low, control.high, None]
        heights += [y, y, None]
    if there:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=heights,
                mode="lines",
                name=literal(name),
                legendgroup=name,
                legendrank=_LAST,
                line=dict(color=faded(NULL, 0.22), width=thick),
                hoverinfo="skip",
            ),
            row=row,
            col=None if row is None else 1,
        )


def layers(band: Band) -> list[float]:
    """Where a band's labels lie on the axis: layer numbers as they are, other labels in their order."""
    whole = all(isinstance(one, int) for one in band.labels)
    return [float(one) for one in band.labels] if whole else [float(i) for i in range(len(band))]  # type: ignore[arg-type]


def layer_axis(figure: go.Figure, band: Band, *, rows: int = 1) -> None:
    """Name the layers below the lowest panel, thinned out where there are many."""
    at, every = layers(band), max(1, math.ceil(len(band) / 16))
    every = next(step for step in (1, 2, 4, 8, 16, 32, every) if step >= every)
    ticks = [i for i in range(len(at)) if i % every == 0 or (i == len(at) - 1 and i % every > every / 2)]
    span = [min(at) - 0.5, max(at) + 0.5]
    names = [literal(band.labels[i]) for i in ticks]
    figure.update_xaxes(range=span, tickvals=[at[i] for i in ticks], ticktext=names, zeroline=False, showgrid=False)
    for row in range(1, rows):
        figure.update_xaxes(showticklabels=False, row=row, col=1)
    last = {"row": rows, "col": 1} if rows > 1 else {}
    figure.update_xaxes(title_text="layer (output of the block)", **last)


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


def _area(
    figure: go.Figure,
    band: Band,
    fill: str,
    *,
    name: str,
    row: int | None,
    legend: bool,
    within: tuple[float, float] | None = None,
) -> None:
    """A filled band, cut to what its unit allows; where one layer stands alone, a narrow box."""
    at = layers(band)
    lows, highs = (np.clip(ends, *(within or (-np.inf, np.inf))) for ends in (band.low, band.high))
    bounded = [bool(np.isfinite(low) and np.isfinite(high)) for low, high in zip(band.low, band.high, strict=True)]
    x: list[float | None] = []
    y: list[float | None] = []
    for run in _runs(bounded):
        side = 0.12 if len(run) == 1 else 0.0
        there = [at[run[0]] - side, *[at[i] for i in run[1:-1]], at[run[-1]] + side]
        ends = [run[0], *run[1:-1], run[-1]]
        x += [*there, *reversed(there), None]
        y += [*[float(highs[i]) for i in ends], *[float(lows[i]) for i in reversed(ends)], None]
    if x:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                fill="toself",
                fillcolor=fill,
                mode="lines",
                line=dict(width=0, color=fill),
                name=literal(name),
                legendgroup=name,
                showlegend=legend,
                legendrank=_LAST,
                hoverinfo="skip",
            ),
            row=row,
            col=None if row is None else 1,
        )


def curve(
    figure: go.Figure,
    band: Band,
    look: Look,
    *,
    name: str,
    row: int | None = None,
    legend: bool = True,
    within: tuple[float, float] | None = None,
) -> None:
    """A curve over layers inside its simultaneous band; undefined layers are shaded and said."""
    _area(figure, band, faded(look.colour), name=name, row=row, legend=False, within=within)
    at = layers(band)
    thinned = dict(maxdisplayed=_MANY) if len(band) > _MANY else {}
    texts = [hover(band.at(one), f"{name}, {_layer(one)}") for one in band.labels]
    figure.add_trace(
        go.Scatter(
            x=at,
            y=[None if math.isnan(v) else float(v) for v in band.values],
            mode="lines+markers",
            name=literal(name),
            legendgroup=name,
            showlegend=legend,
            line=dict(color=look.colour, width=2.4, dash=look.dash),
            marker=dict(color=look.colour, symbol=look.symbol, size=8, **thinned),
            customdata=texts,
            hovertemplate="%{customdata}<extra></extra>",
        ),
        row=row,
        col=None if row is None else 1,
    )
    missing = [bool(math.isnan(v)) for v in band.values]
    for run in _runs(missing):
        edges = dict(x0=at[run[0]] - 0.5, x1=at[run[-1]] + 0.5, fillcolor=faded(NULL, 0.07), line_width=0)
        figure.add_vrect(**edges, row=row or "all", col=1 if row else "all")
        why = band.why[run[0]] if band.why else None
        middle = (at[run[0]] + at[run[-1]]) / 2
        note(figure, "undefined", x=middle, y=0.06, row=row, why=why, centred=True)


def null_curve(
    figure: go.Figure,
    band: Band | None,
    *,
    name: str,
    row: int | None = None,
    legend: bool = True,
    within: tuple[float, float] | None = None,
) -> None:
    """Where chance alone would leave the whole curve, in grey."""
    if band is not None:
        _area(figure, band, faded(NULL, 0.22), name=name, row=row, legend=legend, within=within)


def note(
    figure: go.Figure,
    text: str,
    *,
    x: float,
    y: float,
    row: int | None = None,
    why: str | None = None,
    centred: bool = False,
) -> None:
    """A remark in grey inside a panel; ``centred`` ones stand at a height from 0 to 1 of the panel."""
    number = "" if row in (None, 1) else str(row)
    figure.add_annotation(
        text=text,
        x=x,
        y=y,
        xref=f"x{number}",
        yref=f"y{number} domain" if centred else f"y{number}",
        xanchor="center" if centred else "left",
        showarrow=False,
        font=dict(size=12, color=SOFT),
        hovertext=None if why is None else literal(why),
        captureevents=why is not None,
    )


def beside(figure: go.Figure, text: str, *, row: int | None = None) -> None:
    """A panel's name, above its left corner."""
    number = "" if row in (None, 1) else str(row)
    figure.add_annotation(
        text=f"<b>{literal(text)}</b>",
        x=0,
        y=1,
        xref=f"x{number} domain",
        yref=f"y{number} domain",
        xanchor="left",
        yanchor="bottom",
        yshift=4,
        showarrow=False,
        font=dict(size=13, color=INK),
    )


def _layer(one: str | int) -> str:
    return f"layer {one}" if isinstance(one, int) else str(one)
