"""Response positions that every question of a comparison has, so that no position is filled from the data.

Answers differ in length. Filling the short ones (with zeros, or with the mean of their own group, as has
been published) makes the length or the label itself a feature; letting questions drop out along a curve
changes what it is a mean of. So a length is chosen that most questions reach, the few that do not are left
out altogether and counted, and every position is about the same questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erosion.errors import BadInput
from erosion.metrics import Responses
from erosion.shapes import Array, Float

__all__ = ["MOST", "SharedPositions", "relative_bins", "shared_positions"]

MOST = 64  # positions: as many as the paper takes


@dataclass(frozen=True)
class SharedPositions:
    """The first ``length`` response positions, which all of ``questions`` have on every side.

    ``left_out`` are the questions with a shorter response.
    """

    length: int
    questions: tuple[str, ...]
    left_out: tuple[str, ...]


def shared_positions(scored: Responses, *, most: int = MOST, reached_by: float = 0.9) -> SharedPositions:
    """The longest start, of at most ``most`` tokens, that a share ``reached_by`` of the questions reaches.

    Args:
        scored: all responses; a question reaches a length when every one of its responses does.
        most: positions at most.
        reached_by: which share of the questions must stay.

    Raises:
        BadInput: no response, or a share outside (0, 1].

    >>> tokens = tuple(np.zeros(n) for n in (3, 5, 4))
    >>> scored = Responses(("a", "b", "c"), ("x",) * 3, ((), (), ()), tokens, tokens, np.zeros(3))
    >>> shared_positions(scored, reached_by=0.6)
    SharedPositions(length=4, questions=('b', 'c'), left_out=('a',))
    """
    if not len(scored) or not 0 < reached_by <= 1:
        raise BadInput(
            f"{len(scored)} responses of which a share of {reached_by:g} is to stay: give at least one "
            "response, and a share above 0 and up to 1."
        )
    shortest: dict[str, int] = {}
    for question, tokens in zip(scored.questions, scored.log_likelihood, strict=True):
        shortest[question] = min(len(tokens), shortest.get(question, len(tokens)))
    lengths = np.sort(list(shortest.values()))[::-1]
    needed = int(np.ceil(reached_by * len(lengths) - 1e-9))
    length = min(most, int(lengths[needed - 1]))
    kept = tuple(question for question, n in shortest.items() if n >= length)
    return SharedPositions(
        length, kept, tuple(question for question in shortest if question not in set(kept))
    )


def relative_bins(values: Sequence[Array], bins: int) -> Float[Array, "exchange position"]:
    """Each response's mean over its first, second, … n-th part of equal length, shares of tokens counted.

    A token that lies across an edge counts on both sides by its share, so that no part is ever empty.

    >>> relative_bins([np.array([1.0, 2.0, 4.0]), np.array([5.0])], 2).tolist()
    [[1.3333333333333333, 3.3333333333333335], [5.0, 5.0]]
    """
    edges = np.linspace(0, 1, bins + 1)
    rows = []
    for one in values:
        total = np.interp(edges * len(one), np.arange(len(one) + 1), np.concatenate([[0.0], np.cumsum(one)]))
        rows.append(np.diff(total) * bins / len(one))
    return np.array(rows)
