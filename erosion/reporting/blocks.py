"""What the report is made of: sections of blocks, each a claim, its picture, its control and its limits."""

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly

from erosion.figures.style import in_script
from erosion.figures.token_views import TokenViews
from erosion.reporting.tables import Table

__all__ = ["Block", "Section", "spec"]


@dataclass(frozen=True, eq=False)
class Block:
    """One claim with what stands behind it; ``figure`` is None where there is nothing to draw.

    ``view`` shows answers token by token. The numbers are places among all that a page draws.
    """

    claim: str
    meaning: str
    figure: go.Figure | None
    control: str
    limits: str
    tables: tuple[Table, ...]
    view: TokenViews | None = None
    number: int | None = None
    view_number: int | None = None
    table_number: int | None = None

    @property
    def chart(self) -> str:
        """The figure as JSON (see :func:`spec`), empty where there is none."""
        return "" if self.figure is None else spec(self.figure)

    @property
    def height(self) -> int:
        """The chart's height in pixels, kept free before the script has drawn it."""
        return 0 if self.figure is None else height_of(self.figure)


@dataclass(frozen=True, eq=False)
class Section:
    """A heading, a question in plain words, and blocks."""

    id: str
    title: str
    question: str
    blocks: tuple[Block, ...]


def height_of(figure: go.Figure) -> int:
    """The height without the title, which the page sets itself."""
    layout: Any = figure.layout
    return int(layout.height - layout.margin.t + layout.meta["above"])


def spec(figure: go.Figure) -> str:
    """A figure as JSON that is safe inside a script element, its title left to the page."""
    page = figure.to_dict()
    layout = page["layout"]
    layout["title"]["text"] = ""
    layout["margin"]["t"] = layout["meta"]["above"]
    layout |= {"height": height_of(figure), "dragmode": False}
    text = str(to_json_plotly(_rounded(page)))
    return in_script(text)


def _rounded(value: Any) -> Any:
    """Six significant digits of every number: more than a screen has pixels, in a third of the bytes."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
