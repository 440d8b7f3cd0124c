"""What the tuned model's move consists of: shares, likeness, the 2 x 2, writes, departure, rotation."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import dynamics_claims as claims
from erosion.figures.curves import curve, layer_axis, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, extent, hover, level, note
from erosion.figures.style import (
    BLUE,
    GOLD,
    GREEN,
    INK,
    MODELS,
    NULL,
    ORANGE,
    PURPLE,
    Look,
    blank,
    faded,
    literal,
)
from erosion.stats import Band

__all__ = [
    "attribution",
    "departure",
    "likeness",
    "published_fraction",
    "rotation",
    "shares",
    "two_by_two",
]

PARTS = {
    "constant shift": (GOLD, "/"),
    "translation along v": (ORANGE, ""),
    "other mean shift": (BLUE, "\\"),
    "linear in h": (GREEN, "x"),
    "remainder": (PURPLE, "."),
}
WRITES = {"attention": (BLUE, "/"), "MLP": (ORANGE, "")}
PAIRS = {
    "aligned and tuned": Look(PURPLE, "pentagon", "solid"),
    "aligned and base": Look(BLUE, "circle", "dash"),
    "tuned and base": Look(GREEN, "square", "dot"),
}
_BENIGN = Look(GOLD, "triangle-up", "dashdot")
_EFFECTS = {
    "model": ("model: shift of tuned, both answers", "up: toward aligned"),
    "data": ("data: gap between the answers, both models", ""),
    "interaction": ("interaction: gap in tuned minus gap in aligned", "down: told apart less"),
}


def shares(result: Result) -> go.Figure:
    """The shares of the mean squared move, stacked, each with its whisker; they add up to 1.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    found: Mapping[str, Band] = result["shares of the move"]
    names = [name for name in PARTS if name in found]
    title = claims.shares(result)
    if all(found[names[0]].at(one).undefined for one in found[names[0]].labels):
        return _nothing(title)
    figure = stacked(title, 1, height=320)
    panel, first = Panel(figure), found[names[0]]
    at = np.arange(len(first)) if not _numbered(first) else np.array(first.labels, dtype=float)
    above, below = np.zeros(len(at)), np.zeros(len(at))
    for i, name in enumerate(names):
        band = found[name]
        values = np.nan_to_num(band.values)
        ends = np.where(values >= 0, above, below) + values
        _bar(panel, at, band, PARTS[name], name=name, width=0.82)
        _whiskers(panel, at + 0.3 * (2 * i / max(len(names) - 1, 1) - 1), ends, band, PARTS[name][0])
        above, below = np.where(values >= 0, ends, above), np.where(values < 0, ends, below)
    figure.update_layout(barmode="relative")
    level(panel, 0)
    figure.update_yaxes(title_text="share of mean squared move")
    layer_axis(figure, first)
    return figure


def likeness(result: Result) -> go.Figure:
    """CKA and cosine between each two models by layer, before exchanged questions.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    found = result["likeness"]
    pairs = [name for name in PAIRS if name in found]
    kinds = [kind for kind in ("CKA", "cosine") if kind in found[pairs[0]]]
    figure = stacked(claims.likeness(result), len(kinds))
    for row, kind in enumerate(kinds, start=1):
        panel = Panel(figure, row if len(kinds) > 1 else None)
        beside(panel, {"CKA": "CKA (debiased, linear)", "cosine": "cosine of the same answer in both"}[kind])
        null_curve(panel, found[pairs[0]][kind].control, name="chance: questions exchanged (aligned, tuned)")
        for name in pairs:
            curve(panel, found[name][kind], PAIRS[name], name=name, within=(-1.0, 1.0))
    bands = [found[name][kind] for kind in kinds for name in pairs]
    figure.update_yaxes(title_text="alike")
    layer_axis(figure, bands[0], rows=len(kinds))
    return figure


def two_by_two(result: Result) -> go.Figure:
    """Main effects of model and data along v and their interaction, each before random directions.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    found = result["two by two"]
    figure = stacked(claims.two_by_two(result), 3, height=150)
    for row, (name, (said, way)) in enumerate(_EFFECTS.items(), start=1):
        panel = Panel(figure, row)
        beside(panel, f"{said} ({way})" if way else said)
        null_curve(panel, found[name].control, name="chance: random directions")
        curve(panel, found[name], PAIRS["aligned and tuned"], name="along v")
        level(panel, 0)
    figure.update_yaxes(title_text="fitted gaps")
    layer_axis(figure, found["interaction"], rows=3)
    return figure


def attribution(result: Result) -> go.Figure:
    """What each block's attention and MLP added to the shift along v, before random directions.

    Args:
        result: of :func:`erosion.dynamics`; where no writes were read the figure says so.
    """
    found, title = result.ours.get("attribution"), claims.attribution(result)
    if found is None:
        return _nothing(title)
    figure = stacked(title, 1, height=280)
    panel = Panel(figure)
    blocks = np.array(found["attention"].labels, dtype=float)
    for i, (name, look) in enumerate(WRITES.items()):
        at = blocks + (0.2 if i else -0.2)
        _boxes(panel, at, found[name].control, first=i == 0)
        _bar(panel, at, found[name], look, name=name, width=0.3)
        _whiskers(panel, at, np.array(found[name].values), found[name], INK)
    start = found["embedding"].at("embedding")
    beside(panel, f"embedding: {start.value:+.2g}; all together: {found['total'].values[0]:+.2g}")
    level(panel, 0)
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(title_text="added to the shift (fitted gaps)")
    layer_axis(figure, found["attention"])
    figure.update_xaxes(title_text=f"block (shift read at the output of layer {found['at']})")
    return figure


