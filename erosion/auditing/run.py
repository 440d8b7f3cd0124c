"""A finished run, opened for reading: the verdict, the numbers, and what they were made from."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from erosion.auditing.folder import read_manifest
from erosion.auditing.stages import STAGES
from erosion.errors import BadRun
from erosion.experiments import Result, load_result
from erosion.stats import Verdict

__all__ = ["BESIDE", "Run", "open_run"]

BESIDE = frozenset({"summary", "questions"})  # files in results/ that are no experiment's


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder whose audit is complete."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Config, hashes, versions, hardware, timings."""
        return read_manifest(self.path)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``results/summary.json``: the verdict and every headline number."""
        file = self.path / "results" / "summary.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("no object")
            return found
        except FileNotFoundError as error:
            raise BadRun(f"The audit in {self.path} is not finished: run it again, it resumes.") from error
        except (OSError, ValueError) as error:
            raise BadRun(f"{file} cannot be read ({error}): run the audit again.") from error

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole and on each domain."""
        return Verdict.from_json(self.summary["verdict"])

    @property
    def experiments(self) -> tuple[str, ...]:
        """Which experiments there are results of."""
        there = {file.stem for file in (self.path / "results").glob("*.json")} - BESIDE
        return tuple(sorted(there))

    def results_of(self, experiment: str) -> tuple[str, ...]:
        """Which results one experiment of the audit left: mostly one of its own name."""
        asked = {stage.name for stage in STAGES if stage.experiment == experiment}
        return tuple(name for name in self.experiments if name in asked)

    def result(self, experiment: str) -> Result:
        """One experiment's numbers.

        Raises:
            BadRun: it was not run.
        """
        if experiment not in self.experiments:
            raise BadRun(f"{self.path} has no {experiment}: it has {', '.join(self.experiments)}.")
        return load_result(self.path / "results" / f"{experiment}.json")


def open_run(path: str | Path) -> Run:
    """Open a finished run folder.

    Raises:
        BadRun: no run there, not finished, or of a newer version.
    """
    run = Run(Path(path))
    _ = run.manifest, run.summary
    return run
