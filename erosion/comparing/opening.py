"""One run folder, as much of it as a comparison needs: a few kilobytes, whatever the run weighs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erosion.auditing import Run, open_run
from erosion.auditing.questions import Asked, load_asked
from erosion.comparing.layers import Peak, peaks_of
from erosion.errors import BadInput, BadRun
from erosion.experiments.results import SCHEMA
from erosion.stats import DomainVerdict, Estimate, Margins, Verdict

__all__ = ["Opened", "opened", "readable", "shared_margins"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A finished run: its manifest, its verdict, its questions (None where they were not kept) and peaks."""

    name: str
    path: Path
    manifest: dict[str, Any]
    verdict: Verdict
    asked: Asked | None
    peaks: tuple[Peak, ...]

    def estimate(self, quantity: str) -> Estimate:
        """The run's own number, as its verdict has it."""
        verdict = self.verdict
        if quantity == "loss":
            return verdict.loss
        return verdict.sign_changes if quantity == "changed sides" else _erosion(verdict)

    def domain(self, name: str, quantity: str) -> Estimate | None:
        """The same of one domain that was not trained on; None where there is no such domain."""
        found = [part for part in self.verdict.domains if part.name == name]
        if not found:
            return None
        return found[0].loss if quantity == "loss" else _erosion(found[0])

    def judged(self, quantity: str) -> float:
        """The smallest of interest that the run was asked for."""
        return float(self.manifest["config"]["smallest"]["erosion" if quantity == "erosion" else "margin"])


def _erosion(part: Verdict | DomainVerdict) -> Estimate:
    """Erosion where it was judged; undefined, with the reason, where the loss was judged instead."""
    one = part.estimate
    if part.quantity == "erosion":
        return one
    nan = float("nan")
    return Estimate(nan, nan, nan, "fraction", one.n_questions, one.method, why=one.why or "not judged")


def opened(run: Run | str | Path, *, name: str) -> Opened:
    """Read one run.

    Raises:
        BadRun: no run there, not finished, damaged, or of a newer version.
    """
    path = run.path if isinstance(run, Run) else Path(run)
    with readable(path):
        run = open_run(path)
        schema = run.summary["schema"]
        if schema > SCHEMA:
            raise BadRun(
                f"{path} has a summary of schema {schema} and this version reads {SCHEMA}: update erosion."
            )
        found = Opened(name, path, run.manifest, run.verdict, load_asked(path), peaks_of(run))
        _ = [found.manifest[key] for key in ("models", "contrast", "template", "versions", "identity")]
        _ = found.judged("erosion"), found.judged("loss")
    return found


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever damaged JSON leads to into one line about the run."""
    try:
        yield
    except BadRun:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise BadRun(f"The results in {path} cannot be read ({said}): run the audit again.") from error


def shared_margins(runs: Sequence[Opened], *, domain: str | None = None) -> tuple[Margins, ...] | str:
    """Each run's harm margins on the questions that all of them asked and none was trained on.

    The questions come in one order. Words in place of margins say why the runs cannot be paired.
    """
    found: list[Asked] = []
    for run in runs:
        if run.asked is None:
            return f"{run.name} keeps no margins by question: run its audit again"
        found.append(run.asked)
    first = found[0]
    for run, asked in zip(runs, found, strict=True):
        if asked.contrast != first.contrast or set(asked.questions) != set(first.questions):
            return f"{runs[0].name} and {run.name} asked other questions"
    trained = frozenset().union(*(asked.trained_domains for asked in found))
    kept = {
        question
        for question, of in zip(first.questions, first.domains, strict=True)
        if of not in trained and domain in (None, of)
    }
    if not kept:
        return "every question is about what one of them was trained on"
    margins = tuple(
        asked.where([i for i, question in enumerate(asked.questions) if question in kept]) for asked in found
    )
    broken = [f"in {run.name} {one.broken}" for run, one in zip(runs, margins, strict=True) if one.broken]
    return broken[0] if broken else margins
