"""Intervals for what is refitted: leave out one group of questions at a time.

A cosine between two fits, a share of variance or a principal angle has no value per question. Refitting
without each of G groups of questions costs G fits instead of a bootstrap's thousands, and treats whole
questions, as everything here does.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import special

from erosion.shapes import Array, Bool, Float
from erosion.stats import Band, Estimate

__all__ = ["AS_IT_IS", "COSINE", "jackknife_band", "jackknife_ends", "jackknife_estimate", "left_out_groups"]

Scale = tuple[Callable[[Array], Array], Callable[[Array], Array]]

_ALMOST_ONE = 1 - 1e-12


def left_out_groups(questions: Sequence[str], groups: int) -> Iterator[Bool[Array, " exchange"]]:
    """Which rows remain when each group of questions is left out; question ids go round the groups.

    Going round in the order of ids, each group gets its share of every domain, whose ids stand together.

    >>> [keep.tolist() for keep in left_out_groups(["a", "b", "a"], 2)]
    [[False, True, False], [True, False, True]]
    """
    _, cluster = np.unique(np.asarray(questions), return_inverse=True)
    count = min(groups, int(cluster.max()) + 1)
    for group in range(count):
        yield cluster % count != group


def _fisher(cosine: Array) -> Array:
    return np.arctanh(np.clip(cosine, -_ALMOST_ONE, _ALMOST_ONE))


def _same(x: Array) -> Array:
    return x


COSINE: Scale = (_fisher, np.tanh)
"""Fisher's z of a cosine, whose sampling error does not depend on where it lies, and back."""

AS_IT_IS: Scale = (_same, _same)
"""For differences and whatever has no bounds."""


def jackknife_ends(
    whole: Float[Array, "..."],
    without: Float[Array, "group ..."],
    *,
    confidence: float = 0.95,
    scale: Scale = COSINE,
) -> tuple[Array, Array]:
    """Low and high of every entry: t with G - 1 degrees of freedom around the whole, on a working scale.

    se^2 = (G - 1)/G sum (theta_g - mean theta)^2 (Efron and Stein 1981), one group of questions
    left out each time. ``scale`` maps to where the error is even, and back.
    """
    there, back = scale
    groups, moved = len(without), there(without)
    error = np.sqrt((groups - 1) / groups * ((moved - moved.mean(axis=0)) ** 2).sum(axis=0))
    reach = float(special.stdtrit(groups - 1, (1 + confidence) / 2)) * error
    return back(there(whole) - reach), back(there(whole) + reach)


def jackknife_band(
    whole: Float[Array, " layer"],
    without: Float[Array, "group layer"],
    *,
    unit: str,
    labels: Sequence[int],
    n_questions: int,
    scale: Scale = COSINE,
) -> Band:
    """A curve over layers, its intervals together at 95% (Bonferroni over the layers)."""
    level = 1 - 0.05 / max(1, len(labels))
    low, high = jackknife_ends(whole, without, confidence=level, scale=scale)
    return Band(whole, low, high, tuple(labels), unit, n_questions, _method(len(without)))


def jackknife_estimate(
    whole: float, without: Float[Array, " group"], *, unit: str, n_questions: int, scale: Scale = COSINE
) -> Estimate:
    """One number with its 95% interval."""
    low, high = jackknife_ends(np.asarray(whole), without, scale=scale)
    return Estimate(float(whole), float(low), float(high), unit, n_questions, _method(len(without)))


def _method(groups: int) -> str:
    return f"jackknife over {groups} groups of questions, t"
