"""What a page draws, as text small enough to travel inside it; ``page.js`` unpacks it."""

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

__all__ = ["packed"]


def packed(
    charts: Sequence[str],
    *,
    views: Sequence[Any] = (),
    tables: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Markup:
    """Figures, token views, tables and scripts as JSON, gzipped, in base85.

    Base85 has no ``/``, so no script element ends in it; no time is kept, so bytes repeat.
    """
    drawn = {"charts": charts, "views": views, "tables": tables}
    text = json.dumps({"libraries": libraries, "drawn": drawn})
    return Markup(base64.b85encode(gzip.compress(text.encode(), mtime=0)).decode())
