"""Ratios of means over questions, and erosion, the ratio this project is about.

A ratio of two noisy means has no standard error worth the name when its denominator may be zero.
Fieller's interval asks instead which ratios θ the data do not reject, by testing that the mean of
numerator - θ · denominator is zero; where that set is not one interval, the ratio is *undefined*.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from erosion.stats.clusters import per_question, student_t
from erosion.stats.estimates import Estimate, interval_in_words
from erosion.stats.means import ONE_QUESTION, mean_of_questions
from erosion.stats.skewness import guarded_ends

__all__ = [
    "eroded_fraction",
    "erosion",
    "erosion_of_questions",
    "fieller",
    "ratio",
    "ratio_of_questions",
    "ratio_residuals",
]

METHOD = "Fieller, cluster t"
GUARDED = "Fieller, skewness-guarded t"


def eroded_fraction(aligned: float, tuned: float, base: float) -> float:
    """Erosion of one quantity from its three means: (aligned - tuned)/(aligned - base).

    0 = all that alignment changed is kept, 1 = back at the base model. NaN where aligned equals base.

    >>> round(eroded_fraction(aligned=-77.49, tuned=-33.93, base=-43.06), 2)
    1.27
    """
    return (aligned - tuned) / (aligned - base) if aligned != base else math.nan


def ratio_residuals(
    numerator: Float[Array, "question layer"], denominator: Float[Array, "question layer"]
) -> tuple[Float[Array, " layer"], Float[Array, "question layer"]]:
    """The ratio r of two means, and each question's numerator - r · denominator, whose mean is zero.

    r is NaN (and the residuals are zero) where the denominator's mean is exactly zero.
    """
    top, bottom = numerator.mean(axis=0), denominator.mean(axis=0)
    values = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)
    residuals = np.where(np.isnan(values), 0.0, numerator - values * denominator)
    return values, residuals


def fieller(
    numerator: Float[Array, "question layer"],
    denominator: Float[Array, "question layer"],
    *,
    critical: float,
) -> tuple[Float[Array, " layer"], Float[Array, " layer"], Float[Array, " layer"]]:
    """Ratio, low and high of each column by Fieller (1954); all NaN where the set is not one interval.

    With r the ratio, u_i = numerator_i - r · denominator_i, b the denominator's mean, V the variances of
    means and c the critical value, θ = r + δ is kept when (δ b)² ≤ c² (V_uu - 2 δ V_ud + δ² V_dd), so
    δ = (-c² V_ud ± √(c⁴ V_ud² + A c² V_uu))/A with A = b² - c² V_dd, bounded exactly when A > 0.
    """
    n = len(numerator)
    values, residuals = ratio_residuals(numerator, denominator)
    bottom = denominator.mean(axis=0)
    around = denominator - bottom
    scale = critical**2 / (n * (n - 1))
    pairs = (residuals, residuals), (residuals, around), (around, around)
    v_uu, v_ud, v_dd = (scale * (x * y).sum(axis=0) for x, y in pairs)
    lead = bottom**2 - v_dd
    lead = np.where(lead > 1e-12 * bottom**2, lead, np.nan)
    root = np.sqrt(np.maximum(v_ud**2 + lead * v_uu, 0.0))
    low, high = values + (-v_ud - root) / lead, values + (-v_ud + root) / lead
    return np.where(np.isnan(lead), np.nan, values), low, high


def ratio(
    numerator: Float[Array, " exchange"],
    denominator: Float[Array, " exchange"],
    questions: Sequence[str],
    *,
    unit: str = "fraction",
    confidence: float = 0.95,
) -> Estimate:
    """mean(numerator)/mean(denominator) over questions, with Fieller's interval and Student's t.

    Undefined, with the reason, where the denominator's mean may be zero at this confidence: the set of
    ratios that the data allow is then unbounded (everything, or everything but an interval).

    Args:
        numerator: ``[exchange]``.
        denominator: ``[exchange]``, paired with the numerator.
        questions: each exchange's cluster id.
        unit: of the ratio.
        confidence: of the two-sided interval.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite.

    >>> lost, gained = np.array([1.0, 2.0, 1.5, 1.2]), np.array([2.1, 3.8, 3.1, 2.5])
    >>> print(ratio(lost, gained, ["a", "b", "c", "d"]))
    0.50 [0.43, 0.53] fraction (n = 4 questions, approximate)
    """
    top, bottom = per_question(questions, numerator, denominator)
    return ratio_of_questions(top, bottom, unit=unit, confidence=confidence)


def ratio_of_questions(
    top: Float[Array, " question"], bottom: Float[Array, " question"], *, unit: str, confidence: float
) -> Estimate:
    """:func:`ratio` of values that are one per question already."""
    n = len(top)
    if n == 1:
        return _undefined(unit, n, confidence, ONE_QUESTION)
    curves = fieller(top[:, None], bottom[:, None], critical=student_t(n, confidence))
    value, low, high = (float(curve[0]) for curve in curves)
    if math.isnan(value):
        return _undefined(
            unit, n, confidence, f"the denominator may be zero: its mean is {_mean(bottom, confidence)}"
        )
    return Estimate(value, low, high, unit, n, METHOD, confidence)


def erosion(
    aligned: Float[Array, " exchange"],
    tuned: Float[Array, " exchange"],
    base: Float[Array, " exchange"],
    questions: Sequence[str],
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Erosion of a quantity: the ratio of means (aligned - tuned)/(aligned - base) over questions.

    0 = all that alignment added is kept, 1 = back at the base model. Fieller's interval (:func:`ratio`),
    each end as far as Student's t or Hall's skewness-corrected one puts it, whichever is farther
    (:mod:`erosion.stats.skewness`), since a verdict hangs on either end alone. Undefined unless the lower
    end of mean(aligned - base) is above 0, since nothing can erode that was not there.

    Args:
        aligned: ``[exchange]``, the quantity under the aligned model.
        tuned: the same under the fine-tune, exchange by exchange.
        base: the same under the base model.
        questions: each exchange's cluster id.
        confidence: of the two-sided interval.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite.

    >>> aligned, base = np.array([2.0, 1.6, 2.4, 2.2]), np.array([0.1, -0.3, 0.2, 0.4])
    >>> print(erosion(aligned, aligned - 0.5, base, ["a", "b", "c", "d"]))
    0.26 [0.17, 0.30] fraction (n = 4 questions, approximate)
    """
    of_aligned, of_tuned, of_base = per_question(questions, aligned, tuned, base)
    return erosion_of_questions(of_aligned - of_tuned, of_aligned - of_base, confidence=confidence)


