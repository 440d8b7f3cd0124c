"""Is it causal: what edits along the direction do to the margin, and what any edit does to a metric."""

from collections.abc import Sequence

import plotly.graph_objects as go

from erosion.effects import Effect
from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import claims, marks
from erosion.figures.layers import stacked
from erosion.figures.style import GROUPS, MODELS, NULL, SOFT, WORDS, Look, blank, label, literal

__all__ = ["causal_curves", "effects"]

_EDITS = {
    "steer": "steer: add the fitted gap",
    "clamp": "clamp: to the aligned model's mean",
    "ablate": "ablate: remove the direction",
}
_LOOKS = {"change": GROUPS["harm-specific change"], "random direction": Look(NULL, "circle-open")}


def causal_curves(result: Result, *, metric: str = "harm margin") -> go.Figure:
    """Each edit, layer by layer: on tuned, and on tuned beyond what the same edit does to aligned.

    The line is the margin that was lost: an effect above it overshoots. Grey is the difference that random
    directions of the same norm make; clamping has no such control.

    Args:
        result: of :func:`erosion.causality`.
        metric: ``harm margin`` or ``choice margin``.

    Raises:
        BadInput: no such metric.
    """
    if metric not in result.ours:
        raise BadInput(f"There is no {metric!r} here: choose one of {', '.join(result.ours)}.")
    found = result[metric]
    lost, unit = found["lost"], found["lost"].unit
    figure = stacked(claims.causal_curves(result, metric), len(_EDITS), height=180)
    for row, (edit, said) in enumerate(_EDITS.items(), start=1):
        bands, first = found[edit], row == 1
        marks.beside(figure, said, row=row)
        marks.null_curve(
            figure, bands["difference"].control, name="chance: random directions", row=row, legend=first
        )
        marks.curve(figure, bands["on tuned"], MODELS["tuned"], name="on tuned", row=row, legend=first)
        difference = GROUPS["tuned minus aligned"]
        marks.curve(figure, bands["difference"], difference, name="on tuned minus on aligned", row=row, legend=first)
        figure.add_hline(y=0, line=dict(color=SOFT, width=1), row=row, col=1)  # type: ignore[arg-type]
        if not lost.undefined:
            _lost_line(figure, lost.value, established=lost.low > 0, row=row)
        figure.update_yaxes(title_text=f"change ({literal(unit)})", row=row, col=1)
    marks.layer_axis(figure, found["steer"]["on tuned"], rows=len(_EDITS))
    return figure


def _lost_line(figure: go.Figure, at: float, *, established: bool, row: int) -> None:
    colour = WORDS["inconclusive"].colour
    figure.add_hline(y=at, line=dict(color=colour, width=1.5, dash="dash"), row=row, col=1)  # type: ignore[arg-type]
    number = "" if row == 1 else str(row)
    figure.add_annotation(
        text="lost margin" if established else "lost margin (not established)",
        x=1,
        y=at,
        xref=f"x{number} domain",
        yref=f"y{number}",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font=dict(size=12, color=colour),
    )


def effects(measured: Sequence[Effect], *, names: Sequence[str] | None = None) -> go.Figure:
    """What interventions did to one metric: a row for each, the mean change with its interval.

    Args:
        measured: effects of one metric; put a control beside each effect.
        names: what to call them; the edits in words if not given. A name with the word *random* is drawn as
            a control, in grey.

    Raises:
        BadInput: none, of different metrics, or not one name for each.
    """
    if not measured:
        raise BadInput("There is no effect to draw: give at least one.")
    metrics = {(one.after.name, one.after.unit) for one in measured}
    if len(metrics) > 1:
        raise BadInput(f"These effects are of {len(metrics)} metrics ({', '.join(sorted(n for n, _ in metrics))}): draw each alone.")
    said = list(names) if names is not None else [", ".join(one.under) or "no edit" for one in measured]
    if len(said) != len(measured):
        raise BadInput(f"{len(said)} names for {len(measured)} effects: give each one.")
    name, unit = next(iter(metrics))
    at = {len(measured) - 1 - i: (f"{s}, {one.model}", one.change) for i, (s, one) in enumerate(zip(said, measured, strict=True))}
    span = marks.extent([change for _, change in at.values()], 0.0)
    figure = blank(claims.effects(measured), height=52 * len(measured) + 20, legend=True)
    figure.add_vline(x=0, line=dict(color=SOFT, width=1))
    for group, look in _LOOKS.items():
        there = {y: one for y, one in at.items() if ("random" in one[0]) == (group == "random direction")}
        if there:
            marks.points(figure, there, look, name=group, span=span)
    figure.update_xaxes(range=span, title_text=f"change of the {literal(name)} ({literal(unit)})")
    figure.update_yaxes(
        range=[-0.6, len(measured) - 0.4],
        tickvals=list(at),
        ticktext=[label(one, width=28) for one in said],
        showgrid=False,
        zeroline=False,
    )
    return figure
