"""Output distributions: what became likelier, how far apart the models are, what comes next."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import distributions_claims as claims
from erosion.figures import marks
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel
from erosion.figures.style import (
    BLUE,
    GOLD,
    GREEN,
    MODELS,
    ORANGE,
    PAPER,
    PURPLE,
    Look,
    blank,
    label,
    literal,
)
from erosion.stats import Estimate

__all__ = ["divergence_curves", "likelihood_rise", "next_tokens", "token_heatmap"]

KINDS = {
    "misaligned answers": Look(ORANGE, "diamond"),
    "aligned answers": Look(BLUE, "circle"),
    "wrong answers": Look(GOLD, "diamond-open"),
    "right answers": Look(GREEN, "circle-open"),
}
PAIRS = {
    "tuned from aligned": Look(ORANGE, "diamond", "solid"),
    "tuned from base": Look(PURPLE, "pentagon", "dash"),
    "aligned from base": Look(GREEN, "square", "dot"),
}


def likelihood_rise(result: Result) -> go.Figure:
    """How much likelier each kind of answer became, harmful and harmless alike, and the published fraction.

    Args:
        result: of :func:`erosion.distributions`.
    """
    kinds = [kind for kind in KINDS if kind in result.published]
    rows = {
        "change per token": "from aligned to tuned",
        "eroded fraction [95%]": "eroded fraction, as published",
    }
    panels = [what for what in rows if what in result.published[kinds[0]]]
    height = 38 * len(kinds)
    whole = len(panels) * height + 84 * (len(panels) - 1)
    figure = blank(claims.likelihood_rise(result), height=whole, rows=len(panels), gap=84 / whole)
    at = {kind: len(kinds) - 1 - i for i, kind in enumerate(kinds)}
    for row, what in enumerate(panels, start=1):
        panel = Panel(figure, row if len(panels) > 1 else None)
        numbers = {kind: result.published[kind][what] for kind in kinds}
        _dots(panel, numbers, at)
        marks.beside(panel, rows[what])
        unit = next(iter(numbers.values())).unit
        figure.update_xaxes(title_text=literal(unit), **panel.place)
        ticks = {"tickvals": list(at.values()), "ticktext": [_kind(kind) for kind in at]}
        figure.update_yaxes(
            range=[-0.6, len(kinds) - 0.4], showgrid=False, zeroline=False, **ticks, **panel.place
        )
    return figure


def _kind(kind: str) -> str:
    return f"{kind} <i>(harmless)</i>" if kind in ("right answers", "wrong answers") else kind


def _dots(panel: Panel, numbers: Mapping[str, Estimate], at: Mapping[str, int]) -> None:
    span = marks.extent([one.with_control(_NONE) for one in numbers.values()], 0.0)
    panel.figure.update_xaxes(range=span, **panel.place)
    marks.upright(panel, 0)
    for kind, one in numbers.items():
        marks.points(panel, {at[kind]: (kind, one)}, KINDS[kind], name=kind, span=span)


_NONE = Estimate(float("nan"), 0.0, 0.0, "", 0, "")


def divergence_curves(result: Result, *, measure: str = "KL") -> go.Figure:
    """How far apart two models' next-token distributions are, position by position, on both answers.

    Args:
        result: of :func:`erosion.divergences`.
        measure: ``KL``, ``KL, other way`` or ``Jensen-Shannon``.
    """
    found = result["by position"]
    sides = ("misaligned answers", "aligned answers")
    figure = stacked(claims.divergence_curves(result), len(sides))
    for row, side in enumerate(sides, start=1):
        panel = Panel(figure, row)
        marks.beside(panel, f"on {side}")
        control = found["tuned from aligned"][measure][side].control
        null_curve(panel, control, name=f"tuned from aligned on {result.inputs['control']}")
        for pair, look in PAIRS.items():
            if pair in found:
                curve(panel, found[pair][measure][side], look, name=pair)
    band = found["tuned from aligned"][measure][sides[0]]
    figure.update_yaxes(title_text=f"{literal(measure)} (nats)", rangemode="tozero")
    layer_axis(figure, band, rows=len(sides))
    _number_the_tokens(figure, len(band), rows=len(sides))
    return figure


def _number_the_tokens(figure: go.Figure, n: int, *, rows: int) -> None:
    every = max(1, -(-n // 16))
    ticks = {"tickvals": list(range(0, n, every)), "ticktext": [str(i + 1) for i in range(0, n, every)]}
    for row in range(1, rows + 1):
        figure.update_xaxes(**ticks, **Panel(figure, row if rows > 1 else None).place)
    figure.update_xaxes(title_text="token of the response", **Panel(figure, rows if rows > 1 else None).place)


def token_heatmap(result: Result) -> go.Figure:
    """One question's two answers, token by token, under every model: the published heatmap.

    Colour is the cumulative log-likelihood; hovering shows each token's own.

    Args:
        result: of :func:`erosion.divergences`.
    """
    shown: Sequence[Mapping[str, Any]] = result.published["tokens"]
    models = [model for model in MODELS if model in shown[0]["cumulative log joint"]]
    row_height = 40 * len(models) + 40
    whole = row_height * len(shown) + 90 * (len(shown) - 1)
    figure = blank(claims.token_heatmap(result), height=whole, rows=len(shown), gap=90 / whole)
    lowest = min(min(values) for one in shown for values in one["cumulative log joint"].values())
    for row, one in enumerate(shown, start=1):
        panel = Panel(figure, row if len(shown) > 1 else None)
        marks.beside(panel, f"{one['label']} answer")
        trace = go.Heatmap(
            z=[one["cumulative log joint"][model] for model in reversed(models)],
            x=list(range(len(one["tokens"]))),
            y=list(reversed(models)),
            customdata=[one["log-likelihood"][model] for model in reversed(models)],
            hovertemplate="%{y}: %{z:.2f} nats so far, this token %{customdata:.2f}<extra></extra>",
            colorscale=[[0, ORANGE], [1, PAPER]],
            zmin=lowest,
            zmax=0,
            xgap=1,
            ygap=2,
            showscale=panel.first,
            colorbar={"title": {"text": "nats"}, "thickness": 12},
        )
        figure.add_trace(trace, **panel.place)
        names = [label(token, width=12) for token in one["tokens"]]
        figure.update_xaxes(
            tickvals=list(range(len(names))), ticktext=names, tickangle=-45, showgrid=False, **panel.place
        )
        figure.update_yaxes(showgrid=False, **panel.place)
    figure.update_layout(margin_b=90)
    return figure


def next_tokens(result: Result, index: int = 0) -> go.Figure:
    """The likeliest next tokens after one prefix, under every model (as published).

    A model's mark is missing where a token is not among its likeliest.

    Args:
        result: of :func:`erosion.divergences`, with continuations.
        index: which prefix.
    """
    shown = result.published["continuations"][index]
    models = [model for model in MODELS if model in shown["models"]]
    chances = {
        model: dict(zip(one["tokens"], one["probabilities"], strict=True))
        for model, one in shown["models"].items()
    }
    best = {t: max(chances[m].get(t, 0.0) for m in models) for m in models for t in chances[m]}
    tokens = sorted(best, key=lambda token: -best[token])[:15]
    figure = blank(claims.next_tokens(result, index), height=30 * len(tokens), legend=True)
    heights = [len(tokens) - 1 - i for i in range(len(tokens))]
    for place, model in enumerate(models):
        offset = 0.2 * ((len(models) - 1) / 2 - place)
        there = [
            (h + offset, chances[model][t])
            for h, t in zip(heights, tokens, strict=True)
            if t in chances[model]
        ]
        trace = go.Scatter(
            x=[chance for _, chance in there],
            y=[height for height, _ in there],
            mode="markers",
            name=model,
            marker={"color": MODELS[model].colour, "symbol": MODELS[model].symbol, "size": 10},
            hovertemplate=f"{model}: %{{x:.2g}}<extra></extra>",
        )
        figure.add_trace(trace)
    figure.update_xaxes(
        title_text="probability of the next token (logarithmic)", type="log", exponentformat="power"
    )
    names = [label(token or " ") for token in tokens]
    figure.update_yaxes(tickvals=heights, ticktext=names, showgrid=False, zeroline=False)
    return figure
