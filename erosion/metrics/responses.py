"""What a model said of words, token by token, and what a metric makes of it, question by question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.shapes import Array

__all__ = ["Responses", "Scores"]


@dataclass(frozen=True, eq=False)
class Responses:
    """Each response, token by token, under one model.

    ``log_likelihood[i]`` and ``entropy[i]`` are float64 arrays over the response's tokens: log p of the
    actual token, and the entropy of the distribution it was drawn from, in nats. ``end_of_turn[i]`` is
    log p of the token after the response (NaN where the template writes none). ``ids[i]`` are the tokens.
    """

    questions: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    log_likelihood: tuple[Array, ...]
    entropy: tuple[Array, ...]
    end_of_turn: Array

    def __len__(self) -> int:
        """The number of responses."""
        return len(self.questions)

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact: JSON keeps every bit of a float64."""
        return {
            "schema": 1,
            "questions": self.questions,
            "labels": self.labels,
            "ids": self.ids,
            "log_likelihood": [values.tolist() for values in self.log_likelihood],
            "entropy": [values.tolist() for values in self.entropy],
            "end_of_turn": [None if np.isnan(value) else value for value in self.end_of_turn.tolist()],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Responses":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        return cls(
            tuple(plain["questions"]),
            tuple(plain["labels"]),
            tuple(tuple(ids) for ids in plain["ids"]),
            tuple(np.array(values, dtype=float) for values in plain["log_likelihood"]),
            tuple(np.array(values, dtype=float) for values in plain["entropy"]),
            np.array([np.nan if value is None else value for value in plain["end_of_turn"]], dtype=float),
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """One number for each question: a metric's result. ``unit`` says what it counts."""

    values: Array
    questions: tuple[str, ...]
    name: str
    unit: str

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)
