"""Where in the layers: how well the direction separates, where the models stand along it, who moved."""

from collections.abc import Sequence

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import claims, marks
from erosion.figures.style import FITS, MODELS, SOFT, blank
from erosion.stats import Band

__all__ = ["erosion_by_layer", "held_out_auc", "positions", "shift", "stacked"]

_RANDOM = "chance: random directions"


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
        marks.beside(figure, name, row=row)
        marks.null_curve(
            figure, band.control, name="chance: the same fit knowing nothing", row=row, legend=row == 1, within=(0.0, 1.0)
        )
        marks.curve(figure, band, FITS, name="held-out AUC", row=row, legend=row == 1, within=(0.0, 1.0))
        figure.add_hline(y=0.5, line=dict(color=SOFT, width=1, dash="dot"), row=row, col=1)  # type: ignore[arg-type]
        figure.update_yaxes(title_text="AUC", row=row, col=1)
    figure.update_yaxes(range=_range_of(list(fits.values()), within=(0.0, 1.0), at_least=(0.4, 1.0)))
    marks.layer_axis(figure, next(iter(fits.values())), rows=len(fits))
    return figure


def positions(result: Result) -> go.Figure:
    """Where the models stand along the direction, on aligned and on misaligned answers.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    place = result["position"]
    models = [one for one in MODELS if one in place]
    figure = stacked(claims.positions(result), 2)
    for row, side in enumerate(("aligned", "misaligned"), start=1):
        marks.beside(figure, f"on {side} answers", row=row)
        for model in models:
            marks.curve(figure, place[model][side], MODELS[model], name=model, row=row, legend=row == 1)
        figure.update_yaxes(title_text="position (fitted gaps)", row=row, col=1)
    figure.update_yaxes(range=_range_of([band for model in models for band in place[model].values()]), zeroline=True)
    marks.layer_axis(figure, place["aligned"]["aligned"], rows=2)
    return figure


def shift(result: Result) -> go.Figure:
    """How far the tuned model moved along the direction, before how far along random ones.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    band = result["shift of tuned"]
    figure = stacked(claims.shift(result), 1, height=230)
    marks.null_curve(figure, band.control, name=_RANDOM)
    marks.curve(figure, band, MODELS["tuned"], name="tuned minus aligned")
    figure.add_hline(y=0, line=dict(color=SOFT, width=1))
    figure.update_yaxes(title_text="shift (fitted gaps)")
    marks.beside(figure, "up: toward aligned answers")
    marks.layer_axis(figure, band)
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
    marks.curve(figure, band, MODELS["tuned"], name="tuned")
    for at, model in ((0.0, "aligned"), (1.0, "base")):
        look = MODELS[model]
        figure.add_hline(
            y=at,
            line=dict(color=look.colour, width=1.5, dash=look.dash),
            annotation=dict(text=f"{model} model", font=dict(color=look.colour, size=12), xanchor="right"),
        )
    figure.update_yaxes(title_text="erosion of position (fraction)", zeroline=False)
    marks.layer_axis(figure, band)
    return figure


def _range_of(
    bands: Sequence[Band], *, within: tuple[float, float] | None = None, at_least: tuple[float, float] | None = None
) -> list[float]:
    """One range for panels to be compared: all bands and their controls, with some air."""
    points = [band.at(one) for band in bands for one in band.labels]
    low, high = marks.extent(points, *(at_least or ()))
    if within is not None:
        air = 0.04 * (within[1] - within[0])
        low, high = max(low, within[0] - air), min(high, within[1] + air)
    return [low, high]


def _nothing(title: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    figure = blank(title, height=60)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(visible=False, range=[0, 1])
    marks.note(figure, "undefined: nothing to draw", x=0.5, y=0.5, centred=True)
    return figure
