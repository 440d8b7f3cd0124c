"""Is it one direction: domain by domain, how many of them, and whether benign data shares it as well."""

from dataclasses import replace

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import dimensions_claims as claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, extent, level, null_bars, points, upright
from erosion.figures.style import FITS, GROUPS, INK, MODELS, NULL, PAPER, Look, blank, label, literal
from erosion.stats import Band

__all__ = ["domain_cosines", "domains_left_out", "shared_component", "variance_by_rank"]

_BENIGN = Look(MODELS["base"].colour, "square", "dot")
_HARM = Look(MODELS["tuned"].colour, "diamond", "solid")


def domains_left_out(result: Result) -> go.Figure:
    """One row for each domain: the AUC of the direction that was fitted on all the others.

    Args:
        result: of :func:`erosion.dimensions`, with domains.
    """
    found = result.ours.get("domains", {}).get("left out", {})
    title = claims.domains_left_out(result)
    if not found:
        return _nothing(title)
    layer, by = claims.layer_shown(result), found["by domain"]
    rows = {
        len(by) - i: (name, bands["held-out AUC"].at(layer)) for i, (name, bands) in enumerate(by.items())
    }
    mean = found["mean AUC over domains"].at(layer)
    figure = blank(title, height=34 * (len(rows) + 1) + 12, legend=True)
    figure.update_xaxes(range=[-0.03, 1.03], title_text=f"AUC at layer {layer}", zeroline=False)
    panel = Panel(figure)
    upright(panel, 0.5, dash="dot")
    chances = {y: one.control for y, (_, one) in rows.items()} | {0: mean.control}
    null_bars(panel, chances, name="chance: swapped labels (mean: random directions)")
    points(panel, rows, FITS, name="fitted on all other domains", span=(0.0, 1.0))
    points(
        panel,
        {0: ("mean over domains", mean)},
        GROUPS["harm-specific change"],
        name="mean over domains",
        span=(0.0, 1.0),
    )
    names = {y: label(name) for y, (name, _) in rows.items()} | {0: "<b>mean</b>"}
    figure.update_yaxes(
        range=[-0.6, len(rows) + 0.6],
        tickvals=list(names),
        ticktext=list(names.values()),
        showgrid=False,
        zeroline=False,
    )
    return figure


def domain_cosines(result: Result) -> go.Figure:
    """Every domain's answer direction against every other's: cosines, intervals on hover.

    Args:
        result: of :func:`erosion.dimensions`, with domains.
    """
    found = result.ours.get("domains", {}).get("cosines", {})
    title = claims.domain_cosines(result)
    if not found:
        return _nothing(title)
    names, one = found["domains"], found["by layer"][str(claims.layer_shown(result))]
    numbered = list(range(len(names)))
    figure = blank(title, height=max(220, 46 * len(names) + 30))
    said = [
        [
            f"<b>{literal(names[i])} / {literal(names[j])}</b><br>{one['cosine'][i][j]:.2f} "
            f"[{one['low'][i][j]:.2f}, {one['high'][i][j]:.2f}] cosine<br>noise ceiling "
            f"{one['noise ceiling'][i][j]:.2f}"
            for j in numbered
        ]
        for i in numbered
    ]
    figure.add_trace(
        go.Heatmap(
            x=numbered,
            y=numbered,
            z=[[None if i == j else one["cosine"][i][j] for j in numbered] for i in numbered],
            text=[["" if i == j else f"{one['cosine'][i][j]:.2f}" for j in numbered] for i in numbered],
            texttemplate="%{text}",
            customdata=said,
            hovertemplate="%{customdata}<extra></extra>",
            zmin=-1,
            zmax=1,
            colorscale=[[0, MODELS["tuned"].colour], [0.5, PAPER], [1, MODELS["aligned"].colour]],
            colorbar={"title": {"text": "cosine"}, "thickness": 14, "tickfont": {"color": INK}},
            xgap=2,
            ygap=2,
            textfont={"size": 12},
        )
    )
    ticks = {"tickvals": numbered, "ticktext": [label(name) for name in names], "showgrid": False}
    figure.update_xaxes(**ticks, zeroline=False)
    figure.update_yaxes(**ticks, zeroline=False, autorange="reversed")
    return figure


def variance_by_rank(result: Result) -> go.Figure:
    """What the first k directions explain of held-out differences, before random subspaces.

    Args:
        result: of :func:`erosion.dimensions`.
    """
    layer = str(claims.layer_shown(result))
    band: Band = result["rank"]["variance explained"][layer]
    figure = stacked(claims.variance_by_rank(result), 1, height=230)
    panel, named = Panel(figure), _numbered(band)
    null_curve(panel, named.control, name="chance: random subspaces", within=(0.0, 1.0))
    curve(panel, named, FITS, name="first k directions", within=(0.0, 1.0))
    k = result["rank"]["k"][layer]
    layer_axis(figure, named)
    upright(panel, k - 1, dash="dash", colour=NULL, name=f"chosen on other questions: {k}")
    figure.update_yaxes(range=[0, 1.04], title_text="share of squared length")
    figure.update_xaxes(title_text="number of directions k")
    return figure


def _numbered(band: Band) -> Band:
    """The band with its ranks as words, so that a pointer does not call them layers."""
    names = tuple(f"{one}" for one in band.labels)
    control = None if band.control is None else replace(band.control, labels=names)
    return replace(band, labels=names, control=control)


def shared_component(result: Result, model: str = "aligned") -> go.Figure:
    """Above, sharing as published, of harmful data and with benign data; below, answer directions likewise.

    Args:
        result: of :func:`erosion.sharing`.
        model: in which the answer directions were taken.
    """
    ours = result["answer directions"].get(model, {})
    panels = [
        (
            "as published: |cosine| of first components",
            result.ours.get("harmful pair"),
            result["harmful with benign"],
        ),
        (f"answer directions in the {model} model: cosine", ours.get("cosine"), ours.get("benign ceiling")),
    ]
    drawn = [
        (name, harm, benign) for name, harm, benign in panels if harm is not None and isinstance(benign, Band)
    ]
    title = claims.shared_component(result)
    if not drawn:
        return _nothing(title)
    figure = stacked(title, len(drawn), height=190)
    for row, (name, harm, benign) in enumerate(drawn, start=1):
        panel = Panel(figure, row if len(drawn) > 1 else None)
        beside(panel, name)
        curve(panel, benign, _BENIGN, name="with benign data")
        curve(panel, harm, _HARM, name="between two kinds of harm")
        level(panel, 0)
        ends = extent([b.at(one) for b in (harm, benign) for one in b.labels], 0.0, 1.0)
        figure.update_yaxes(range=[max(ends[0], -1.04), min(ends[1], 1.04)], **panel.place)
    layer_axis(figure, drawn[0][1], rows=len(drawn))
    return figure


def _nothing(title: str) -> go.Figure:
    figure = blank(title, height=60)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(visible=False, range=[0, 1])
    return figure
