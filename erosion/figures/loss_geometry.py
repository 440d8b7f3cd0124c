"""Loss geometry: raw cosines beside centred ones, base beside tuned, with chance and harmless groups."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import loss_geometry_claims as claims
from erosion.figures import marks
from erosion.figures.marks import Panel
from erosion.figures.style import BLUE, GOLD, GREEN, MODELS, NULL, ORANGE, PAPER, PURPLE, Look, blank, literal

__all__ = ["loss_cosines", "loss_heatmaps", "loss_scatter"]

ACROSS, WITHIN = Look(ORANGE, "diamond"), Look(BLUE, "circle-open")
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GOLD)
_SYMBOLS = ("circle", "diamond", "square", "pentagon", "triangle-up")
_KINDS = {
    "raw": "raw: what 'opposes' is judged on",
    "centred": "after subtracting the pooled mean, as published",
}


def loss_cosines(result: Result, pair: str | None = None) -> go.Figure:
    """Mean cosines within two groups and across them, raw and centred, for every model.

    Grey bars: the mean across when labels are swapped. Grey marks: the same across pairs of harmless groups.

    Args:
        result: of :func:`erosion.loss_geometry`.
        pair: which two groups (``"a and b"``); the published pair where none is given.
    """
    chosen: str = pair or result.inputs["pair"]
    models = [model for model in MODELS if model in result["raw"]]
    height = 62 * len(models)
    whole = 2 * height + 84
    figure = blank(claims.loss_cosines(result, chosen), height=whole, legend=True, rows=2, gap=84 / whole)
    at = {model: len(models) - 1 - i for i, model in enumerate(models)}
    for row, (kind, name) in enumerate(_KINDS.items(), start=1):
        _panel(Panel(figure, row), result, (kind, chosen), at)
        marks.beside(Panel(figure, row), name)
    figure.update_xaxes(title_text="mean cosine", range=[-1.08, 1.08])
    return figure


def _panel(panel: Panel, result: Result, what: tuple[str, str], at: dict[str, int]) -> None:
    kind, pair = what
    span, groups = (-1.08, 1.08), pair.split(" and ")
    found = {model: result[kind][model] for model in at}
    across = {model: one["cross"][pair] for model, one in found.items()}
    marks.upright(panel, 0)
    chance = {y: across[model].control for model, y in at.items()}
    marks.null_bars(panel, chance, name="across, labels swapped")
    harmless = [
        (one["cross"].value, y - 0.3)
        for model, y in at.items()
        for one in result["harmless pairs"][kind][model].values()
        if not one["cross"].undefined
    ]
    _dots(panel, harmless, name="across two harmless groups")
    for place, group in enumerate(groups):
        rows = {
            y + 0.22 - 0.1 * place: (f"within {group}, {m}", found[m]["within"][group]) for m, y in at.items()
        }
        marks.points(panel, rows, WITHIN if place == 0 else _SECOND, name=f"within {group}", span=span)
    rows = {y: (f"across, {model}", across[model]) for model, y in at.items()}
    marks.points(panel, rows, ACROSS, name="across", span=span)
    ticks = {"tickvals": list(at.values()), "ticktext": list(at)}
    panel.figure.update_yaxes(
        range=[-0.6, len(at) - 0.4], showgrid=False, zeroline=False, **ticks, **panel.place
    )


_SECOND = Look(GREEN, "square-open")


def _dots(panel: Panel, places: Sequence[tuple[float, float]], *, name: str) -> None:
    trace = go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        name=literal(name),
        legendgroup=name,
        showlegend=panel.first,
        marker={"color": NULL, "symbol": "line-ns-open", "size": 10, "line": {"width": 1.5, "color": NULL}},
        hovertemplate=f"{literal(name)}: %{{x:.3f}}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)


def loss_heatmaps(result: Result) -> go.Figure:
    """Cosines of some exchanges of each group: raw on the left, centred on the right, one row per model.

    Args:
        result: of :func:`erosion.loss_geometry`.
    """
    shown = result["heatmap"]
    models = [model for model in MODELS if model in shown["raw"]]
    side, gap, n = 250, 46, len(models)
    whole = side * n + gap * (n - 1)
    figure = blank(claims.loss_heatmaps(result), height=whole)
    ticks, edges = _blocks(shown["groups"])
    for row, model in enumerate(models):
        for column, kind in enumerate(("raw", "centred")):
            number = 2 * row + column + 1
            name = "" if number == 1 else str(number)
            top = 1 - row * (side + gap) / whole
            across = [0.0, 0.44] if column == 0 else [0.52, 0.96]
            axis: dict[str, Any] = {"showgrid": False, "zeroline": False, "tickvals": list(ticks)}
            figure.update_layout(
                {
                    f"xaxis{name}": {**axis, "domain": across, "anchor": f"y{name}", "showticklabels": False},
                    f"yaxis{name}": {
                        **axis,
                        "domain": [top - side / whole, top],
                        "anchor": f"x{name}",
                        "autorange": "reversed",
                        "ticktext": list(ticks.values()) if column == 0 else [""] * len(ticks),
                    },
                }
            )
            figure.add_trace(_heat(shown[kind][model], f"{name}", first=number == 1))
            _lines(figure, name, edges, len(shown["groups"]))
            figure.add_annotation(
                text=f"<b>{model}</b>, {kind}",
                x=across[0],
                y=top,
                xref="paper",
                yref="paper",
                xanchor="left",
                yanchor="bottom",
                yshift=3,
                showarrow=False,
            )
    return figure


def _heat(values: Any, name: str, *, first: bool) -> go.Heatmap:
    return go.Heatmap(
        z=values,
        xaxis=f"x{name}",
        yaxis=f"y{name}",
        zmin=-1,
        zmax=1,
        colorscale=[[0, ORANGE], [0.5, PAPER], [1, BLUE]],
        showscale=first,
        colorbar={"title": {"text": "cosine"}, "thickness": 12, "x": 0.98},
        hovertemplate="cosine %{z:.2f}<extra></extra>",
    )


def _blocks(groups: Sequence[str]) -> tuple[dict[float, str], list[float]]:
    """Where each group's name stands, and where one ends."""
    ticks, edges, start = {}, [], 0
    for name in dict.fromkeys(groups):
        n = list(groups).count(name)
        ticks[start + (n - 1) / 2] = literal(name).replace(" answers", "").replace(", ", "<br>")
        start += n
        edges.append(start - 0.5)
    return ticks, edges[:-1]