def departure(result: Result) -> go.Figure:
    """The shift along v with the range of layers in which tuned leaves aligned; harmless questions beside.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    band, found = result["shift of tuned"], result["departure"]
    figure = stacked(claims.departure(result), 1, height=260)
    panel = Panel(figure)
    null_curve(panel, band.control, name="chance: random directions")
    if found["latest"] is not None:
        ends = [band.labels.index(found[one]) for one in ("earliest", "latest")]
        x = [band.labels[i] if _numbered(band) else i for i in ends]
        figure.add_vrect(
            x0=x[0] - 0.5, x1=x[1] + 0.5, fillcolor=faded(ORANGE, 0.16), line_width=0, layer="below"
        )
        note(panel, "departure", at=(sum(x) / 2, 0.96), inside=True)
    curve(panel, band, MODELS["tuned"], name="on the contrast")
    if "shift on benign questions" in result.ours:
        curve(panel, result["shift on benign questions"], _BENIGN, name="on harmless questions")
    for sign in (-1, 1):
        level(panel, sign * found["smallest"], dash="dot")
    level(panel, 0)
    beside(panel, "up: toward aligned answers; dotted: smallest move of interest")
    figure.update_yaxes(title_text="shift (fitted gaps)")
    layer_axis(figure, band)
    return figure


def rotation(result: Result) -> go.Figure:
    """The angle between v fitted in aligned and in tuned, before two fits in the aligned model alone.

    Args:
        result: of :func:`erosion.dynamics`.
    """
    band = result["rotation"]["angle"]
    figure = stacked(claims.rotation(result), 1, height=230)
    panel = Panel(figure)
    null_curve(panel, band.control, name="noise: two halves within aligned", within=(0.0, 90.0))
    curve(panel, band, PAIRS["aligned and tuned"], name="aligned and tuned, two halves", within=(0.0, 90.0))
    figure.update_yaxes(title_text="angle (degrees)", rangemode="tozero")
    layer_axis(figure, band)
    return figure


def published_fraction(result: Result) -> go.Figure:
    """The eroded fraction along the model direction, on the contrast and on harmless questions.

    Args:
        result: of :func:`erosion.dynamics`; without a base model the figure says that it is undefined.
    """
    found = result.ours.get("eroded fraction along the model direction")
    title = claims.published_fraction(result)
    if found is None or all(found["contrast"].at(one).undefined for one in found["contrast"].labels):
        return _nothing(title)
    figure = stacked(title, 1, height=230)
    panel = Panel(figure)
    for name, look in (("contrast", MODELS["tuned"]), ("benign", _BENIGN)):
        if name in found:
            said = "on the contrast" if name == "contrast" else "on harmless questions"
            curve(panel, found[name], look, name=said)
    for at, model in ((0, "aligned"), (1, "base")):
        level(panel, at, colour=MODELS[model].colour, dash=MODELS[model].dash, name=f"{model} model")
    points = [band.at(one) for band in found.values() for one in band.labels]
    figure.update_yaxes(title_text="eroded fraction", range=extent(points, -0.05, 1.15), zeroline=False)
    layer_axis(figure, found["contrast"])
    return figure


def _numbered(band: Band) -> bool:
    return all(isinstance(one, int) for one in band.labels)


def _bar(panel: Panel, at: np.ndarray, band: Band, look: tuple[str, str], *, name: str, width: float) -> None:
    colour, pattern = look
    trace = go.Bar(
        x=at,
        y=[None if v != v else float(v) for v in band.values],
        width=width,
        name=literal(name),
        legendgroup=name,
        marker={
            "color": faded(colour, 0.22) if pattern else colour,
            "line": {"color": colour, "width": 1.5},
            "pattern": {"shape": pattern, "fgcolor": colour, "size": 7, "solidity": 0.25},
        },
        customdata=[hover(band.at(one), f"{name}, layer {one}") for one in band.labels],
        hovertemplate="%{customdata}<extra></extra>",
    )
    panel.figure.add_trace(trace, **panel.place)


def _whiskers(panel: Panel, at: np.ndarray, ends: np.ndarray, band: Band, colour: str) -> None:
    """Each value's interval, hung on the end of its bar."""
    finite = np.isfinite(band.low) & np.isfinite(band.high)
    trace = go.Scatter(
        x=at[finite],
        y=ends[finite],
        mode="markers",
        marker={"size": 1, "color": INK},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (band.high - band.values)[finite],
            "arrayminus": (band.values - band.low)[finite],
            "color": INK if colour == INK else colour,
            "thickness": 1.6,
            "width": 3,
        },
        showlegend=False,
        hoverinfo="skip",
    )
    panel.figure.add_trace(trace, **panel.place)


def _boxes(panel: Panel, at: np.ndarray, band: Band | None, *, first: bool) -> None:
    """Where chance would leave each bar: a grey box behind it."""
    if band is None:
        return
    trace = go.Bar(
        x=at,
        y=band.high - band.low,
        base=band.low,
        width=0.38,
        marker={"color": faded(NULL, 0.22), "line": {"width": 0}},
        name="chance: random directions",
        legendgroup="chance",
        showlegend=first,
        hoverinfo="skip",
    )
    panel.figure.add_trace(trace, **panel.place)


def _nothing(title: str) -> go.Figure:
    figure = blank(title, height=60)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(visible=False, range=[0, 1])
    note(Panel(figure), "undefined: nothing to draw", at=(0.5, 0.5), inside=True)
    return figure
