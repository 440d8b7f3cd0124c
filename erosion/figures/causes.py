"""Is it causal: what edits along the direction do to the margin, and what any edit does to a metric."""

from collections.abc import Sequence

import plotly.graph_objects as go

from erosion.effects import Effect
from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, extent, level, points, upright
from erosion.figures.style import GROUPS, MODELS, NULL, WORDS, Look, blank, label, literal

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
    found, lost = result[metric], result[metric]["lost"]
    figure = stacked(claims.causal_curves(result, metric), len(_EDITS), height=180)
    reached = "lost margin" if lost.low > 0 else "lost margin (not established)"
    for row, (edit, said) in enumerate(_EDITS.items(), start=1):
        bands, panel = found[edit], Panel(figure, row)
        beside(panel, said)
        null_curve(panel, bands["difference"].control, name="chance: random directions")
        curve(panel, bands["on tuned"], MODELS["tuned"], name="on tuned")
        difference = GROUPS["tuned minus aligned"]
        curve(panel, bands["difference"], difference, name="on tuned minus on aligned")
        level(panel, 0)
        if not lost.undefined:
            level(panel, lost.value, colour=WORDS["inconclusive"].colour, dash="dash", name=reached)
    figure.update_yaxes(title_text=f"change ({literal(lost.unit)})")
    layer_axis(figure, found["steer"]["on tuned"], rows=len(_EDITS))
    return figure


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
        raise BadInput(
            f"These effects are of {len(metrics)} metrics ({', '.join(sorted(n for n, _ in metrics))}): draw "
            "each alone."
        )
    said = list(names) if names is not None else [", ".join(one.under) or "no edit" for one in measured]
    if len(said) != len(measured):
        raise BadInput(f"{len(said)} names for {len(measured)} effects: give each one.")
    name, unit = next(iter(metrics))
    at = {
        len(measured) - 1 - i: (f"{s}, {one.model}", one.change)
        for i, (s, one) in enumerate(zip(said, measured, strict=True))
    }
    span = extent([change for _, change in at.values()], 0.0)
    figure = blank(claims.effects(measured), height=52 * len(measured) + 20, legend=True)
    upright(Panel(figure), 0)
    for group, look in _LOOKS.items():
        there = {y: one for y, one in at.items() if ("random" in one[0]) == (group == "random direction")}
        if there:
            points(Panel(figure), there, look, name=group, span=span)
    figure.update_xaxes(range=span, title_text=f"change of the {literal(name)} ({literal(unit)})")
    figure.update_yaxes(
        range=[-0.6, len(measured) - 0.4],
        tickvals=list(at),
        ticktext=[label(one, width=28) for one in said],
        showgrid=False,
        zeroline=False,
    )
    return figure
