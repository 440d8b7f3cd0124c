"""From a run folder to one HTML file that opens anywhere, offline."""

import base64
import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from erosion import figures
from erosion.auditing import Run, open_run
from erosion.errors import BadRun
from erosion.figures import claims
from erosion.figures.style import DARK
from erosion.files import write_atomically
from erosion.reporting.blocks import height_of, spec
from erosion.reporting.headline import WORDS, numbers_of, sentence_of
from erosion.reporting.provenance import asked_of, command_of, config_of, provenance_of, short
from erosion.reporting.sections import sections_of

__all__ = ["report"]

_PAGE = files("erosion.reporting") / "page"


def report(run: Run | str | Path, *, out: str | Path | None = None, slim: bool = False) -> Path:
    """Write a finished run as one self-contained HTML file: no network, no other file, no model.

    Args:
        run: a finished run, or its folder.
        out: the file; ``report.html`` in the run folder if not given.
        slim: embed the drawing script compressed: 2 MB in place of 5, for browsers from 2023 on.

    Returns:
        The file. The same run gives the same bytes.

    Raises:
        BadRun: no finished run there, or results that can not be read.
        BadInput: the file can not be written.

    Memory: some 20 MB.

    >>> report("runs/none")
    Traceback (most recent call last):
    erosion.errors.BadRun: There is no run at runs/none: run erosion audit or erosion demo first.
    """
    run = run if isinstance(run, Run) else open_run(run)
    try:
        page = _page(run, slim=slim)
    except KeyError as error:
        raise BadRun(f"The results in {run.path} lack {error}: run the audit again.") from error
    return write_atomically(Path(out) if out is not None else run.path / "report.html", page.encode())


def _page(run: Run, *, slim: bool) -> str:
    environment = Environment(
        loader=PackageLoader("erosion.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # ours, not the user's: they are put in as they are
    style, script = (Markup((_PAGE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        **_content(run), css=style, js=script, plotly=_script(slim=slim), slim=slim
    )


def _content(run: Run) -> dict[str, Any]:
    verdict, models = run.verdict, run.manifest["models"]
    first = figures.headline(verdict)
    return {
        "title": f"{verdict.word}: {short(models['tuned']['name'])}",
        "names": {role: short(model["name"]) for role, model in models.items()},
        "contrast": run.manifest["contrast"]["name"],
        "word": verdict.word,
        "words": WORDS,
        "sentence": sentence_of(verdict),
        "numbers": numbers_of(verdict),
        "picture": Markup(spec(first)),
        "picture_height": height_of(first),
        "picture_label": claims.headline(verdict),
        "asked": asked_of(run),
        "sections": sections_of(run),
        "provenance": provenance_of(run),
        "config": config_of(run),
        "command": command_of(run),
        "version": run.manifest["versions"]["erosion"],
        "dark": Markup(json.dumps(DARK, sort_keys=True)),
    }


def _script(*, slim: bool) -> Markup:
    """plotly's script, once: as it is, or gzipped in base64 (no time in it, so that bytes repeat)."""
    source = get_plotlyjs()
    if slim:
        return Markup(base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode())
    return Markup(source.replace("</script", "<\\/script"))