def erosion_of_questions(
    lost: Float[Array, " question"], gained: Float[Array, " question"], *, confidence: float
) -> Estimate:
    """:func:`erosion` from each question's loss (aligned - tuned) and gain (aligned - base)."""
    n = len(lost)
    if n > 1 and mean_of_questions(gained, unit="", confidence=confidence).low <= 0:
        why = f"alignment did not clearly raise it above base: aligned - base is {_mean(gained, confidence)}"
        return _undefined("fraction", n, confidence, why)
    plain = ratio_of_questions(lost, gained, unit="fraction", confidence=confidence)
    return plain if plain.undefined else _guarded(plain, lost, gained)


def _guarded(plain: Estimate, lost: Float[Array, " question"], gained: Float[Array, " question"]) -> Estimate:
    """Fieller's ends with a critical value of their own each: a mean above zero refutes a small ratio."""
    critical = student_t(len(lost), plain.confidence)
    residuals = ratio_residuals(lost[:, None], gained[:, None])[1][:, 0]
    down, up = guarded_ends(residuals, critical=critical)
    _, low, _ = fieller(lost[:, None], gained[:, None], critical=down)
    _, _, high = fieller(lost[:, None], gained[:, None], critical=up)
    return replace(plain, low=float(low[0]), high=float(high[0]), method=GUARDED)


def _undefined(unit: str, n: int, confidence: float, why: str) -> Estimate:
    return Estimate(math.nan, math.nan, math.nan, unit, n, METHOD, confidence, why=why)


def _mean(values: Float[Array, " question"], confidence: float) -> str:
    estimate = mean_of_questions(values, unit="", confidence=confidence)
    return interval_in_words(estimate.value, estimate.low, estimate.high)