def _lines(figure: go.Figure, name: str, edges: Sequence[float], n: int) -> None:
    line = {"color": NULL, "width": 1}
    for at in edges:
        figure.add_shape(
            type="line", x0=at, x1=at, y0=-0.5, y1=n - 0.5, xref=f"x{name}", yref=f"y{name}", line=line
        )
        figure.add_shape(
            type="line", y0=at, y1=at, x0=-0.5, x1=n - 0.5, xref=f"x{name}", yref=f"y{name}", line=line
        )


def loss_scatter(result: Result) -> go.Figure:
    """Every model's loss vectors on their first two principal components.

    Args:
        result: of :func:`erosion.loss_geometry`.
    """
    shown = result["scatter"]
    models = [model for model in MODELS if model in shown["models"]]
    whole = 230 * len(models) + 60 * (len(models) - 1)
    figure = blank(claims.loss_scatter(result), height=whole, legend=True, rows=len(models), gap=60 / whole)
    for row, model in enumerate(models, start=1):
        panel = Panel(figure, row if len(models) > 1 else None)
        marks.beside(panel, model)
        placed = shown["models"][model]
        for i, group in enumerate(dict.fromkeys(shown["groups"])):
            rows = [j for j, one in enumerate(shown["groups"]) if one == group]
            trace = go.Scatter(
                x=[placed["x"][j] for j in rows],
                y=[placed["y"][j] for j in rows],
                mode="markers",
                name=literal(group),
                legendgroup=group,
                showlegend=panel.first,
                marker={"color": _COLOURS[i % 5], "symbol": f"{_SYMBOLS[i % 5]}-open", "size": 7},
                hovertemplate=f"{literal(group)}<extra></extra>",
            )
            figure.add_trace(trace, **panel.place)
        figure.update_yaxes(title_text="second (nats)", **panel.place)
    figure.update_xaxes(title_text="first component (nats)", **Panel(figure, len(models)).place)
    return figure
