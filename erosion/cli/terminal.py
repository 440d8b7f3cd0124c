"""What a person sees in the terminal: one progress bar, the plan of the work, the verdict as a table."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from erosion.progress import Step, progress

if TYPE_CHECKING:
    from erosion.auditing import Run
    from erosion.auditing.plan import AuditPlan
    from erosion.experiments import Result
    from erosion.stats import DomainVerdict, Estimate

__all__ = [
    "ERRORS",
    "bar",
    "show_calibration",
    "show_claims",
    "show_json",
    "show_plan",
    "show_table",
    "show_verdict",
]


class _Pipe(Console):
    def on_broken_pipe(self) -> None:
        """Let the guard end the command: the reader went away, which is its right."""
        raise BrokenPipeError


ERRORS = Console(stderr=True)
OUTPUT = _Pipe() if sys.stdout.isatty() else _Pipe(width=140)  # a file or a pipe has no edge to wrap at
_COLOURS = {"eroded": "red", "kept": "green", "general damage": "magenta"}


@contextmanager
def bar() -> Iterator[None]:
    """One bar on stderr for whatever long loop is running; none where stderr is no terminal."""
    if not ERRORS.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description:<44.44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=ERRORS, transient=True) as shown:
        task = shown.add_task("starting", total=None)

        def listen(step: Step) -> None:
            shown.update(task, description=step.name, completed=step.done, total=step.total)

        with progress(listen):
            yield


def show_plan(plan: "AuditPlan") -> None:
    """The work ahead, on stderr."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in plan.rows():
        table.add_row(Text(name, style="bold"), Text(value))
    ERRORS.print(table)


def show_json(value: Mapping[str, Any]) -> None:
    """JSON on stdout, for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_verdict(run: "Run") -> None:
    """The verdict as the report's first screen says it."""
    from erosion.reporting.headline import WORDS, numbers_of, sentence_of

    verdict = run.verdict
    sign, gloss, _ = WORDS[verdict.word]
    style = f"bold {_COLOURS.get(verdict.word, 'yellow')}"
    OUTPUT.print()
    OUTPUT.print(
        Text(f"{sign} {verdict.word.upper()}", style=style).append(f"  {gloss}", style="default not bold")
    )
    OUTPUT.print(Text(sentence_of(verdict)))
    numbers = Table(box=None, pad_edge=False, show_header=False)
    for one in numbers_of(verdict):
        numbers.add_row(Text(one.name), Text(one.value, style="bold"), Text(one.interval))
    OUTPUT.print()
    OUTPUT.print(numbers)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("domain", "verdict", verdict.quantity, "95% interval", "questions"):
        table.add_column(title, justify="left" if title in ("domain", "verdict") else "right")
    for part in verdict.domains:
        table.add_row(*_row(part, ""))
    for part in verdict.trained_domains:
        table.add_row(*_row(part, " (trained on)"))
    OUTPUT.print()
    OUTPUT.print(table)


def show_calibration(result: "Result") -> None:
    """Every rate against its target, then the power curves, then the whole audits."""
    from erosion.experiments.calibration import COLUMNS, power_rows, rows

    show_table(COLUMNS, rows(result), left=2)
    words = (
        "simulated",
        "true erosion",
        "questions",
        "audits",
        "eroded",
        "kept",
        "inconclusive",
        "undefined",
    )
    show_table(words, power_rows(result), left=1)
    whole = result.ours.get("end to end")
    if whole:
        show_table(
            ("expected of the whole audit", "found", "audits"),
            [tuple(map(str, row)) for row in whole["expected, found, audits"]],
            left=2,
        )
    counts = ", ".join(f"{count} {name}" for name, count in result["outcomes"].items())
    OUTPUT.print(Text(f"{result.inputs['audits']:,} simulated audits: {counts}."))


def show_table(titles: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> None:
    """A table of words, its first ``left`` columns to the left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i < left else "right")
    for line in lines:
        table.add_row(*map(Text, line))
    OUTPUT.print(table)
    OUTPUT.print()


def show_claims(run: "Run", experiment: str) -> None:
    """What one experiment found: the report's claims about it, in its order."""
    from erosion.reporting import sections_of

    for section in sections_of(run, experiment):
        OUTPUT.print()
        OUTPUT.print(Text(section.title, style="bold"))
        for block in section.blocks:
            OUTPUT.print(Text(f"- {block.claim}"), soft_wrap=True)


def _row(part: "DomainVerdict", note: str) -> tuple[Text, Text, str, str, str]:
    estimate = part.estimate
    colour = _COLOURS.get(part.word, "yellow")
    unit = "" if part.quantity == "erosion" else " nats"
    return (
        Text(part.name + note),
        Text(part.word, style=colour),
        _number(estimate.value) + unit,
        _interval(estimate),
        str(estimate.n_questions),
    )


def _interval(estimate: "Estimate") -> str:
    return "undefined" if estimate.undefined else f"[{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
