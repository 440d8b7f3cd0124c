"""Compare runs: one row each, or one for the seeds of a recipe, and each minus the row it is held against."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from erosion.auditing import Run
from erosion.comparing.differences import Difference, differences_of
from erosion.comparing.opening import Opened, opened
from erosion.comparing.rows import QUANTITIES, SEEDS, Row, row_of
from erosion.comparing.setups import changes_of, setup_of, warnings_of
from erosion.errors import BadInput

__all__ = ["SCHEMA", "Comparison", "compare", "names_of"]

SCHEMA = 1
AnyRun = Run | str | Path


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs side by side.

    ``rows`` in the order given; ``against`` names the row that the others are held against; ``judged`` is
    the quantity in which domains are compared, ``erosion`` or, where some run has none, ``loss``.
    """

    rows: tuple[Row, ...]
    against: str
    judged: str
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]

    @property
    def runs(self) -> tuple[Opened, ...]:
        """Every run, row by row."""
        return tuple(run for row in self.rows for run in row.runs)

    @property
    def reference(self) -> Row:
        """The row that the others are held against."""
        return next(row for row in self.rows if row.name == self.against)

    @cached_property
    def setups(self) -> dict[str, dict[str, str]]:
        """Run -> what it was made from."""
        return {run.name: setup_of(run) for run in self.runs}

    @property
    def changes(self) -> tuple[str, ...]:
        """Which entries of the setups are not the same in all runs."""
        return changes_of(self.setups)

    def of(self, quantity: str, domain: str | None = None) -> dict[str, Difference]:
        """Row -> its difference in one quantity, over all domains (None) or one.

        Raises:
            BadInput: no such quantity.
        """
        if quantity not in QUANTITIES:
            raise BadInput(f"There is no {quantity!r} in a comparison: choose {', '.join(QUANTITIES)}.")
        return {d.row: d for d in self.differences if d.quantity == quantity and d.domain == domain}

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains in which something is compared."""
        return tuple(dict.fromkeys(d.domain for d in self.differences if d.domain is not None))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the intervals hold for: seeds, rows that could not be paired, rows without erosion."""
        about = [f"{row.name}: {row.note}." for row in self.rows if row.note]
        without = [row for row in self.rows if row.estimates["erosion"].undefined]
        if without:
            why = "; ".join(f"{row.name}: {row.estimates['erosion'].why}" for row in without[:3])
            more = f"; and {len(without) - 3} more" if len(without) > 3 else ""
            about.append(
                f"The figure and the domains are in nats per token, since erosion is undefined ({why}{more})."
            )
        seeds = [row.name for row in self.rows if row.seeds]
        if seeds and self.reference.seeds is None:
            about.append(
                f"{self.against} is not of {SEEDS} seeds or more: what another seed of it would give is in "
                "no interval."
            )
        why = {d.row: d.unpaired for d in self.differences if d.unpaired and d.domain is None}
        about += [f"{row} is not paired with {self.against}: {said}." for row, said in why.items()]
        return tuple(about)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "schema": SCHEMA,
            "against": self.against,
            "judged": self.judged,
            "rows": [row.to_json() for row in self.rows],
            "differences": [one.to_json() for one in self.differences],
            "setups": self.setups,
            "changes": list(self.changes),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def compare(
    runs: Sequence[AnyRun] | Mapping[str, AnyRun | Sequence[AnyRun]],
    *,
    against: str | Path | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Runs side by side, and each minus one of them, with intervals that hold for all of them at once.

    Where two runs asked the same questions the difference is taken question by question; runs made before
    questions were kept are compared from their intervals, and the result says so. Nothing is measured here
    and no model is loaded.

    Args:
        runs: finished runs or their folders; or name -> run, or name -> the runs of several seeds of one
            recipe, which then make one row.
        against: the row, by name or by the folder of one of its runs, that the others are held against;
            the first if not given.
        resamples: draws of questions.
        seed: of the draws.

    Raises:
        BadInput: fewer than two rows, a run given twice, nothing called ``against``.
        BadRun: no finished run there, damaged, or of a newer version.

    Memory: about 20 MB for the largest run, and a few kilobytes for every other one.

    >>> compare(["runs/none", "runs/other"])
    Traceback (most recent call last):
    erosion.errors.BadRun: There is no run at runs/none: run erosion audit or erosion demo first.
    """
    named = _named(runs)
    _refuse_twice(named)
    if len(named) < 2:
        raise BadInput(
            f"{len(named) or 'No'} row{'s' if len(named) != 1 else ''} to compare: give at least two runs."
        )
    if resamples < 200:
        raise BadInput(f"{resamples} resamples cannot show a tail: give at least 200, better 2000.")
    found = {name: _opened(name, paths) for name, paths in named.items()}
    judged = "erosion" if _all_eroded(found) else "loss"
    rows = tuple(row_of(name, group, judged=judged) for name, group in found.items())
    reference = _reference(rows, against)
    everyone = tuple(run for row in rows for run in row.runs)
    smallest = {quantity: reference.runs[0].judged(quantity) for quantity in ("erosion", "loss")}
    differences = differences_of(
        rows, reference, judged=judged, smallest=smallest, resamples=resamples, seed=seed
    )
    return Comparison(rows, reference.name, judged, differences, warnings_of(everyone))


def _named(runs: Sequence[AnyRun] | Mapping[str, AnyRun | Sequence[AnyRun]]) -> dict[str, list[Path]]:
    """Row -> the folders of its runs."""
    if isinstance(runs, Mapping):
        found = {}
        for name, given in runs.items():
            several = [given] if isinstance(given, Run | str | Path) else list(given)
            shown = _one_line(name)
            if not shown or not several:
                raise BadInput(f"The row {str(name)!r} has no {'run' if shown else 'name'}: give it one.")
            if shown in found:
                raise BadInput(f"Two rows are called {shown!r}: give each a name of its own.")
            found[shown] = [_path(one) for one in several]
        return found
    if isinstance(runs, Run | str | Path):
        runs = [runs]
    paths = [_path(one) for one in runs]
    _refuse_twice({"": paths})
    return {name: [path] for name, path in zip(names_of(paths), paths, strict=True)}


def _one_line(name: object) -> str:
    """A name without breaks and control characters, which a terminal would obey; set apart if it turns text.

    >>> _one_line("two\\nlines\\x1b[2J")
    'two lines [2J'
    """
    plain = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", str(name)).strip()
    turns = any(unicodedata.bidirectional(one) in ("R", "AL", "RLE", "RLO", "RLI") for one in plain)
    return f"\u2068{plain}\u2069" if turns and not plain.startswith("\u2068") else plain


def _path(run: AnyRun) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def names_of(paths: Sequence[Path]) -> list[str]:
    """Each folder's own name, with as many of its parents as tell it from the others."""
    whole = [path.resolve() for path in paths]
    for depth in range(1, max((len(path.parts) for path in whole), default=1) + 1):
        names = [_one_line("/".join(path.parts[-depth:])) for path in whole]
        if len(set(names)) == len(names):
            return names
    return [_one_line(path) for path in whole]


def _refuse_twice(named: Mapping[str, Sequence[Path]]) -> None:
    seen = Counter(path.resolve() for paths in named.values() for path in paths)
    twice = [path for path, count in seen.items() if count > 1]
    if twice:
        raise BadInput(f"{twice[0]} is given twice: a run has no difference from itself. Name another.")


def _opened(name: str, paths: Sequence[Path]) -> tuple[Opened, ...]:
    """The runs of one row; several are called by the row and their folder."""
    if len(paths) == 1:
        return (opened(paths[0], name=name),)
    return tuple(
        opened(path, name=f"{name}: {short}") for path, short in zip(paths, names_of(paths), strict=True)
    )


def _all_eroded(found: Mapping[str, Sequence[Opened]]) -> bool:
    """Whether every run could judge erosion."""
    return all(not run.estimate("erosion").undefined for group in found.values() for run in group)


def _reference(rows: Sequence[Row], against: str | Path | None) -> Row:
    if against is None:
        return rows[0]
    by_name = [row for row in rows if row.name in (str(against), _one_line(against))]
    place = Path(against).resolve()
    by_path = [row for row in rows for run in row.runs if run.path.resolve() == place]
    if not by_name and not by_path:
        names = ", ".join(row.name for row in rows)
        raise BadInput(f"Nothing compared is called {str(against)!r}: against is one of {names}.")
    return (by_name or by_path)[0]
