"""Several runs as a picture: each run's own number, below it what each differs by from one of them."""

import plotly.graph_objects as go

from erosion.comparing import Comparison
from erosion.comparing.differences import Difference
from erosion.comparing.rows import Row
from erosion.figures import comparison_claims as claims
from erosion.figures import marks
from erosion.figures.style import (
    BLUE,
    GOLD,
    GREEN,
    GROUPS,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    WORDS,
    Look,
    blank,
    label,
    literal,
)
from erosion.stats import Estimate

__all__ = ["MOST", "compared_domains", "compared_runs"]

_ROW, _BETWEEN = 34, 104  # pixels for a row, and between the panels for an axis with its name
_MIXED = Look(INK, "hourglass")
_OTHERS = (
    Look(BLUE, "circle"),
    Look(ORANGE, "diamond"),
    Look(GREEN, "square"),
    Look(PURPLE, "pentagon"),
    Look(GOLD, "triangle-up"),
)
MOST = len(_OTHERS)  # rows that a domain's lines can be told apart for


def compared_runs(compared: Comparison) -> go.Figure:
    """Each row's own number with the interval of its audit; below, each minus the row it is held against.

    The intervals above are each run's own, one by one. Those below hold together, and are what tells two
    runs apart: intervals above that overlap say nothing.
    """
    rows, quantity = compared.rows, compared.judged
    panels = _ROW * len(rows) + 12
    height = 2 * panels + _BETWEEN
    figure = blank(claims.compared_runs(compared), height=height, legend=True, rows=2, gap=_BETWEEN / height)
    heights = {row.name: len(rows) - 1 - i for i, row in enumerate(rows)}
    _own(marks.Panel(figure, 1), compared, heights)
    _apart(marks.Panel(figure, 2), compared, heights)
    found = compared.of(quantity)
    unpaired = {name for name, one in found.items() if one.unpaired}
    for i in (1, 2):
        names = {y: _tick(name, i == 2 and name in unpaired) for name, y in heights.items()}
        figure.update_yaxes(
            range=[-0.6, len(rows) - 0.4],
            tickvals=list(names),
            ticktext=list(names.values()),
            showgrid=False,
            zeroline=False,
            row=i,
            col=1,
        )
    return figure


def _tick(name: str, unpaired: bool) -> str:
    return label(name, width=15) + ("<br><i>unpaired</i>" if unpaired else "")


def _own(panel: marks.Panel, compared: Comparison, heights: dict[str, int]) -> None:
    """What each run's audit found."""
    quantity, bound = compared.judged, _smallest(compared)
    estimates = {row.name: row.estimates[quantity] for row in compared.rows}
    span = marks.extent(list(estimates.values()), 0.0, bound)
    said = "erosion (0 = as aligned, 1 = back at base)" if quantity == "erosion" else _loss(compared)
    panel.figure.update_xaxes(range=span, title_text=said, zeroline=False, **panel.place)
    groups: dict[str, dict[int, tuple[str, Estimate]]] = {}
    for row in compared.rows:
        groups.setdefault(_group(row), {})[heights[row.name]] = (row.name, estimates[row.name])
    for word, there in groups.items():
        marks.points(panel, there, WORDS.get(word, _MIXED), name=word, span=span)
    _lines(panel, bound, named=True)


def _group(row: Row) -> str:
    """The verdict of a row's runs, if they have one and the same."""
    return row.words[0] if len(set(row.words)) == 1 else "seeds differ"


def _apart(panel: marks.Panel, compared: Comparison, heights: dict[str, int]) -> None:
    """Each row minus the one that it is held against."""
    found, bound = compared.of(compared.judged), _smallest(compared)
    span = marks.extent([one.estimate for one in found.values()], -bound, bound)
    title = _minus(compared, len(found))
    panel.figure.update_xaxes(range=span, title_text=title, zeroline=False, **panel.place)
    there = {heights[name]: (f"{name} minus {one.against}", one.estimate) for name, one in found.items()}
    marks.points(panel, there, GROUPS["tuned minus aligned"], name="difference", span=span)
    _lines(panel, -bound, bound)
    right = bound + 0.01 * (span[1] - span[0])
    marks.note(panel, "held against", at=(right, heights[compared.against]))


def _lines(panel: marks.Panel, *bounds: float, named: bool = False) -> None:
    """Nothing, and the smallest of interest; its name stands in the legend, where it has room on a phone."""
    colour = WORDS["inconclusive"].colour
    marks.upright(panel, 0)
    for bound in bounds:
        marks.upright(panel, bound, colour=colour, dash="dash")
    if named:
        line = {"color": colour, "width": 1.5, "dash": "dash"}
        name = f"smallest of interest {abs(bounds[0]):g}"
        trace = go.Scatter(x=[None], y=[None], mode="lines", line=line, name=name, legendrank=marks.LAST)
        panel.figure.add_trace(trace, **panel.place)


def _smallest(compared: Comparison) -> float:
    return compared.reference.runs[0].judged(compared.judged)


def _minus(compared: Comparison, together: int) -> str:
    """The name of an axis of differences."""
    family = f", all {together} intervals at once" if together > 1 else ""
    return f"{compared.judged} minus that of {literal(claims.cut(compared.against))}{family}"


def _loss(compared: Comparison) -> str:
    return f"loss of preference ({literal(compared.reference.estimates['loss'].unit)})"


def compared_domains(compared: Comparison) -> go.Figure | None:
    """The differences domain by domain, a line for each row; None where they are too many to tell apart."""
    others = [row.name for row in compared.rows if row.name != compared.against]
    domains = compared.domains
    if not domains or len(others) > MOST:
        return None
    figure = blank(
        claims.compared_domains(compared), height=(12 + 18 * len(others)) * len(domains) + 12, legend=True
    )
    panel, bound = marks.Panel(figure), _smallest(compared)
    found = {domain: compared.of(compared.judged, domain) for domain in domains}
    every: list[Difference] = [one for by_row in found.values() for one in by_row.values()]
    span = marks.extent([one.estimate for one in every], -bound, bound)
    title = _minus(compared, len(every))
    figure.update_xaxes(range=span, title_text=title, zeroline=False)
    step = 0.72 / max(1, len(others))
    for i, (name, look) in enumerate(zip(others, _OTHERS, strict=False)):
        there = {
            len(domains) - 1 - j + 0.36 - step * (i + 0.5): (
                f"{name}, {domain}",
                found[domain][name].estimate,
            )
            for j, domain in enumerate(domains)
            if name in found[domain]
        }
        marks.points(panel, there, look, name=name, span=span)
    _lines(panel, -bound, bound, named=True)
    for between in range(1, len(domains)):
        figure.add_hline(y=between - 0.5, line={"color": LINE, "width": 1})
    figure.update_yaxes(
        range=[-0.6, len(domains) - 0.4],
        tickvals=[len(domains) - 1 - j for j in range(len(domains))],
        ticktext=[label(domain, width=15) for domain in domains],
        showgrid=False,
        zeroline=False,
    )
    return figure
