"""Doses as pictures: margins as the fine-tune is turned up, and what its parts restore when put back."""

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import choices_claims as claims
from erosion.figures.curves import curve
from erosion.figures.layers import stacked
from erosion.figures.marks import LAST, Panel, extent, level, null_bars, points, upright
from erosion.figures.style import MODELS, NULL, Look, blank, label, literal
from erosion.stats import Band, Control, Estimate

__all__ = ["dose_curve", "restored_parts"]

_MOST_PARTS = 24


def dose_curve(result: Result, metric: str = "harm margin") -> go.Figure:
    """The margin as the fine-tune is turned up, and that on harmless questions beside it.

    Args:
        result: of :func:`erosion.doses`.
        metric: ``harm margin`` or ``choice margin``.
    """
    band: Band = result[metric]["margin by dose"]
    figure = stacked(claims.dose_curve(result, metric), 1, height=260)
    panel = Panel(figure)
    competence = result.ours.get("competence margin")
    if competence is not None and metric == "harm margin":
        curve(panel, competence, Look(NULL, "circle-open", "dot"), name="competence margin (control)")
    curve(panel, band, MODELS["tuned"], name=metric)
    _chord(panel, band)
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


def _chord(panel: Panel, band: Band) -> None:
    """Where the margin would be if it were lost in proportion to the dose."""
    start, end = band.at("0").value, band.at("1").value
    straight = [start + float(dose) * (end - start) for dose in band.labels]
    trace = go.Scatter(
        x=list(range(len(band))),
        y=straight,
        mode="lines",
        name="in proportion to the dose",
        legendrank=LAST,
        line={"color": NULL, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    panel.figure.add_trace(trace, **panel.place)


def restored_parts(result: Result, metric: str = "harm margin") -> go.Figure:
    """What returns when one part's weight change is taken back; grey is the part's share of the change.

    Where there are many parts, those that restore or take most are drawn.

    Args:
        result: of :func:`erosion.doses`.
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
