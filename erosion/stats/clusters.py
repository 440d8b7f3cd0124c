"""The unit of every interval is the question: exchanges of one question are averaged before anything else."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from scipy import special

from erosion.errors import BadInput

__all__ = ["average_questions", "clustered", "per_question", "rank_of", "student_t"]


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


def clustered(questions: Sequence[str], clusters: Mapping[str, str]) -> tuple[str, ...]:
    """Each exchange's coarser cluster, to be given as ``questions`` to any statistic here.

    Questions written from one template, or about one topic, are not independent: their cluster is the unit,
    and ``n_questions`` of the estimate then counts clusters, each with the same weight. A question that
    ``clusters`` does not name stays a cluster of its own. Where templates and topics cross, see
    :func:`erosion.stats.crossed_mean`.

    Raises:
        BadInput: none of the questions is named, or one cluster is left.

    >>> of = {"salt-1": "salt", "salt-2": "salt", "oil-1": "oil"}
    >>> clustered(["salt-1", "salt-1", "salt-2", "oil-1", "tea"], of)
    ('salt', 'salt', 'salt', 'oil', 'question tea')
    """
    if len(questions) and not set(questions) & clusters.keys():
        raise BadInput(
            f"None of the {len(set(questions))} questions has a cluster (first {questions[0]!r}): give "
            "the ids that the contrast has."
        )
    found = tuple(str(clusters[q]) if q in clusters else f"question {q}" for q in questions)
    if len(set(found)) < 2:
        raise BadInput(
            "All questions are in one cluster, which has no interval: give at least two, better 30."
        )
    return found


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
