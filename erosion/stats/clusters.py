"""The unit of every interval is the question: exchanges of one question are averaged before anything else."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from scipy import special

from erosion.errors import BadInput

__all__ = ["average_questions", "per_question", "rank_of", "student_t"]


def per_question(questions: Sequence[str], *arrays: Array) -> tuple[Array, ...]:
    """Each array averaged within its questions, ``[exchange, …]`` to ``[question, …]`` in float64.

    Questions come out in the order of their ids, whatever order the exchanges had.

    Raises:
        BadInput: nothing at all, lengths that differ, a value that is not finite.

    >>> per_question(["b", "a", "b"], np.array([1.0, 5.0, 3.0]))[0]
    array([5., 2.])
    """
    checked = [_checked(array, questions) for array in arrays]
    _, cluster, counts = np.unique(np.asarray(questions), return_inverse=True, return_counts=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return tuple(
        np.add.reduceat(array[order], starts, axis=0) / counts.reshape(-1, *[1] * (array.ndim - 1))
        for array in checked
    )


def average_questions(
    values: Float[Array, "exchange ..."], questions: Sequence[str]
) -> Float[Array, "question ..."]:
    """One array of :func:`per_question`."""
    return per_question(questions, values)[0]


def _checked(array: Array, questions: Sequence[str]) -> Array:
    if len(array) != len(questions):
        raise BadInput(
            f"{len(array)} values and {len(questions)} question ids: give every value its question."
        )
    if len(array) == 0:
        raise BadInput("There are no values: a statistic needs at least one question.")
    array = np.asarray(array, dtype=np.float64)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        first = questions[int(np.argmin(finite))]
        raise BadInput(
            f"{int((~finite).sum())} of {len(array)} values are not finite (first at question "
            f"{str(first)!r}): leave those questions out or mend what measured them."
        )
    return array


def student_t(n_questions: int, confidence: float) -> float:
    """The two-sided critical value of Student's t with one degree of freedom fewer than questions.

    >>> round(student_t(96, 0.95), 3)
    1.985
    """
    if not 0 < confidence < 1:
        raise BadInput(
            f"A confidence of {confidence:g} is out of range: give one between 0 and 1, such as 0.95."
        )
    return float(special.stdtrit(n_questions - 1, (1 + confidence) / 2)) if n_questions > 1 else np.inf


def rank_of(draws: int, confidence: float, *, what: str) -> int:
    """Which of the sorted draws, counted from 0, a new one stays below at ``confidence``: ⌈(N + 1) c⌉ - 1.

    Raises:
        BadInput: so few draws that none of them reaches it.

    >>> rank_of(999, 0.95, what="resamples")
    949
    """
    rank = int(np.ceil((draws + 1) * confidence - 1e-9)) - 1
    if rank >= draws:
        raise BadInput(f"{draws} {what} cannot show a {confidence:.0%} band: give at least 99, better 2000.")
    return rank
