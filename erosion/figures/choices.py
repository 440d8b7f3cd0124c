"""Choices as pictures: the table of candidate directions, strengths, and what the choice does elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import choices_claims as claims
from erosion.figures.layers import stacked
from erosion.figures.marks import (
    LAST,
    Number,
    Panel,
    beside,
    extent,
    hover,
    level,
    null_bars,
    points,
    upright,
)
from erosion.figures.style import GROUPS, INK, MODELS, SOFT, WORDS, Look, blank, label, literal
from erosion.stats import Estimate

__all__ = ["candidates", "reported", "strengths"]

_SPANS = {"response": MODELS["aligned"], "last_response": GROUPS["style drift"]}
_REPORTED = {
    "lost": ("lost by the fine-tune", Look(INK, "square")),
    "on tuned": ("edit on tuned", MODELS["tuned"]),
    "on aligned": ("same edit on aligned", MODELS["aligned"]),
    "difference": ("tuned minus aligned", GROUPS["tuned minus aligned"]),
}


def candidates(result: Result, metric: str = "harm margin") -> go.Figure:
    """The whole table of candidates by layer: what ablation takes, what addition gives, and the KL.

    Args:
        result: of :func:`erosion.selection`.
        metric: ``harm margin`` or ``choice margin``.
    """
    rows, chosen = result["rows"], result["chosen"]
    panels = (
        ("ablated in aligned: change of the margin", lambda row: row["ablation"][metric]),
        ("added to tuned: change of the margin", lambda row: row["addition"][metric]),
        ("KL on neutral texts under the ablation", lambda row: row["kl"]),
    )
    figure = stacked(claims.candidates(result), len(panels), height=150)
    spans = list(dict.fromkeys(row["span"] for row in rows))
    for number, (said, of) in enumerate(panels, start=1):
        panel = Panel(figure, number)
        beside(panel, said)
        level(panel, 0)
        for span in spans:
            there = [row for row in rows if row["span"] == span]
            words = [f"{span}, layer {row['layer']}{_failed(row)}" for row in there]
            rings = [bool(row["fails"]) for row in there]
            look = _SPANS.get(span, MODELS["base"])
            dots = _Dots([_across(row, spans) for row in there], [of(row) for row in there], words, rings)
            _draw(panel, dots, look, name=span)
        figure.update_yaxes(title_text=literal(of(rows[0]).unit), **panel.place)
    _limit(Panel(figure, len(panels)), result)
    _explain(figure, at=None if chosen is None else _across(chosen, spans), rows=len(panels))
    _layers(figure, sorted({int(row["layer"]) for row in rows}), rows=len(panels))
    return figure


def _across(row: Any, spans: Sequence[str]) -> float:
    """Where a candidate stands: its layer, spans side by side."""
    return int(row["layer"]) + 0.12 * (2 * spans.index(row["span"]) - len(spans) + 1)


def _failed(row: Any) -> str:
    return f" ({'; '.join(row['fails'])})" if row["fails"] else ""


def _limit(panel: Panel, result: Result) -> None:
    most = float(result.inputs["most KL"])
    level(panel, most, colour=WORDS["inconclusive"].colour, dash="dash", name=f"at most {most:g}")


def _explain(figure: go.Figure, *, at: Number | None, rows: int) -> None:
    """A dashed line through what was chosen, and the legend's words for it and for open markers."""
    line = {"color": SOFT, "width": 1, "dash": "dash"}
    if at is not None:
        for row in range(1, rows + 1):
            figure.add_vline(x=at, line=line, **Panel(figure, row).place)
        figure.add_trace(
            go.Scatter(x=[None], y=[None], mode="lines", line=line, name="chosen", legendrank=LAST)
        )
    marker = {"color": SOFT, "symbol": "circle-open", "size": 8}
    words = "open: does not pass"
    figure.add_trace(
        go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=words, legendrank=LAST)
    )


