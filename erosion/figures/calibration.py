"""Calibration as pictures: every rate against its target, and the words against the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import calibration_claims as claims
from erosion.figures.marks import Panel, beside, level
from erosion.figures.style import GROUPS, MODELS, NULL, WORDS, Look, blank, faded, literal

__all__ = ["power", "rates"]

_LOOKS = {
    "normal": MODELS["aligned"],
    "skewed": MODELS["tuned"],
    "skewed down": GROUPS["style drift"],
    "heavy-tailed": GROUPS["harm-specific change"],
}
_PANELS = {
    "says kept": "says kept at the smallest of interest",
    "says eroded": "says eroded at the smallest of interest",
    "interval of erosion covers": "interval of erosion covers (margins)",
    "simultaneous band covers": "simultaneous band covers every layer",
    "sign flips cry wolf": "sign flips find an effect that is not there",
    "refitted swaps cry wolf": "refitted label swaps find a direction that is not there",
}


def rates(result: Result) -> go.Figure:
    """The main rates of one domain against the number of questions, the target shaded.

    Args:
        result: of :func:`erosion.experiments.calibration.calibrate`.
    """
    panels = {name: _chosen(result, promise) for name, promise in _PANELS.items()}
    panels = {name: found for name, found in panels.items() if found}
    figure = blank(
        claims.calibration(result), height=170 * len(panels), legend=True, rows=len(panels), gap=0.05
    )
    for row, (name, found) in enumerate(panels.items(), start=1):
        panel = Panel(figure, row)
        beside(panel, name)
        for noise, look in _LOOKS.items():
            there = [one for one in found if one["noise"] == noise]
            _points(panel, [(one["questions"], one["rate"], one) for one in there], look, name=noise)
        target = next((one["target"] for one in found if one["target"]), None)
        if target is not None:
            shade = {"fillcolor": faded(NULL, 0.22), "line_width": 0, "layer": "below"}
            figure.add_hrect(y0=target[0], y1=target[1], **shade, **panel.place)
        figure.update_yaxes(tickformat=".0%", zeroline=False, **panel.place)
    _question_axis(figure, result, rows=len(panels))
    return figure


def _chosen(result: Result, promise: str) -> list[Mapping[str, Any]]:
    return [
        one
        for one in result["rates"]
        if one["promise"] == promise and one["domains"] == 1 and one["clusters of"] == 1
    ]


def power(result: Result) -> go.Figure:
    """How often each word is said, by true erosion and number of questions (one domain, normal noise).

    Args:
        result: of :func:`erosion.experiments.calibration.calibrate`.
    """
    found = [one for one in result["power"] if (one["domains"], one["noise"]) == (1, "normal")]
    truths = sorted({one["erosion"] for one in found})
    figure = blank(claims.power(result), height=150 * len(truths), legend=True, rows=len(truths), gap=0.045)
    for row, truth in enumerate(truths, start=1):
        panel = Panel(figure, row)
        beside(panel, f"true erosion {truth:g}")
        for word in ("kept", "inconclusive", "eroded"):
            there = [(one["questions"], one[word], one) for one in found if one["erosion"] == truth]
            _points(panel, there, WORDS[word], name=word)
        level(panel, 0.8, dash="dot")
        figure.update_yaxes(
            range=[-0.04, 1.04], tickformat=".0%", tickvals=[0, 0.5, 0.8, 1], zeroline=False, **panel.place
        )
    _question_axis(figure, result, rows=len(truths))
    return figure


def _points(
    panel: Panel, found: Sequence[tuple[int, Any, Mapping[str, Any]]], look: Look, *, name: str
) -> None:
    """A curve over the number of questions with exact binomial whiskers, moved aside a little by its look."""
    if not found:
        return
    ordered = sorted(found, key=lambda one: one[0])
    aside = 1 + 0.025 * (list(_LOOKS).index(name) - 1.5 if name in _LOOKS else 0)
    said = [
        f"<b>{literal(name)}</b>, {n} questions<br>{r.value:.3f} [{r.low:.3f}, {r.high:.3f}] of audits"
        f"<br>{one['audits']} audits"
        for n, r, one in ordered
    ]
    trace = go.Scatter(
        x=[n * aside for n, _, _ in ordered],
        y=[rate.value for _, rate, _ in ordered],
        mode="lines+markers",
        name=literal(name),
        legendgroup=name,
        showlegend=panel.first,
        line={"color": look.colour, "width": 1.6, "dash": look.dash},
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [rate.high - rate.value for _, rate, _ in ordered],
            "arrayminus": [rate.value - rate.low for _, rate, _ in ordered],
            "color": look.colour,
            "thickness": 1.6,
            "width": 4,
        },
        customdata=said,
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)


def _question_axis(figure: go.Figure, result: Result, *, rows: int) -> None:
    counts = sorted({one["questions"] for one in result["power"] if one["domains"] == 1})
    figure.update_xaxes(type="log", tickvals=counts, ticktext=[str(n) for n in counts], showgrid=False)
    for row in range(1, rows):
        figure.update_xaxes(showticklabels=False, **Panel(figure, row).place)
    figure.update_xaxes(title_text="questions", **Panel(figure, rows if rows > 1 else None).place)
