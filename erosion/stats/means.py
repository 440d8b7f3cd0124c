"""Means, paired differences and shares over questions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from scipy import special

from erosion.errors import BadInput
from erosion.stats.clusters import average_questions, per_question, student_t
from erosion.stats.estimates import Estimate

__all__ = ["ONE_QUESTION", "difference", "mean", "mean_of_questions", "share"]

ONE_QUESTION = "one question has no interval: measure on at least two"


def mean(
    values: Float[Array, " exchange"], questions: Sequence[str], *, unit: str, confidence: float = 0.95
) -> Estimate:
    """The mean over questions with a cluster t interval.

    m ± t_{n-1} s/√n over the n question means: Student's t, as in cluster-robust inference with
    equal weights (Ibragimov and Müller 2010). One question gives a value and no interval.

    Args:
        values: ``[exchange]``, in ``unit``.
        questions: each exchange's cluster id.
        unit: what the numbers count ("nats per token").
        confidence: of the two-sided interval.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite.

    >>> print(mean(np.array([1.0, 2.0, 3.0, 6.0]), ["a", "b", "c", "d"], unit="nats"))
    3.0 [-0.4, 6.4] nats (n = 4 questions, approximate)
    """
    return mean_of_questions(average_questions(values, questions), unit=unit, confidence=confidence)


def mean_of_questions(means: Float[Array, " question"], *, unit: str, confidence: float) -> Estimate:
    """:func:`mean` of values that are one per question already."""
    n, value = len(means), float(means.mean())
    if n == 1:
        return Estimate(value, -np.inf, np.inf, unit, n, "cluster t", confidence, why=ONE_QUESTION)
    reach = student_t(n, confidence) * float(means.std(ddof=1)) / np.sqrt(n)
    return Estimate(value, value - reach, value + reach, unit, n, "cluster t", confidence)


def difference(
    first: Float[Array, " exchange"],
    second: Float[Array, " exchange"],
    questions: Sequence[str],
    *,
    unit: str,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of ``first - second``, paired exchange by exchange (see :func:`mean`).

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite.

    >>> print(difference(np.array([1.0, 2.0]), np.array([0.5, 1.4]), ["a", "b"], unit="nats"))
    0.6 [-0.1, 1.2] nats (n = 2 questions, approximate)
    """
    one, other = per_question(questions, first, second)
    return mean_of_questions(one - other, unit=unit, confidence=confidence)


def share(
    hits: Bool[Array, " question"], *, unit: str = "share of questions", confidence: float = 0.95
) -> Estimate:
    """The share of questions that hit, with the exact binomial interval (Clopper and Pearson 1934).

    Unlike a cluster t it has a width at 0 and at 1; it covers at least as often as it says.

    Raises:
        BadInput: no question.

    >>> print(share(np.array([True] * 3 + [False] * 93)))
    0.03 [0.01, 0.09] share of questions (n = 96 questions)
    """
    n, k = len(hits), int(np.sum(hits))
    if n == 0:
        raise BadInput("There are no questions: a share needs at least one.")
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(k / n, low, high, unit, n, "exact binomial", confidence)
