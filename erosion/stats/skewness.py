"""What skewed questions do to Student's t, and the ends of an interval that allow for it.

The t statistic of n values of skewness g is itself skewed the other way, by about -2g/√n: at a skewness of
2 and 96 questions the 2.5% upper end of an interval is missed 4.4% of the time, at 24 questions 7.0%. Hall's
transformation (1992) undoes it to first order. Here it may only widen: each end is the farther of Student's
and Hall's, so that what was covered stays covered, and symmetric questions pay about 1% of width at n = 96.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

__all__ = ["guarded_ends", "skewness"]


def skewness(values: Float[Array, " question"]) -> float:
    """The sample skewness, mean((x - m)³)/mean((x - m)²)^1.5; 0 where nothing varies.

    >>> round(skewness(np.array([0.0, 0.0, 3.0])), 4)
    0.7071
    """
    around = values - values.mean()
    square = float((around**2).mean())
    if square <= 1e-24 * float((values**2).mean()):
        return 0.0
    return float((around**3).mean()) / square**1.5


def guarded_ends(values: Float[Array, " question"], *, critical: float) -> tuple[float, float]:
    """How many standard errors the interval of a mean reaches down and up, never fewer than ``critical``.

    Solves Hall's g(T) = T + aT²/3 + a²T³/27 + a/6 = ±critical with a = skewness/√n, which has the closed
    form T = (3/a)(∛(1 + a(±critical - a/6)) - 1) (Hall 1992, "On the removal of skewness by
    transformation"), and takes the farther of that and ±critical at each end.

    Args:
        values: ``[question]``, whose mean the interval is of.
        critical: of Student's t.

    Returns:
        the reach below and above the mean, in standard errors.

    >>> down, up = guarded_ends(np.array([0.0] * 20 + [1.0] * 4), critical=2.07)
    >>> down, round(up, 2)
    (2.07, 3.24)
    """
    a = skewness(values) / np.sqrt(len(values))
    if abs(a) < 1e-8 or not np.isfinite(critical):
        return critical, critical
    low, high = (3 / a * (np.cbrt(1 + a * (side * critical - a / 6)) - 1) for side in (-1, 1))
    return max(critical, float(high)), max(critical, float(-low))
