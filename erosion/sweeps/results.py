"""What a sweep found: every metric on every question, before and in every cell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from erosion.errors import BadInput, BadRun
from erosion.files import write_json
from erosion.shapes import Array
from erosion.stats import Estimate, mean
from erosion.sweeps.grid import Label

__all__ = ["Sweep", "load_sweep"]


@dataclass(frozen=True, eq=False)
class Sweep:
    """A metric in every cell of a grid, question by question.

    ``cells[i]`` are the labels of cell i and ``said[i]`` its edits in words. ``before[metric]`` is
    ``[question]``, ``after[metric]`` is ``[cell, question]``. ``replayed`` says whether blocks before an edit
    were skipped (False where that was not exact in this model), ``model`` what was edited.
    """

    cells: tuple[Mapping[str, Label], ...]
    said: tuple[str, ...]
    questions: tuple[str, ...]
    before: Mapping[str, Array]
    after: Mapping[str, Array]
    units: Mapping[str, str]
    model: str
    replayed: bool = True

    def __repr__(self) -> str:
        """One line: how many cells, questions and metrics, of what."""
        metrics = " and ".join(self.after)
        return f"Sweep({len(self)} cells, {len(self.questions)} questions, {metrics} of {self.model})"

    def __len__(self) -> int:
        """The number of cells."""
        return len(self.cells)

    def effects(self, metric: str) -> Array:
        """After minus before, ``[cell, question]``, in the metric's unit.

        Raises:
            BadInput: a metric that was not measured.
        """
        if metric not in self.after:
            raise BadInput(f"There is no {metric!r} here: choose one of {', '.join(self.after)}.")
        return self.after[metric] - self.before[metric]

    def change(self, cell: int, metric: str) -> Estimate:
        """The mean effect in one cell with its 95% cluster t interval."""
        return mean(self.effects(metric)[cell], self.questions, unit=self.units[metric])

    def where(self, **labels: Label) -> "Sweep":
        """The cells with these labels.

        Raises:
            BadInput: there is none.
        """
        keep = [i for i, cell in enumerate(self.cells) if all(cell.get(k) == v for k, v in labels.items())]
        if not keep:
            raise BadInput(f"No cell has {labels}: cells look like {dict(self.cells[0])}.")
        return replace(
            self,
            cells=tuple(self.cells[i] for i in keep),
            said=tuple(self.said[i] for i in keep),
            after={metric: values[keep] for metric, values in self.after.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact."""
        return {
            "schema": 1,
            "cells": [dict(cell) for cell in self.cells],
            "said": self.said,
            "questions": self.questions,
            "before": {metric: values.tolist() for metric, values in self.before.items()},
            "after": {metric: values.tolist() for metric, values in self.after.items()},
            "units": dict(self.units),
            "model": self.model,
            "replayed": self.replayed,
        }

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, atomically; :func:`load_sweep` reads it back bit for bit."""
        return write_json(path, self.to_json())


def load_sweep(path: str | Path) -> Sweep:
    """Read what :meth:`Sweep.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        if plain["schema"] > 1:
            raise BadRun(f"{path} has schema {plain['schema']} and this version reads 1: update erosion.")
        return Sweep(
            tuple(plain["cells"]),
            tuple(plain["said"]),
            tuple(plain["questions"]),
            {metric: np.array(values, dtype=float) for metric, values in plain["before"].items()},
            {metric: np.array(values, dtype=float) for metric, values in plain["after"].items()},
            plain["units"],
            plain["model"],
            plain["replayed"],
        )
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadRun(f"{path} holds no sweep that can be read ({error}): sweep again.") from error
