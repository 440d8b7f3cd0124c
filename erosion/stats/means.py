"""Means, paired differences and shares over questions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from scipy import special

from erosion.errors import BadInput
from erosion.stats.clusters import average_questions, per_question, student_t
from erosion.stats.estimates import Estimate
from erosion.stats.skewness import guarded_ends

__all__ = [
    "ONE_QUESTION",
    "crossed_mean",
    "difference",
    "guarded_mean_of_questions",
    "mean",
    "mean_of_questions",
    "over_seeds",
    "share",
]

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


def guarded_mean_of_questions(
    means: Float[Array, " question"], *, unit: str, confidence: float = 0.95
) -> Estimate:
    """:func:`mean_of_questions` for a verdict, which hangs on either end (:mod:`erosion.stats.skewness`)."""
    plain = mean_of_questions(means, unit=unit, confidence=confidence)
    n = len(means)
    if n == 1:
        return plain
    error = float(means.std(ddof=1)) / np.sqrt(n)
    down, up = guarded_ends(means, critical=student_t(n, confidence))
    low, high = plain.value - down * error, plain.value + up * error
    return replace(plain, low=low, high=high, method="skewness-guarded cluster t")


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


def crossed_mean(
    values: Float[Array, " exchange"], templates: Sequence[str], topics: Sequence[str], *, unit: str
) -> Estimate:
    """The mean over exchanges where every template meets many topics: both share something, so both cluster.

    Var = Var_template + Var_topic - Var_both (Cameron, Gelbach and Miller 2011), each cluster-robust with its
    G/(G - 1), and never below the larger of the first two; Student's t with one degree of freedom fewer than
    the smaller number of clusters, which ``n_questions`` reports.

    Args:
        values: ``[exchange]``, in ``unit``.
        templates: each exchange's template.
        topics: each exchange's topic.
        unit: what the numbers count.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite.

    >>> values = np.array([1.0, 2.0, 3.0, 2.0, 3.0, 4.0])
    >>> print(crossed_mean(values, list("aaabbb"), list("xyzxyz"), unit="nats"))
    2 [-6, 11] nats (n = 2 questions, approximate)
    """
    per_question(topics, values)  # refuses what is empty, uneven or not finite
    average_questions(values, templates)
    value, around = float(values.mean()), values - values.mean()
    both = [f"{template}\x00{topic}" for template, topic in zip(templates, topics, strict=True)]
    one, other, joint = (_robust(around, clusters) for clusters in (templates, topics, both))
    n = min(len(set(templates)), len(set(topics)))
    if n == 1:
        return Estimate(value, -np.inf, np.inf, unit, n, "two-way cluster t", why=ONE_QUESTION)
    variance = max(one + other - joint, one, other)
    reach = student_t(n, 0.95) * float(np.sqrt(variance))
    return Estimate(value, value - reach, value + reach, unit, n, "two-way cluster t")


def _robust(around: Float[Array, " exchange"], clusters: Sequence[str]) -> float:
    """The cluster-robust variance of a mean, from deviations."""
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(of, weights=around)
    return float((sums**2).sum()) / len(around) ** 2 * len(names) / max(len(names) - 1, 1)


def over_seeds(values: Float[Array, " seed"], *, unit: str, n_questions: int) -> Estimate:
    """The mean over training seeds with Student's t over seeds: what one more seed is held against.

    A claim about a recipe rather than about one checkpoint has the seed as its unit; the questions behind
    each seed's number are the same and add nothing to its certainty.

    Args:
        values: ``[seed]``, each seed's number over the same questions.
        unit: what the numbers count.
        n_questions: behind each number.

    Raises:
        BadInput: no seed, or a number that is not finite.

    >>> print(over_seeds(np.array([0.62, 0.55, 0.71]), unit="fraction", n_questions=96))
    0.63 [0.43, 0.83] fraction (n = 96 questions)
    """
    one = mean(values, [f"seed {i}" for i in range(len(values))], unit=unit)
    why = "one seed has no interval: train at least two, better three" if len(values) == 1 else None
    return replace(one, n_questions=n_questions, method=f"t over {len(values)} seeds", why=why)


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
