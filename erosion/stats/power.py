"""How small an effect could have been seen, and how many questions it would take.

Both use the noncentral t distribution: the normal shortcut promises too much below some 30 questions.
"""

import math

from scipy import special

from erosion.errors import BadInput
from erosion.stats.clusters import student_t

__all__ = ["minimum_detectable_effect", "questions_needed"]


def minimum_detectable_effect(sd: float, n: int, *, power: float = 0.8, confidence: float = 0.95) -> float:
    """The smallest true mean that a two-sided cluster t test over ``n`` questions finds with that power.

    Solves P(T > t_{n-1}) = power for the noncentrality d√n/s of Student's noncentral t; finding it with
    the wrong sign, below one chance in a hundred thousand at 80% power, is not counted.

    Args:
        sd: the standard deviation over questions, in the effect's unit.
        n: questions.
        power: the chance of finding it.
        confidence: of the test (0.95 tests at 5%).

    Returns:
        the effect in the unit of ``sd``; infinite for fewer than two questions.

    Raises:
        BadInput: a negative or missing ``sd``, a power that is not between the test's size and 1.

    >>> round(minimum_detectable_effect(1.0, 96), 3)
    0.289
    """
    _check(sd, power, confidence)
    if n < 2:
        return math.inf
    return sd * float(special.nctdtrinc(n - 1, 1 - power, student_t(n, confidence))) / math.sqrt(n)


def questions_needed(sd: float, smallest: float, *, power: float = 0.8, confidence: float = 0.95) -> int:
    """The fewest questions at which an effect of ``smallest`` is found with that power.

    About (z_{.975} + z_{.8})² (s/d)² = 7.85 (s/d)², so 784 s² at d = 0.1, and a few more for t.

    Args:
        sd: the standard deviation over questions, in the unit of ``smallest``.
        smallest: the smallest effect of interest, above zero.
        power: the chance of finding it.
        confidence: of the test.

    Raises:
        BadInput: a negative or missing ``sd``, ``smallest`` not above zero, power out of range.

    >>> questions_needed(1.0, 0.1)
    787
    """
    _check(sd, power, confidence)
    if not smallest > 0:
        raise BadInput(
            f"A smallest effect of {smallest:g} cannot be looked for: give one above 0, such as 0.1."
        )
    z = float(special.ndtri((1 + confidence) / 2) + special.ndtri(power))
    n = max(2, math.ceil((z * sd / smallest) ** 2))
    while minimum_detectable_effect(sd, n, power=power, confidence=confidence) > smallest:
        n += 1
    return n


def _check(sd: float, power: float, confidence: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise BadInput(f"A standard deviation of {sd:g} is none: give a finite one, zero or above.")
    if not 1 - confidence < power < 1:
        raise BadInput(f"A power of {power:g} is out of range: give one between {1 - confidence:g} and 1.")
