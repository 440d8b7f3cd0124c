"""Figures as files: PNG, SVG and PDF for a paper, HTML for a page, JSON for another program."""

import re
from pathlib import Path

import plotly.graph_objects as go

from erosion.errors import BadInput
from erosion.figures.token_views import TokenViews
from erosion.files import write_atomically

__all__ = ["save"]

_IMAGES = ("png", "svg", "pdf", "webp")
_WIDTH = 760  # pixels: a column and a half of a paper


def save(
    figure: go.Figure | TokenViews, path: str | Path, *, width: int = _WIDTH, scale: float = 2.0
) -> Path:
    """Write a figure as the file's ending says: an image (PNG, SVG, PDF, WebP), HTML or JSON.

    Images are drawn by Chromium through kaleido (``pip install 'alignment-erosion[export]'``); HTML holds
    plotly's script and asks nothing of the network.

    Args:
        figure: what a function of ``erosion.figures`` gave.
        path: where; written atomically.
        width: of an image, in pixels.
        scale: pixels of a PNG for each of ``width``'s: 2 is sharp in print at half its size.

    Raises:
        BadInput: another ending; a token view, which is HTML alone; no kaleido or no browser for an image.

    >>> import plotly.graph_objects as go
    >>> save(go.Figure(), "figure.bmp")
    Traceback (most recent call last):
    erosion.errors.BadInput: figure.bmp: write .png, .svg, .pdf, .webp, .html or .json.
    """
    out, ending = Path(path), Path(path).suffix.lower().removeprefix(".")
    if isinstance(figure, TokenViews):
        if ending != "html":
            raise BadInput(f"{out}: a token view is a page, so write .html.")
        return figure.save(out)
    if ending == "html":
        return write_atomically(out, figure.to_html(include_plotlyjs=True, full_html=True).encode())
    if ending == "json":
        return write_atomically(out, str(figure.to_json()).encode())
    if ending not in _IMAGES:
        raise BadInput(f"{out}: write .png, .svg, .pdf, .webp, .html or .json.")
    return write_atomically(out, _image(figure, ending, width, scale))


def _image(figure: go.Figure, ending: str, width: int, scale: float) -> bytes:
    height = figure.layout.height or 450  # type: ignore[attr-defined]
    try:
        drawn = figure.to_image(format=ending, width=width, height=height, scale=scale)
    except (ImportError, ValueError) as error:
        raise BadInput(
            f"A {ending} needs kaleido: pip install 'alignment-erosion[export]' ({_first_line(error)})."
        ) from error
    except RuntimeError as error:
        raise BadInput(
            f"A {ending} needs Chromium or Chrome on this machine ({_first_line(error)}): install it, or "
            "write .html."
        ) from error
    return bytes(drawn)


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:120]
