"""One visual language: a colour, a marker and a dash for each thing, the same in every figure.

What is notable: no meaning is carried by colour alone; grey is kept for what chance would give; the
colours stay apart for colour-blind readers and reach 4.5 to 1 against the page, in light and in dark; every
text that comes from a user passes through :func:`literal`, since plotly reads labels as markup.
"""

import functools
import html
import re
import textwrap
import unicodedata
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

__all__ = [
    "DARK",
    "FITS",
    "GROUPS",
    "INK",
    "MODELS",
    "NULL",
    "TOKENS",
    "WORDS",
    "Look",
    "blank",
    "faded",
    "in_script",
    "label",
    "literal",
    "wrapped",
]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
ABOVE, LEGEND = 24, 26  # pixels over the panels for their names, and for one line of legend
INK, SOFT, NULL, LINE, PAPER = "#1d2430", "#566071", "#6b7280", "#dfe3e8", "#ffffff"
BLUE, ORANGE, GREEN, GOLD, PURPLE = "#0068a8", "#c75300", "#00593e", "#664400", "#3d048c"


@dataclass(frozen=True)
class Look:
    """How one thing is drawn, wherever it is drawn."""

    colour: str
    symbol: str
    dash: str = "solid"


MODELS = {
    "base": Look(GREEN, "square", "dot"),
    "aligned": Look(BLUE, "circle", "solid"),
    "tuned": Look(ORANGE, "diamond", "dash"),
}
WORDS = {
    "eroded": Look(ORANGE, "diamond"),
    "kept": Look(BLUE, "circle"),
    "inconclusive": Look(GOLD, "circle-open"),
    "undefined": Look(NULL, "x-thin-open"),
    "general damage": Look(PURPLE, "square"),
}
GROUPS = {
    "style drift": Look(GOLD, "triangle-up", "dashdot"),
    "harm-specific change": Look(PURPLE, "pentagon", "solid"),
    "tuned minus aligned": Look(PURPLE, "pentagon", "solid"),
}
FITS = Look(BLUE, "circle", "solid")
# behind a token's text, black: light forms of the colours above
TOKENS = {
    "none": "#ffffff",
    "aligned": "#6cb4ee",
    "misaligned": "#f5a065",
    "tuned": "#f5a065",
    "difference": "#c9a3ec",
}

_DARK = {
    INK: "#e6e9ee",
    SOFT: "#aab3c0",
    NULL: "#9aa3b0",
    LINE: "#333b47",
    PAPER: "#14181f",
    BLUE: "#5ab4f0",
    ORANGE: "#ff9152",
    GREEN: "#72f29d",
    GOLD: "#f2eb24",
    PURPLE: "#9f6ce5",
}


def faded(colour: str, opacity: float = 0.16) -> str:
    """``colour`` as a see-through fill.

    >>> faded("#0068a8")
    'rgba(0, 104, 168, 0.16)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


OPACITIES = (0.07, 0.16, 0.22)
DARK = _DARK | {faded(light, o): faded(dark, o) for light, dark in _DARK.items() for o in OPACITIES}


def literal(text: object) -> str:
    """``text`` so that plotly shows every character of it: no markup, no formula, one line.

    Right-to-left names are set apart so that they do not turn the numbers beside them around.

    >>> literal("<b>x</b> costs $1")
    '&lt;b&gt;x&lt;/b&gt; costs &#36;1'
    """
    plain = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text)).strip()
    if any(unicodedata.bidirectional(c) in ("R", "AL", "RLE", "RLO", "RLI") for c in plain):
        plain = f"\u2068{plain}\u2069"
    return html.escape(plain, quote=False).replace("$", "&#36;")


def label(text: object, *, width: int = 20) -> str:
    """A name as a tick label: at most two lines of ``width`` characters, the rest cut with an ellipsis.

    >>> label("a_domain_with_a_very_long_name_that_never_seems_to_end", width=16)
    'a_domain_with_a_<br>very_long_name_…'
    """
    lines = textwrap.wrap(re.sub(r"\s+", " ", str(text)), width) or [""]
    if len(lines) > 2:
        lines = [lines[0], lines[1][: width - 1] + "…"]
    return "<br>".join(literal(line) for line in lines)


def wrapped(text: str, *, width: int = 86) -> str:
    """A title on as many lines as it needs."""
    return "<br>".join(literal(line) for line in textwrap.wrap(text, width))


@functools.cache
def _template() -> go.layout.Template:
    axis = {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zerolinecolor": SOFT,
        "zerolinewidth": 1,
        "ticks": "",
        "automargin": True,
        "title": {"font": {"size": 13, "color": SOFT}, "standoff": 8},
        "tickfont": {"size": 12, "color": SOFT},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": INK},
            "title": {
                "font": {"size": 16, "color": INK},
                "x": 0.0,
                "xanchor": "left",
                "xref": "container",
                "pad": {"l": 12},
            },
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": PAPER,
                "bordercolor": SOFT,
                "font": {"family": FONT, "size": 13, "color": INK},
                "align": "left",
            },
            "hovermode": "closest",
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "yref": "paper",
                "yanchor": "bottom",
                "font": {"size": 13, "color": INK},
                "bgcolor": "rgba(0,0,0,0)",
                "itemsizing": "constant",
            },
        }
    )


def blank(title: str, *, height: int, legend: bool = False, rows: int = 1, gap: float = 0.0) -> go.Figure:
    """An empty figure in the house style: ``height`` pixels for all its panels and the gaps between them.

    The title, the legend (which makes itself room, above the panels) and the axis below come on top of it.
    ``gap`` is the share of the height between two of ``rows`` panels.
    """
    text = wrapped(title)
    figure = make_subplots(rows=rows, cols=1, vertical_spacing=gap) if rows > 1 else go.Figure()
    top, bottom = 28 + 22 * (text.count("<br>") + 1), 56
    above = ABOVE + (LEGEND if legend else 0)
    whole = height + top + above + bottom
    figure.update_layout(
        template=_template(),
        title={"text": text, "y": 1 - 14 / whole, "yanchor": "top", "yref": "container", "pad": {"l": 12}},
        height=whole,
        margin={"l": 12, "r": 18, "t": top + above, "b": bottom},
        showlegend=legend,
        legend_y=1 + ABOVE / height,
        meta={"above": above},
    )
    return figure


def in_script(text: str) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element or begins another.

    >>> in_script('"</script>"')
    '"\\\\u003c/script\\\\u003e"'
    """
    for unsafe in "<>&\u2028\u2029":
        text = text.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return text
