"""What figures are drawn with: a point with whiskers, a grey bar of chance, a line, a remark.

An undefined number is never a point at zero: it is left out, and the word *undefined* stands in its place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from erosion.figures.style import INK, NULL, SOFT, Look, faded, literal
from erosion.stats import Control, Estimate
from erosion.stats.estimates import interval_in_words

__all__ = [
    "LAST",
    "Number",
    "Panel",
    "beside",
    "extent",
    "hover",
    "level",
    "note",
    "null_bars",
    "points",
    "upright",
]

LAST = 2000  # place in the legend
Number = int | float
Rows = Mapping[int, tuple[str, Estimate]] | Mapping[float, tuple[str, Estimate]]
Chances = Mapping[int, Control | None] | Mapping[float, Control | None]


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel of a figure: the row it stands in, or None where it is the only one."""

    figure: go.Figure
    row: int | None = None

    @property
    def first(self) -> bool:
        """Whether its marks are the ones to stand in the legend."""
        return self.row in (None, 1)

    @property
    def place(self) -> dict[str, Any]:
        """Where plotly is to add something."""
        return {} if self.row is None else {"row": self.row, "col": 1}

    @property
    def number(self) -> str:
        """How plotly names its axes: ``x``, ``x2``, …"""
        return "" if self.first else str(self.row)


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


def extent(estimates: Sequence[Estimate], *others: Number) -> tuple[float, float]:
    """The range that shows every finite number of ``estimates`` and all ``others``, with some air."""
    numbers = [n for e in estimates for n in (e.value, e.low, e.high) if math.isfinite(n)]
    for control in (e.control for e in estimates if e.control is not None):
        numbers += [n for n in (control.low, control.high) if math.isfinite(n)]
    numbers += others
    low, high = (min(numbers), max(numbers)) if numbers else (-1.0, 1.0)
    air = 0.06 * (high - low) or 0.1
    return low - air, high + air


def points(panel: Panel, at: Rows, look: Look, *, name: str, span: tuple[Number, Number]) -> None:
    """Points with whiskers, one for each height ``y``: ``at[y] = (name, estimate)``.

    A whisker without an end runs to the edge of ``span``; an undefined estimate is said in words.
    """
    drawn = {y: one for y, one in at.items() if not one[1].undefined}
    left = span[0] + 0.02 * (span[1] - span[0])
    for y, (_, estimate) in at.items():
        if estimate.undefined:
            note(panel, "undefined", at=(left, y), why=estimate.why)
    ends = [(max(e.low, span[0]), min(e.high, span[1])) for _, e in drawn.values()]
    values = [e.value for _, e in drawn.values()]
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
        "color": look.colour,
        "thickness": 2,
        "width": 5,
    }
    trace = go.Scatter(
        x=values,
        y=list(drawn),
        mode="markers",
        name=literal(name),
        legendgroup=name,
        showlegend=panel.first,
        marker={
            "color": look.colour,
            "symbol": look.symbol,
            "size": 11,
            "line": {"width": 2, "color": look.colour},
        },
        error_x=whiskers,
        customdata=[hover(e, said) for said, e in drawn.values()],
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)


def null_bars(panel: Panel, at: Chances, *, name: str) -> None:
    """Where chance alone would leave each number: a grey bar behind it."""
    x: list[float | None] = []
    heights: list[float | None] = []
    for y, control in at.items():
        if control is not None and math.isfinite(control.low) and math.isfinite(control.high):
            x += [control.low, control.high, None]
            heights += [y, y, None]
    if x:
        trace = go.Scatter(
            x=x,
            y=heights,
            mode="lines",
            name=literal(name),
            legendgroup=name,
            showlegend=panel.first,
            legendrank=LAST,
            line={"color": faded(NULL, 0.22), "width": 13},
            hoverinfo="skip",
        )
        panel.figure.add_trace(trace, **panel.place)


def note(
    panel: Panel, text: str, *, at: tuple[Number, Number], why: str | None = None, inside: bool = False
) -> None:
    """A remark in grey at ``(x, y)``; ``inside``, y is a height from 0 to 1 of the panel and x its middle."""
    panel.figure.add_annotation(
        text=literal(text),
        x=at[0],
        y=at[1],
        xref=f"x{panel.number}",
        yref=f"y{panel.number} domain" if inside else f"y{panel.number}",
        xanchor="center" if inside else "left",
        showarrow=False,
        font={"size": 12, "color": SOFT},
        hovertext=None if why is None else literal(why),
        captureevents=why is not None,
    )


def beside(panel: Panel, text: str) -> None:
    """A panel's name, above its left corner."""
    panel.figure.add_annotation(
        text=f"<b>{literal(text)}</b>",
        x=0,
        y=1,
        xref=f"x{panel.number} domain",
        yref=f"y{panel.number} domain",
        xanchor="left",
        yanchor="bottom",
        yshift=4,
        showarrow=False,
        font={"size": 13, "color": INK},
    )


def level(panel: Panel, at: Number, *, colour: str = SOFT, dash: str = "solid", name: str = "") -> None:
    """A line across the panel, named at its right end."""
    line = {"color": colour, "width": 1.5 if name else 1, "dash": dash}
    panel.figure.add_hline(y=at, line=line, **panel.place)
    if name:
        panel.figure.add_annotation(
            text=literal(name),
            x=1,
            y=at,
            xref=f"x{panel.number} domain",
            yref=f"y{panel.number}",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12, "color": colour},
        )


def upright(panel: Panel, at: Number, *, colour: str = SOFT, dash: str = "solid", name: str = "") -> None:
    """A line from top to bottom of the panel, named above it toward the panel's middle."""
    line = {"color": colour, "width": 1.5 if name else 1, "dash": dash}
    panel.figure.add_vline(x=at, line=line, **panel.place)
    span: Any = panel.figure.layout[f"xaxis{panel.number}"]["range"]
    if name:
        panel.figure.add_annotation(
            text=literal(name),
            x=at,
            y=1,
            xref=f"x{panel.number}",
            yref=f"y{panel.number} domain",
            xanchor="right" if span and at > sum(span) / 2 else "left",
            yanchor="bottom",
            yshift=2,
            showarrow=False,
            font={"size": 12, "color": colour},
        )
