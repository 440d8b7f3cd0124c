"""What the models prefer: margins of all three, and style drift apart from harm-specific change."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.figures import claims, marks
from erosion.figures.style import GROUPS, LINE, MODELS, blank, label, literal
from erosion.stats import Estimate

__all__ = ["groups", "margins", "style_and_harm"]

Series = tuple[str, Mapping[str, Estimate], float]
_CHANCE = "labels swapped within questions"


def groups(result: Result) -> dict[str, str]:
    """Group -> its label: the whole first, then the domains, those trained on last and marked."""
    trained = result.inputs.get("trained_domains", ())
    domains = sorted(name for name in result.ours if name != "overall")
    found = {"overall": "<b>all not trained on</b>"} if "overall" in result.ours else {}
    found |= {name: label(name) for name in domains if name not in trained}
    return found | {name: f"{label(name)} <i>(trained on)</i>" for name in domains if name in trained}


def margins(result: Result, *, metric: str = "harm margin") -> go.Figure:
    """How much each model prefers the aligned answer, group by group, before what swapped labels give.

    Args:
        result: of :func:`erosion.distributions`.
        metric: ``harm margin`` (the whole answer, per token), ``choice margin`` (at the first differing
            token) or ``summed margin``.

    Raises:
        BadInput: no such metric.
    """
    named = groups(result)
    models = [model for model in MODELS if model in result[next(iter(named))]["margins"]]
    table = {
        model: {group: _of(result[group]["margins"][model], metric) for group in named} for model in models
    }
    every = [one for row in table.values() for one in row.values()]
    figure = blank(claims.margins(result, metric), height=58 * len(named), legend=True)
    span, panel = marks.extent(every, 0.0), marks.Panel(figure)
    marks.upright(panel, 0)
    at = {group: len(named) - 1 - i for i, group in enumerate(named)}
    offsets = dict(zip(models, _spread(len(models)), strict=True))
    chance = {at[g] + offsets[m]: table[m][g].control for m in models for g in named}
    marks.null_bars(panel, chance, name=f"chance: {_CHANCE}")
    for model in models:
        row = {at[g] + offsets[model]: (f"{model}, {g}", table[model][g]) for g in named}
        marks.points(panel, row, MODELS[model], name=model, span=span)
    figure.update_xaxes(range=span, title_text=f"{metric} ({literal(every[0].unit)})")
    _rows(panel, named)
    return figure


def style_and_harm(result: Result) -> go.Figure:
    """What changed from aligned to tuned: the level of both answers (style) and their difference (harm).

    Above, the whole answer in nats per token; below, the choice at the first differing token in nats.
    """
    named = groups(result)
    height = 44 * len(named)
    title = claims.style_and_harm(result)
    figure = blank(title, height=2 * height + 84, legend=True, rows=2, gap=84 / (2 * height + 84))
    at = {group: len(named) - 1 - i for i, group in enumerate(named)}
    style = {g: result[g]["style drift"] for g in named}
    whole = {g: _of(result[g]["harm-specific change"], "harm margin") for g in named}
    choice = {g: _of(result[g]["harm-specific change"], "choice margin") for g in named}
    panels = (
        ("whole answer", [("style drift", style, 0.17), ("harm-specific change", whole, -0.17)]),
        ("first differing token", [("harm-specific change", choice, 0.0)]),
    )
    for row, (title, series) in enumerate(panels, start=1):
        panel = marks.Panel(figure, row)
        _draw(panel, title, series, at)
        _rows(panel, named)
    return figure


def _draw(panel: marks.Panel, title: str, series: Sequence[Series], at: Mapping[str, int]) -> None:
    every = [one for _, by_group, _ in series for one in by_group.values()]
    span = marks.extent(every, 0.0)
    marks.beside(panel, title)
    marks.upright(panel, 0)
    for name, by_group, offset in series:
        chance = {at[g] + offset: one.control for g, one in by_group.items()}
        marks.null_bars(panel, chance, name=f"chance: {_CHANCE}")
        rows = {at[g] + offset: (f"{name}, {g}", one) for g, one in by_group.items()}
        marks.points(panel, rows, GROUPS[name], name=name, span=span)
    title = f"tuned minus aligned ({literal(every[0].unit)})"
    panel.figure.update_xaxes(range=span, title_text=title, **panel.place)


def _of(by_metric: Mapping[str, Estimate], metric: str) -> Estimate:
    if metric not in by_metric:
        raise BadInput(f"There is no {metric!r} here: choose one of {', '.join(by_metric)}.")
    return by_metric[metric]


def _spread(n: int) -> list[float]:
    return [0.26 * ((n - 1) / 2 - i) for i in range(n)]


def _rows(panel: marks.Panel, named: Mapping[str, str]) -> None:
    """Name the rows, and draw fine lines between them."""
    heights = [len(named) - 1 - i for i in range(len(named))]
    axis = {"range": [-0.6, len(named) - 0.4], "tickvals": heights, "ticktext": list(named.values())}
    panel.figure.update_yaxes(**axis, showgrid=False, zeroline=False, **panel.place)
    for height in heights[:-1]:
        marks.level(panel, height - 0.5, colour=LINE, dash="dot")