def _layers(figure: go.Figure, layers: Sequence[int], *, rows: int) -> None:
    every = max(1, len(layers) // 16)
    ticks = {"tickvals": list(layers)[::every], "showgrid": False, "zeroline": False}
    figure.update_xaxes(range=[min(layers) - 0.5, max(layers) + 0.5], **ticks)
    for row in range(1, rows):
        figure.update_xaxes(showticklabels=False, **Panel(figure, row).place)
    figure.update_xaxes(title_text="layer (output of the block)", **Panel(figure, rows).place)


@dataclass(frozen=True, eq=False)
class _Dots:
    """Estimates side by side: where, which, what a pointer shows, and whether the marker is open."""

    at: Sequence[Number]
    found: Sequence[Estimate]
    said: Sequence[str]
    rings: Sequence[bool]


def _draw(panel: Panel, dots: _Dots, look: Look, *, name: str) -> None:
    """Points with upright whiskers."""
    found = dots.found
    trace = go.Scatter(
        x=list(dots.at),
        y=[one.value for one in found],
        mode="markers",
        name=literal(name),
        legendgroup=name,
        showlegend=False,
        marker={
            "color": look.colour,
            "symbol": [look.symbol + ("-open" if ring else "") for ring in dots.rings],
            "size": 8,
            "line": {"width": 1.6, "color": look.colour},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in found],
            "arrayminus": [one.value - one.low for one in found],
            "color": look.colour,
            "thickness": 1.6,
            "width": 4,
        },
        customdata=[hover(one, words) for one, words in zip(found, dots.said, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)
    if panel.first:  # a key of its own: the trace's would have its first marker, open or not
        key = {"color": look.colour, "symbol": look.symbol, "size": 8}
        panel.figure.add_trace(
            go.Scatter(x=[None], y=[None], mode="markers", marker=key, name=literal(name), legendgroup=name)
        )


def strengths(result: Result, metric: str = "harm margin") -> go.Figure:
    """The chosen direction at every strength: what the tuned model gains, and the KL on neutral texts.

    Args:
        result: of :func:`erosion.selection`.
        metric: ``harm margin`` or ``choice margin``.

    Raises:
        BadInput: no direction was chosen, so no strength was tried.
    """
    if "strengths" not in result.ours:
        raise BadInput(f"No strength was tried: {result['why']}.")
    rows, most = result["strengths"], float(result.inputs["most KL"])
    figure = stacked(claims.strengths(result), 2, height=150)
    at = list(range(len(rows)))
    named = [f"strength {row['by']:g}" for row in rows]
    rings = [not row["kl"].value <= most for row in rows]
    panels = (
        ("change of tuned's margin", lambda row: row["gain"][metric]),
        ("KL on neutral texts", lambda row: row["kl"]),
    )
    for number, (said, of) in enumerate(panels, start=1):
        panel = Panel(figure, number)
        beside(panel, said)
        level(panel, 0)
        dots = _Dots(at, [of(row) for row in rows], named, rings)
        _draw(panel, dots, MODELS["tuned"], name="tuned, select split")
        figure.update_yaxes(title_text=literal(of(rows[0]).unit), **panel.place)
    _limit(Panel(figure, 2), result)
    picked = next((i for i, row in enumerate(rows) if row["by"] == result["strength"]), None)
    _explain(figure, at=picked, rows=2)
    ticks = {"tickvals": at, "ticktext": [f"{row['by']:g}" for row in rows], "showgrid": False}
    figure.update_xaxes(range=[-0.5, len(rows) - 0.5], zeroline=False, **ticks)
    figure.update_xaxes(showticklabels=False, **Panel(figure, 1).place)
    figure.update_xaxes(title_text="strength (fitted gaps)", **Panel(figure, 2).place)
    return figure


def reported(result: Result) -> go.Figure:
    """What the chosen edit does on held-out questions, in both metrics, before random directions.

    Args:
        result: of :func:`erosion.selection`.

    Raises:
        BadInput: no direction or strength was chosen, so there is nothing to report.
    """
    if "held out" not in result.ours:
        raise BadInput(f"No choice was reported: {result.ours.get('why this strength', result['why'])}.")
    whole = 2 * 150 + 80
    figure = blank(claims.reported(result), height=whole, legend=True, rows=2, gap=80 / whole)
    for number, metric in enumerate(("harm margin", "choice margin"), start=1):
        found: dict[str, Estimate] = result["held out"][metric]
        panel = Panel(figure, number)
        span = extent(list(found.values()), 0.0)
        upright(panel, 0)
        null_bars(panel, {0: found["difference"].control}, name="random directions")
        for i, (name, (said, look)) in enumerate(_REPORTED.items(), start=1):
            at = {len(_REPORTED) - i: (f"{metric}, {said}", found[name])}
            points(panel, at, look, name=said, span=span)
        figure.update_xaxes(
            range=span, title_text=f"change of the {metric} ({literal(found['lost'].unit)})", **panel.place
        )
        figure.update_yaxes(
            range=[-0.6, len(_REPORTED) - 0.4],
            tickvals=list(range(len(_REPORTED))),
            ticktext=[label(said, width=24) for said, _ in reversed(_REPORTED.values())],
            showgrid=False,
            zeroline=False,
            **panel.place,
        )
    return figure
