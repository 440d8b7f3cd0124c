"""The verdict as a picture: one line for the whole, one row for each domain."""

import plotly.graph_objects as go

from erosion.figures import claims, marks
from erosion.figures.style import MODELS, NULL, WORDS, blank, faded, label, literal
from erosion.stats import DomainVerdict, Verdict

__all__ = ["headline", "verdict_by_domain"]

_ROW, _WHOLE = 34, "all not trained on"


def headline(verdict: Verdict) -> go.Figure:
    """The judged number on one line: 0 where nothing was lost, 1 where the base model is.

    Without a base model the line counts nats per token, and has no such end.

    >>> from erosion.stats import Estimate
    >>> loss = Estimate(0.02, -0.02, 0.06, "nats per token", 96, "cluster t")
    >>> flips = Estimate(0.0, 0.0, 0.04, "share of questions", 96, "exact binomial")
    >>> kept = Verdict("kept", "Kept.", "margin", loss, 0.1, 0.06, (), (), flips, 28, loss)
    >>> headline(kept).layout.title.text
    'Kept: the preference for aligned answers fell by 0.02 [-0.02, 0.06] nats per token'
    """
    figure = blank(claims.headline(verdict), height=92)
    back_at_base = verdict.quantity == "erosion"
    landmarks = (0.0, 1.0) if back_at_base else (0.0, 2 * verdict.smallest)
    low, high = marks.extent([verdict.estimate], *landmarks, verdict.smallest)
    span = low - 0.08 * (high - low), high + 0.08 * (high - low)  # room for words
    figure.update_xaxes(range=span, title_text=_axis(verdict), showgrid=False, zeroline=False)
    figure.update_yaxes(visible=False, range=[-1, 1.2])
    panel, shade = marks.Panel(figure), faded(MODELS["aligned"].colour, 0.07)
    figure.add_vrect(x0=span[0], x1=verdict.smallest, fillcolor=shade, line_width=0)
    _smallest_line(panel, verdict.smallest)
    marks.level(panel, 0)
    _landmark(figure, 0, "aligned", "aligned" if back_at_base else "no loss")
    if back_at_base:
        _landmark(figure, 1, "base", "base")
    look = WORDS[verdict.word]
    marks.points(panel, {0: ("tuned", verdict.estimate)}, look, name=verdict.word, span=span)
    figure.update_traces(
        marker_size=17, error_x={"thickness": 4, "width": 9}, selector={"name": verdict.word}
    )
    if not verdict.estimate.undefined:
        figure.add_annotation(
            x=verdict.estimate.value,
            y=0,
            text="<b>tuned</b>",
            yshift=24,
            showarrow=False,
            font={"color": look.colour},
        )
    return figure


def _landmark(figure: go.Figure, at: marks.Number, model: str, text: str) -> None:
    look = MODELS[model]
    figure.add_trace(
        go.Scatter(
            x=[at],
            y=[0],
            mode="markers+text",
            marker={"color": look.colour, "symbol": look.symbol, "size": 12},
            text=[literal(text)],
            textposition="bottom center",
            textfont={"color": look.colour, "size": 13},
            cliponaxis=False,
            hoverinfo="skip",
        )
    )


def verdict_by_domain(verdict: Verdict) -> go.Figure:
    """Each domain's number with simultaneous intervals, the domains trained on set apart below a line.

    A row that could not be judged in the same quantity as the whole (erosion undefined there) says so: its
    loss in nats per token is on hover and in the table, never on the other axis.
    """
    parts: list[tuple[str, DomainVerdict]] = [("", one) for one in verdict.domains]
    parts += [("trained on", one) for one in verdict.trained_domains]
    parts += [("guard", one) for one in verdict.companions]
    rows: list[tuple[str, str, DomainVerdict | Verdict]] = [(_WHOLE, "whole", verdict)]
    rows += [(one.name, kind, one) for kind, one in parts]
    heights = {len(rows) - 1 - i: row for i, row in enumerate(rows)}
    words = [word for word in WORDS if any(row[2].word == word for row in rows)]
    figure = blank(claims.verdict_by_domain(verdict), height=_ROW * len(rows) + 12, legend=True)
    judged = [part.estimate for _, _, part in rows if part.quantity == verdict.quantity]
    span = marks.extent(judged, 0.0, verdict.smallest)
    figure.update_xaxes(range=span, title_text=_axis(verdict), zeroline=False)
    panel = marks.Panel(figure)
    marks.upright(panel, 0)
    _smallest_line(panel, verdict.smallest)
    for word in words:
        there = {
            y: (row[0], row[2].estimate)
            for y, row in heights.items()
            if row[2].word == word and _same(row[2], verdict)
        }
        marks.points(panel, there, WORDS[word], name=_group(word, verdict), span=span)
    for y, (_, kind, part) in heights.items():
        if not _same(part, verdict):
            why = "" if kind == "guard" else "erosion undefined; "
            said = f"{why}{part.word} in nats per token"
            marks.note(panel, said, at=(span[0] + 0.02 * (span[1] - span[0]), y), why=str(part.loss))
    _separate(figure, [kind for _, kind, _ in rows])
    figure.update_yaxes(
        range=[-0.6, len(rows) - 0.4],
        tickvals=list(heights),
        ticktext=[_named(row[0], row[1]) for row in heights.values()],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _group(word: str, verdict: Verdict) -> str:
    """A row's word as the legend says it: above the bound, where the whole is general damage."""
    return f"above {verdict.smallest:g}" if verdict.word == "general damage" and word == "eroded" else word


def _same(part: DomainVerdict | Verdict, verdict: Verdict) -> bool:
    return part.quantity == verdict.quantity


def _named(name: str, kind: str) -> str:
    if kind == "whole":
        return f"<b>{name}</b>"
    return label(name.removeprefix("harm margin ")) + (f" <i>({kind})</i>" if kind else "")


def _separate(figure: go.Figure, kinds: list[str]) -> None:
    """Lines between the whole, the domains, those trained on, and the guards."""
    for i in range(1, len(kinds)):
        if kinds[i] != kinds[i - 1]:
            figure.add_hline(y=len(kinds) - i - 0.5, line={"color": faded(NULL, 0.22), "width": 1})


def _smallest_line(panel: marks.Panel, at: marks.Number) -> None:
    marks.upright(
        panel, at, colour=WORDS["inconclusive"].colour, dash="dash", name=f"smallest of interest {at:g}"
    )


def _axis(verdict: Verdict) -> str:
    if verdict.quantity == "erosion":
        return "erosion (0 = as aligned, 1 = back at base)"
    return f"loss of preference ({literal(verdict.loss.unit)})"
