"""Where in the layers: how well the direction separates, where the models stand along it, who moved."""

from collections.abc import Sequence

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.marks import LAST, Number, Panel, beside, extent, level, note
from erosion.figures.style import FITS, MODELS, NULL, blank
from erosion.stats import Band

__all__ = ["erosion_by_layer", "held_out_auc", "positions", "shift", "stacked"]


def stacked(title: str, rows: int, *, height: int = 190) -> go.Figure:
    """An empty figure of panels one below the other, over the same layers."""
    whole = height * rows + 40 * (rows - 1)
    return blank(title, height=whole, legend=True, rows=rows, gap=40 / whole)


def held_out_auc(result: Result) -> go.Figure:
    """How well each fit's direction separates held-out answers, before what the same fit knows by chance.

    Args:
        result: of :func:`erosion.dimensions`.
    """
    fits = {name: bands["held-out AUC"] for name, bands in result["by fit"].items()}
    figure = stacked(claims.held_out_auc(result), len(fits), height=150)
    for row, (name, band) in enumerate(fits.items(), start=1):
        panel = Panel(figure, row)
        beside(panel, name)
        null_curve(panel, band.control, name="chance: swapped labels", within=(0.0, 1.0))
        random_curve(panel, result.ours.get("AUC of random directions"))
        curve(panel, band, FITS, name="held-out AUC", within=(0.0, 1.0))
        level(panel, 0.5, dash="dot")
    random = result.ours.get("AUC of random directions")
    low, high = _range_of([*fits.values(), *([random] if random is not None else [])], 0.4, 1.0)
    figure.update_yaxes(range=[max(low, -0.04), min(high, 1.04)], title_text="AUC")
    layer_axis(figure, next(iter(fits.values())), rows=len(fits))
    return figure


def random_curve(panel: Panel, band: Band | None) -> None:
    """Where random directions of the answers' own covariance lie: two dotted lines, for a stricter look."""
    if band is None:
        return
    for which, ends in enumerate((band.low, band.high)):
        trace = go.Scatter(
            x=list(band.labels),
            y=[float(one) for one in ends],
            mode="lines",
            name="random directions",
            legendgroup="random directions",
            showlegend=panel.first and not which,
            legendrank=LAST + 1,
            line={"color": NULL, "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
        )
        panel.figure.add_trace(trace, **panel.place)


def positions(result: Result) -> go.Figure:
    """Where the models stand along the direction, on aligned and on misaligned answers.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    place = result["position"]
    models = [one for one in MODELS if one in place]
    figure = stacked(claims.positions(result), 2)
    for row, side in enumerate(("aligned", "misaligned"), start=1):
        panel = Panel(figure, row)
        beside(panel, f"on {side} answers")
        for model in models:
            curve(panel, place[model][side], MODELS[model], name=model)
    bands = [band for model in models for band in place[model].values()]
    figure.update_yaxes(range=_range_of(bands), zeroline=True, title_text="position (fitted gaps)")
    layer_axis(figure, bands[0], rows=2)
    return figure


def shift(result: Result) -> go.Figure:
    """How far the tuned model moved along the direction, before how far along random ones.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    band = result["shift of tuned"]
    figure = stacked(claims.shift(result), 1, height=230)
    panel = Panel(figure)
    null_curve(panel, band.control, name="chance: random directions")
    curve(panel, band, MODELS["tuned"], name="tuned minus aligned")
    level(panel, 0)
    beside(panel, "up: toward aligned answers")
    figure.update_yaxes(title_text="shift (fitted gaps)")
    layer_axis(figure, band)
    return figure


def erosion_by_layer(result: Result) -> go.Figure:
    """How far back toward base the tuned model lies along the direction, where that is defined.

    Args:
        result: of :func:`erosion.dynamics`; without a base model the figure says that it is undefined.
    """
    band = result.ours.get("erosion of position")
    title = claims.erosion_by_layer(result)
    if band is None or all(band.at(one).undefined for one in band.labels):
        return _nothing(title)
    figure = stacked(title, 1, height=230)
    panel = Panel(figure)
    if band.control is not None:
        null_curve(panel, band.control, name="chance: random directions that reach base as far")
    curve(panel, band, MODELS["tuned"], name="tuned")
    for at, model in ((0, "aligned"), (1, "base")):
        level(panel, at, colour=MODELS[model].colour, dash=MODELS[model].dash, name=f"{model} model")
    figure.update_yaxes(title_text="erosion of position (fraction)", zeroline=False)
    layer_axis(figure, band)
    return figure


def _range_of(bands: Sequence[Band], *others: Number) -> list[float]:
    """One range for panels to be compared: all bands and their controls, with some air."""
    return list(extent([band.at(one) for band in bands for one in band.labels], *others))


def _nothing(title: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    figure = blank(title, height=60)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(visible=False, range=[0, 1])
    note(Panel(figure), "undefined: nothing to draw", at=(0.5, 0.5), inside=True)
    return figure
