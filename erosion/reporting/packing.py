"""What pages are made with: their templates, and what they draw, packed to travel inside them."""

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["packed", "templates"]


def templates() -> Environment:
    """The pages' templates: every value is escaped, and a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("erosion.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def packed(
    charts: Sequence[str],
    *,
    views: Sequence[Any] = (),
    tables: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Markup:
    """Figures, token views, tables and scripts as JSON, gzipped, in base85; ``page.js`` unpacks them.

    Base85 has no ``/``, so no script element ends in it; no time is kept, so bytes repeat.
    """
    drawn = {"charts": charts, "views": views, "tables": tables}
    text = json.dumps({"libraries": libraries, "drawn": drawn})
    return Markup(base64.b85encode(gzip.compress(text.encode(), mtime=0)).decode())
