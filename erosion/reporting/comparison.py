"""From a comparison to one HTML file that opens anywhere, offline, in the look of the report."""

import json
import re
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from erosion import __version__
from erosion.comparing import Comparison
from erosion.errors import BadInput
from erosion.figures import comparison, comparison_claims
from erosion.figures.style import DARK
from erosion.files import write_atomically
from erosion.reporting.blocks import Block, height_of
from erosion.reporting.comparison_tables import (
    domain_table,
    main_table,
    peak_table,
    provenance_tables,
    setup_tables,
)
from erosion.reporting.packing import packed, templates
from erosion.reporting.tables import Table

__all__ = ["LIMITS", "command_of", "report_comparison"]

_PAGE = files("erosion.reporting") / "page"
LIMITS = (
    "An interval over questions holds for these checkpoints: another seed of the same recipe may give "
    "another number, and only rows of three seeds or more say by how much.",
    "Erosion is a share of what alignment added to each run's own aligned model. Between architectures or "
    "sizes that amount differs too: the loss in nats per token stands beside it.",
    "Runs differ in more than one thing at a time unless the table of setups says otherwise: a difference is "
    "not thereby the effect of any of them.",
    "The harm margin is a preference between two given answers, not behaviour in the wild.",
)


def report_comparison(compared: Comparison, *, out: str | Path, slim: bool = False) -> Path:
    """Write a comparison as one self-contained HTML file: no network, no other file, no model.

    Args:
        compared: what :func:`erosion.compare` gave.
        out: the file, ending in ``.html``.
        slim: the script compressed too: a third of the size. Browsers from 2023 on draw the pictures.

    Returns:
        The file. The same runs give the same bytes.

    Raises:
        BadInput: another ending, or a file that can not be written.

    Memory: some 20 MB.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"{out} is no HTML file: give --out a name that ends in .html.")
    if out.is_dir():
        raise BadInput(f"{out} is a folder: give --out the name of a file that ends in .html.")
    return write_atomically(out, _page(compared, slim=slim).encode())


def _page(compared: Comparison, *, slim: bool) -> str:
    environment = templates()
    # ours, not the user's: they are put in as they are
    style, script = (Markup((_PAGE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    first, domains, depths = _whole(compared), _domains(compared), _depths(compared)
    blocks = [one for one in (first, domains, depths) if one is not None]
    charts = [block.chart for block in blocks if block.figure is not None]
    return environment.get_template("comparison.html").render(
        title=first.claim,
        first=first,
        first_height=height_of(first.figure) if first.figure is not None else 0,
        domains=domains,
        depths=depths,
        runs=len(compared.runs),
        rows=len(compared.rows),
        against=compared.against,
        warnings=compared.warnings,
        notes=compared.notes,
        limits=LIMITS,
        setups=setup_tables(compared),
        provenance=provenance_tables(compared),
        command=command_of(compared),
        version=__version__,
        css=style,
        js=script,
        dark=Markup(json.dumps(DARK, sort_keys=True)),
        packed=packed(charts, libraries=[get_plotlyjs()] if slim else []),
        plotly="" if slim else Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )


def _whole(compared: Comparison) -> Block:
    return Block(
        comparison_claims.compared_runs(compared),
        "Above, what each run's own audit found, with its own interval. Below, each run minus the one it is "
        "held against; these intervals hold together, and they alone tell two runs apart: overlap above does "
        "not. Between the dashed lines a difference is smaller than the smallest of interest.",
        comparison.compared_runs(compared),
        "",
        "",
        (_unbroken(main_table(compared)),),
        number=0,
    )


def _domains(compared: Comparison) -> Block | None:
    if not compared.domains:
        return None
    figure = comparison.compared_domains(compared)
    shown = "" if figure is not None else " With so many runs the table alone shows them."
    return Block(
        comparison_claims.compared_domains(compared),
        "The same differences domain by domain. All of them hold together, so each is wider than it would be "
        f"alone.{shown}",
        figure,
        "",
        "",
        (_unbroken(domain_table(compared)),),
        number=None if figure is None else 1,
    )


def _depths(compared: Comparison) -> Block | None:
    table = peak_table(compared)
    if not table.rows:
        return None
    return Block(
        comparison_claims.depths(compared),
        "Where each layer curve is highest, as the share of the blocks that lie behind it, so that models of "
        "different depth can be compared. The layers beside it are those that the curve's own band cannot "
        "tell from the highest; where that is every layer, there is no peak to speak of.",
        None,
        "",
        "",
        (_unbroken(table),),
    )


def command_of(compared: Comparison) -> str:
    """The command that makes this comparison again."""
    words: Sequence[str] = [
        f"--label {shlex.quote(f'{row.name}={run.path}')}" for row in compared.rows for run in row.runs
    ]
    return f"erosion compare {' '.join(words)} --against {shlex.quote(compared.against)}"


def _unbroken(table: Table) -> Table:
    """The table with no line broken inside an interval."""
    kept = (tuple(re.sub(r"(\[[^\],]+,) ", "\\1\u00a0", one) for one in row) for row in table.rows)
    return Table(table.caption, table.columns, tuple(kept))
