"""Choices as pictures: the table of candidate directions, strengths, doses, and parts put back."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import choices_claims as claims
from erosion.figures.curves import curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Number, Panel, beside, extent, hover, level, null_bars, points, upright
from erosion.figures.style import GROUPS, MODELS, NULL, WORDS, Look, blank, label, literal
from erosion.stats import Band, Control, Estimate

__all__ = ["candidates", "dose_curve", "restored_parts", "strengths"]

_SPANS = {"response": MODELS["aligned"], "last_response": GROUPS["style drift"]}
_MOST_PARTS = 24


def candidates(result: Result, metric: str = "harm margin") -> go.Figure:
    """The whole table of candidates by layer: what ablation takes, what addition gives, and the KL.

    Args:
        result: of :func:`erosion.experiments.selection`.
        metric: ``harm margin`` or ``choice margin``.
    """
    rows = result["rows"]
    panels = (
        ("ablated in aligned: change of the margin", lambda row: row["ablation"][metric]),
        ("added to tuned: change of the margin", lambda row: row["addition"][metric]),
        ("KL on neutral texts under the ablation", lambda row: row["kl"]),
    )
    figure = stacked(claims.candidates(result), len(panels), height=150)
    layers = sorted({int(row["layer"]) for row in rows})
    for number, (said, of) in enumerate(panels, start=1):
        panel = Panel(figure, number)
        beside(panel, said)
        level(panel, 0)
        for i, span in enumerate(dict.fromkeys(row["span"] for row in rows)):
            chosen = [row for row in rows if row["span"] == span]
            at = [int(row["layer"]) + 0.12 * (2 * i - 1) for row in chosen]
            said_of = [f"{span}, layer {row['layer']}{_failed(row)}" for row in chosen]
            _dots(
                panel, at, [of(row) for row in chosen], said_of, _SPANS.get(span, MODELS["base"]), name=span
            )
        if number == len(panels):
            most = float(result.inputs["most KL"])
            level(panel, most, colour=WORDS["inconclusive"].colour, dash="dash", name=f"at most {most:g}")
        figure.update_yaxes(title_text=literal(of(rows[0]).unit), **panel.place)
        if result["chosen"] is not None:
            line = {"color": NULL, "width": 1, "dash": "dash"}
            figure.add_vline(x=result["chosen"]["layer"], line=line, **panel.place)
    _layers(figure, layers, rows=len(panels))
    return figure


def _failed(row: Any) -> str:
    return f" ({'; '.join(row['fails'])})" if row["fails"] else ""


def _layers(figure: go.Figure, layers: Sequence[int], *, rows: int) -> None:
    every = max(1, len(layers) // 16)
    ticks = {"tickvals": list(layers)[::every], "showgrid": False, "zeroline": False}
    figure.update_xaxes(range=[min(layers) - 0.5, max(layers) + 0.5], **ticks)
    for row in range(1, rows):
        figure.update_xaxes(showticklabels=False, **Panel(figure, row).place)
    figure.update_xaxes(title_text="layer (output of the block)", **Panel(figure, rows).place)


def _dots(
    panel: Panel,
    at: Sequence[Number],
    found: Sequence[Estimate],
    said: Sequence[str],
    look: Look,
    *,
    name: str,
) -> None:
    """Points with upright whiskers."""
    trace = go.Scatter(
        x=list(at),
        y=[one.value for one in found],
        mode="markers",
        name=literal(name),
        legendgroup=name,
        showlegend=panel.first,
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in found],
            "arrayminus": [one.value - one.low for one in found],
            "color": look.colour,
            "thickness": 1.6,
            "width": 4,
        },
        customdata=[hover(one, words) for one, words in zip(found, said, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)


def strengths(result: Result, metric: str = "harm margin") -> go.Figure:
    """The chosen direction at every strength: what the tuned model gains, and the KL on neutral texts.

    Args:
        result: of :func:`erosion.experiments.selection`.
        metric: ``harm margin`` or ``choice margin``.

    Raises:
        BadInput: no direction was chosen, so no strength was tried.
    """
    if "strengths" not in result.ours:
        raise BadInput(f"No strength was tried: {result['why']}.")
    rows = result["strengths"]
    figure = stacked(claims.strengths(result), 2, height=150)
    at = list(range(len(rows)))
    named = [f"strength {row['by']:g}" for row in rows]
    panels = (
        ("change of tuned's margin", lambda row: row["gain"][metric]),
        ("KL on neutral texts", lambda row: row["kl"]),
    )
    for number, (said, of) in enumerate(panels, start=1):
        panel = Panel(figure, number)
        beside(panel, said)
        level(panel, 0)
        _dots(panel, at, [of(row) for row in rows], named, MODELS["tuned"], name="tuned, select split")
        if number == len(panels):
            most = float(result.inputs["most KL"])
            level(panel, most, colour=WORDS["inconclusive"].colour, dash="dash", name=f"at most {most:g}")
        figure.update_yaxes(title_text=literal(of(rows[0]).unit), **panel.place)
    ticks = {"tickvals": at, "ticktext": [f"{row['by']:g}" for row in rows], "showgrid": False}
    figure.update_xaxes(range=[-0.5, len(rows) - 0.5], zeroline=False, **ticks)
    figure.update_xaxes(showticklabels=False, **Panel(figure, 1).place)
    figure.update_xaxes(title_text="strength (fitted gaps)", **Panel(figure, 2).place)
    return figure


def dose_curve(result: Result, metric: str = "harm margin") -> go.Figure:
    """The margin as the fine-tune is turned up, and that on harmless questions beside it.

    Args:
        result: of :func:`erosion.experiments.doses`.
        metric: ``harm margin`` or ``choice margin``.
    """
    band: Band = result[metric]["margin by dose"]
    figure = stacked(claims.dose_curve(result, metric), 1, height=260)
    panel = Panel(figure)
    competence = result.ours.get("competence margin")
    if competence is not None and metric == "harm margin":
        curve(panel, competence, Look(NULL, "circle-open", "dot"), name="competence margin (control)")
    curve(panel, band, MODELS["tuned"], name=metric)
    level(panel, 0)
    at = list(range(len(band)))
    figure.update_xaxes(
        tickvals=at, ticktext=[str(one) for one in band.labels], showgrid=False, zeroline=False
    )
    figure.update_xaxes(
        range=[-0.3, len(band) - 0.7], title_text="dose of the fine-tune (0 aligned, 1 tuned)"
    )
    figure.update_yaxes(title_text=literal(band.unit))
    return figure


def restored_parts(result: Result, metric: str = "harm margin") -> go.Figure:
    """What returns when one part's weight change is taken back; grey is the part's share of the change.

    Where there are many parts, those that restore or take most are drawn.

    Args:
        result: of :func:`erosion.experiments.doses`.
        metric: ``harm margin`` or ``choice margin``.
    """
    band: Band = result[metric]["restored"]
    lost: Estimate = result[metric]["lost"]
    largest = sorted(band.labels, key=lambda part: -abs(band.at(part).value))[:_MOST_PARTS]
    shown = [part for part in band.labels if part in largest]
    sizes = {one["part"]: one["share of squared change"] for one in result["changes"]}
    at = {len(shown) - 1 - i: (str(part), band.at(part)) for i, part in enumerate(shown)}
    span = extent([one for _, one in at.values()], 0.0, lost.value)
    figure = blank(claims.restored_parts(result, metric), height=28 * len(shown) + 40, legend=True)
    panel = Panel(figure)
    upright(panel, 0)
    by_size = {y: _sized(sizes.get(part, 0.0), lost) for y, (part, _) in at.items()}
    null_bars(panel, by_size, name="in proportion to its squared weight change")
    points(panel, at, MODELS["aligned"], name="restored by taking this part back", span=span)
    figure.update_xaxes(range=span, title_text=f"change of the {metric} ({literal(band.unit)})")
    figure.update_yaxes(
        range=[-0.7, len(shown) - 0.3],
        tickvals=list(at),
        ticktext=[label(part) for part, _ in at.values()],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _sized(share: float, lost: Estimate) -> Control:
    ends = sorted((0.0, share * lost.value))
    return Control("its share of the squared weight change", share * lost.value, *ends)
