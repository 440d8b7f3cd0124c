"""From a run folder to one HTML file that opens anywhere, offline."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from erosion import figures
from erosion.auditing import Run, open_run
from erosion.errors import BadRun
from erosion.figures import claims
from erosion.figures.style import DARK
from erosion.figures.token_views import circuitsvis_script, token_asset
from erosion.files import write_atomically
from erosion.reporting.blocks import Section, height_of, spec
from erosion.reporting.headline import WORDS, numbers_of, sentence_of
from erosion.reporting.packing import packed, templates
from erosion.reporting.provenance import asked_of, command_of, config_of, provenance_of, short
from erosion.reporting.sections import sections_of
from erosion.reporting.tables import Table

__all__ = ["report"]

_PAGE = files("erosion.reporting") / "page"
_ToHtml = Callable[[Table], str]


def report(run: Run | str | Path, *, out: str | Path | None = None, slim: bool = False) -> Path:
    """Write a finished run as one self-contained HTML file: no network, no other file, no model.

    Args:
        run: a finished run, or its folder.
        out: the file; ``report.html`` in the run folder if not given.
        slim: scripts and tables compressed as well as pictures: a third of the size. Browsers from 2023 on
            draw the pictures.

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
    environment = templates()
    table = environment.get_template("table.html").module.table if slim else None  # type: ignore[attr-defined]
    content, drawn = _content(run, table)
    # ours, not the user's: they are put in as they are
    style, script = ((_PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    libraries = [get_plotlyjs()]
    if drawn["views"]:
        style += token_asset("tokens.css")
        libraries += [circuitsvis_script(), token_asset("tokens.js")]
    pictures = {
        "libraries": [] if slim else [Markup(one.replace("</script", "<\\/script")) for one in libraries],
        "packed": packed(**drawn, libraries=libraries if slim else []),
    }
    return environment.get_template("page.html").render(
        **content, **pictures, css=Markup(style), js=Markup(script), slim=slim
    )


def _content(run: Run, table: _ToHtml | None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What the page says, and what it draws: figures as text, token views as values, tables where asked."""
    verdict, models = run.verdict, run.manifest["models"]
    first = figures.headline(verdict)
    drawn: dict[str, list[Any]] = {"charts": [spec(first)], "views": [], "tables": []}
    content = {
        "title": f"{verdict.word}: {short(models['tuned']['name'])}",
        "names": {role: short(model["name"]) for role, model in models.items()},
        "contrast": run.manifest["contrast"]["name"],
        "word": verdict.word,
        "words": WORDS,
        "sentence": sentence_of(verdict),
        "numbers": numbers_of(verdict),
        "picture_height": height_of(first),
        "picture_label": claims.headline(verdict),
        "asked": asked_of(run),
        "sections": [_numbered(section, drawn, table) for section in sections_of(run)],
        "layers": range(models["aligned"]["n_layers"]),
        "provenance": provenance_of(run),
        "config": config_of(run),
        "command": command_of(run),
        "version": run.manifest["versions"]["erosion"],
        "dark": Markup(json.dumps(DARK, sort_keys=True)),
    }
    return content, drawn


def _numbered(section: Section, drawn: dict[str, list[Any]], table: _ToHtml | None) -> Section:
    """The section with its pictures' places among all that the page draws, to which they are added."""
    blocks = []
    for block in section.blocks:
        if block.figure is not None:
            block = replace(block, number=len(drawn["charts"]))
            drawn["charts"].append(block.chart)
        view = block.view
        if view is not None:
            block = replace(block, view_number=len(drawn["views"]))
            drawn["views"].append(view.data)
        if table is not None:
            block = replace(block, table_number=len(drawn["tables"]))
            drawn["tables"].append("".join(map(table, block.tables)))
        blocks.append(block)
    return replace(section, blocks=tuple(blocks))
