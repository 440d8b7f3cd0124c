"""The command that sets several runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erosion.cli.audits import Json
from erosion.cli.exits import guarded
from erosion.errors import BadInput

if TYPE_CHECKING:
    from erosion.comparing import Comparison

__all__ = ["compare"]

_SHOWN = 4  # differences side by side in a terminal


def compare(
    runs: Annotated[list[Path] | None, typer.Argument(help="Finished run folders, two or more.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="The run, by name or folder, that the others are held against: else the first."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=RUN: what a run is called; several of one name are seeds of one recipe; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write one HTML page with the figure and every table here.")
    ] = None,
    slim: Annotated[bool, typer.Option("--slim", help="A smaller page.")] = False,
    resamples: Annotated[int, typer.Option(help="Draws of questions.", min=200)] = 2000,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Compare finished runs: fine-tunes, seeds, sizes, architectures, with intervals of differences.

    Example: erosion compare runs/secure runs/insecure --out compare.html
    """

    def work() -> None:
        from erosion.cli.terminal import OUTPUT, show_json
        from erosion.comparing import compare as compute
        from erosion.reporting.comparison import report_comparison

        rows = _rows(runs or [], label or [])
        compared = compute(rows, against=against, resamples=resamples, seed=seed)
        page = None if out is None else report_comparison(compared, out=out, slim=slim)
        if json:
            show_json({"page": None if page is None else str(page), **compared.to_json()})
            return
        _show(compared)
        last = (
            f"Page: {page}"
            if page
            else "For one page with the figure and every table, add --out compare.html"
        )
        OUTPUT.print(last, soft_wrap=True, highlight=False, markup=False)

    guarded(work)


def _rows(runs: list[Path], labels: list[str]) -> dict[str, list[Path]]:
    """Row -> its runs: those named by a label under it, each other one under its folder's name.

    Raises:
        BadInput: a label without a name or a run, a run given twice.
    """
    from erosion.comparing.comparing import names_of

    named: dict[Path, str] = {}
    given: dict[Path, Path] = {}
    for one in labels:
        name, equals, path = one.partition("=")
        if not (name.strip() and equals and path):
            raise BadInput(f"--label {one!r} is no NAME=RUN: give a name and a run folder.")
        place = Path(path).resolve()
        if place in named:
            raise BadInput(f"{path} has two labels, {named[place]!r} and {name!r}: give it one.")
        named[place], given[place] = name, Path(path)
    places = [path.resolve() for path in runs]
    twice = [path for path, place in zip(runs, places, strict=True) if places.count(place) > 1]
    if twice:
        raise BadInput(f"{twice[0]} is given twice: a run has no difference from itself. Name another.")
    given = {**dict(zip(places, runs, strict=True)), **given}
    others = [place for place in given if place not in named]
    own = dict(zip(others, names_of(others), strict=True))
    found: dict[str, list[Path]] = {}
    for place, path in given.items():
        found.setdefault(named.get(place) or own[place], []).append(path)
    return found


def _show(compared: "Comparison") -> None:
    """The claim, what makes it doubtful, and the tables."""
    from rich.text import Text

    from erosion.cli.terminal import ERRORS, OUTPUT, show_table
    from erosion.comparing.rows import QUANTITIES
    from erosion.figures import comparison_claims as claims
    from erosion.reporting.comparison_tables import domain_table, methods_of

    for said in compared.warnings:
        ERRORS.print(Text(f"warning: {said}", style="yellow"), soft_wrap=True)
    OUTPUT.print()
    OUTPUT.print(Text(claims.compared_runs(compared), style="bold"))
    OUTPUT.print()
    order = (compared.judged, *(one for one in QUANTITIES if one != compared.judged))
    for quantity in order:
        show_table(*_table(compared, quantity), left=4)
    if compared.domains and len(compared.rows) - 1 <= _SHOWN:
        table = domain_table(compared)
        show_table(table.columns, table.rows, left=len(table.columns))
    said = [f"{claims.compared_domains(compared)}."] if compared.domains else []
    said += [f"{claims.depths(compared)}."] if any(run.peaks for run in compared.runs) else []
    for line in (*said, *compared.notes, methods_of(compared, whole=True)):
        OUTPUT.print(Text(line), soft_wrap=True)


def _table(compared: "Comparison", quantity: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every row's own number and its difference; the verdicts beside the quantity that was judged."""
    from erosion.figures import comparison_claims as claims
    from erosion.reporting.comparison_tables import cell, in_words

    found, judged = compared.of(quantity), quantity == compared.judged
    lines = []
    for row in compared.rows:
        one = found.get(row.name)
        verdict = (row.word,) if judged else ()
        difference = "held against" if one is None else in_words(one)
        lines.append((row.name, *verdict, cell(row.estimates[quantity]), difference))
    titles = ("run", *(("verdict",) if judged else ()), quantity, f"minus {claims.cut(compared.against)}")
    return titles, lines
