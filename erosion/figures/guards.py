"""Guards as pictures: the chat template against plain text, written answers against the models' own."""

import math
from collections.abc import Mapping

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.experiments.guards import MUCH_WORSE
from erosion.figures import guards_claims, marks
from erosion.figures.preferences import groups
from erosion.figures.style import GOLD, LINE, MODELS, PURPLE, Look, blank, label
from erosion.stats import Estimate

__all__ = ["off_distribution", "rendering"]

_LOOKS = {"chat": Look(PURPLE, "pentagon"), "plain": Look(GOLD, "triangle-up")}
_NAMES = {"chat": "chat template", "plain": "plain text"}
_GAP = 84


def rendering(result: Result) -> go.Figure:
    """Erosion (the loss, without a base) per domain under both templates; below, perplexity chat over plain.

    Args:
        result: of :func:`erosion.experiments.rendering_guards`.
    """
    what = "erosion" if "erosion" in result.ours else "loss"
    by_group = result[what]
    names = ["overall", *sorted(name for name in by_group if name != "overall")]
    models = [model for model in MODELS if model in result["perplexity"]]
    heights = [50 * len(names), 40 * len(models)]
    total = sum(heights) + _GAP
    figure = blank(guards_claims.rendering(result), height=total, legend=True, rows=2, gap=_GAP / total)
    share = sum(heights) / total
    lower = share * heights[1] / sum(heights)
    figure.update_layout(yaxis_domain=[lower + _GAP / total, 1], yaxis2_domain=[0, lower])
    panel = marks.Panel(figure, 1)
    at = {name: len(names) - 1 - i for i, name in enumerate(names)}
    every = [by_group[name][kind] for name in names for kind in _LOOKS]
    span = marks.extent([_bare(one) for one in every], 0.0)
    for kind, offset in (("chat", 0.17), ("plain", -0.17)):
        rows = {at[n] + offset: (f"{_NAMES[kind]}, {n}", by_group[n][kind]) for n in names}
        marks.points(panel, rows, _LOOKS[kind], name=_NAMES[kind], span=span)
    marks.upright(panel, 0)
    figure.update_xaxes(range=span, title_text=f"{what} ({every[0].unit})", **panel.place)
    whole = "<b>all domains</b>"
    _rows(panel, {name: whole if name == "overall" else label(name) for name in names})
    _ratios(marks.Panel(figure, 2), {model: result["perplexity"][model]["ratio"] for model in models})
    return figure


def _ratios(panel: marks.Panel, ratios: Mapping[str, Estimate]) -> None:
    """Perplexity under chat over plain, on a logarithmic axis with the level that is flagged."""
    at = {model: len(ratios) - 1 - i for i, model in enumerate(ratios)}
    finite = [n for one in ratios.values() for n in (one.value, one.low, one.high) if 0 < n < math.inf]
    low, high = min([*finite, 0.5]) / 1.1, max([*finite, 2 * MUCH_WORSE]) * 1.1
    marks.beside(panel, "perplexity under the chat template, as a multiple of plain text")
    for model, one in ratios.items():
        rows = {at[model]: (f"{model}, chat over plain", one)}
        marks.points(panel, rows, MODELS[model], name=model, span=(low, high))
    marks.upright(panel, 1)  # plotly leaves lines out of a panel that is still empty
    marks.upright(panel, MUCH_WORSE, dash="dash")
    title = f"ratio (dashed: base is flagged above {MUCH_WORSE:g})"
    ticks = [2.0**n for n in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    ticks = ticks[:: 1 + len(ticks) // 12]
    axis = {"type": "log", "range": [math.log10(low), math.log10(high)], "tickvals": ticks}
    texts = [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks]
    panel.figure.update_xaxes(**axis, ticktext=texts, title_text=title, **panel.place)
    _rows(panel, {model: label(model) for model in ratios})


def off_distribution(result: Result) -> go.Figure:
    """How much more surprising the written answers are than each model's own, both sides, by domain.

    Args:
        result: of :func:`erosion.experiments.off_distribution`.
    """
    named = groups(result)
    models = [model for model in MODELS if any(model in result[group] for group in named)]
    height = 58 * len(named)
    title = guards_claims.off_distribution(result)
    figure = blank(title, height=2 * height + _GAP, legend=True, rows=2, gap=_GAP / (2 * height + _GAP))
    at = {group: len(named) - 1 - i for i, group in enumerate(named)}
    offsets = {model: 0.26 * ((len(models) - 1) / 2 - i) for i, model in enumerate(models)}
    for row, side in enumerate(("aligned answers", "misaligned answers"), start=1):
        panel = marks.Panel(figure, row)
        table = {
            (model, group): result[group][model][side]
            for model in models
            for group in named
            if side in result[group].get(model, {})
        }
        span = marks.extent([*table.values()], 0.0)
        marks.beside(panel, f"written {side}")
        chance = {at[g] + offsets[m]: one.control for (m, g), one in table.items()}
        marks.null_bars(panel, chance, name="chance: two answers of the model's own")
        for model in models:
            rows = {at[g] + offsets[m]: (f"{m}, {g}", one) for (m, g), one in table.items() if m == model}
            marks.points(panel, rows, MODELS[model], name=model, span=span)
        marks.upright(panel, 0)
        axis = {"range": span, "title_text": "surprise above the model's own answers (nats per token)"}
        figure.update_xaxes(**axis, **panel.place)
        _rows(panel, named)
    return figure


def _bare(one: Estimate) -> Estimate:
    """Without its control, which is drawn as a point of its own."""
    return Estimate(one.value, one.low, one.high, one.unit, one.n_questions, one.method, why=one.why)


def _rows(panel: marks.Panel, named: Mapping[str, str]) -> None:
    """Name the rows, and draw fine lines between them."""
    heights = [len(named) - 1 - i for i in range(len(named))]
    axis = {"range": [-0.6, len(named) - 0.4], "tickvals": heights, "ticktext": list(named.values())}
    panel.figure.update_yaxes(**axis, showgrid=False, zeroline=False, **panel.place)
    for height in heights[:-1]:
        marks.level(panel, height - 0.5, colour=LINE, dash="dot")
