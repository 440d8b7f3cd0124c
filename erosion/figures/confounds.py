"""The confound battery as pictures: what is left when each trait has taken what it can."""

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.experiments.confounds import ALL
from erosion.figures import confounds_claims as claims
from erosion.figures import marks
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.style import GROUPS, MODELS, blank, label
from erosion.stats import Band

__all__ = ["confounds", "confounds_by_layer"]

_ROW = 34


def confounds(result: Result, *, quantity: str) -> go.Figure:
    """One row for each trait: the share that survives it, and the share left at equal traits.

    Args:
        result: of :func:`erosion.experiments.confounds.confounds`.
        quantity: one of its quantities; one with layers is shown at the last layer where it is defined.
    """
    found = result["quantities"][quantity]
    survives = {name: claims.best_layer(one)[0] for name, one in found["survives"].items()}
    kept = {name: claims.best_layer(one)[0] for name, one in found["side kept"].items()}
    heights = {len(survives) - 1 - i: name for i, name in enumerate(survives)}
    rows = max(len(survives), 1)
    figure = blank(claims.confounds(result, quantity), height=_ROW * rows + 40, legend=True)
    span = marks.extent([*survives.values(), *kept.values()], 0.0, 1.0)
    span = max(span[0], -1.0), min(span[1], 2.0)
    figure.update_xaxes(range=span, title_text=f"share of the {quantity} left", zeroline=False)
    panel = marks.Panel(figure)
    marks.null_bars(
        panel, {y: survives[name].control for y, name in heights.items()}, name="traits with random signs"
    )
    marks.upright(panel, 0)
    marks.upright(panel, 1, dash="dot", name="all of it")
    marks.points(
        panel,
        {y + 0.14: (name, survives[name]) for y, name in heights.items()},
        GROUPS["harm-specific change"],
        name="survives (a lower bound)",
        span=span,
    )
    marks.points(
        panel,
        {y - 0.14: (name, kept[name]) for y, name in heights.items()},
        MODELS["aligned"],
        name="left at equal traits (linear model)",
        span=span,
    )
    figure.update_yaxes(
        range=[-0.6, rows - 0.4],
        tickvals=list(heights),
        ticktext=[f"<b>{label(n)}</b>" if n == ALL else label(n) for n in heights.values()],
        showgrid=False,
        zeroline=False,
    )
    return figure


def confounds_by_layer(result: Result, *, quantity: str) -> go.Figure:
    """The share that survives all traits (or the only one), layer by layer, before random signs of them.

    Args:
        result: of :func:`erosion.experiments.confounds.confounds`.
        quantity: one that has layers.
    """
    survives = result["quantities"][quantity]["survives"]
    band: Band = survives[ALL] if ALL in survives else next(iter(survives.values()))
    figure = blank(claims.confounds(result, quantity), height=230, legend=True)
    panel = marks.Panel(figure)
    null_curve(panel, band.control, name="traits with random signs")
    curve(panel, band, GROUPS["harm-specific change"], name="survives (a lower bound)")
    marks.level(panel, 0)
    marks.level(panel, 1, dash="dot", name="all of it")
    figure.update_yaxes(title_text="share left", zeroline=False)
    layer_axis(figure, band)
    return figure
