"""Bands over layers that hold for the whole curve at once, never layer by layer."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from erosion.errors import BadInput
from erosion.stats.bands import Band
from erosion.stats.clusters import average_questions, per_question
from erosion.stats.estimates import interval_in_words
from erosion.stats.means import ONE_QUESTION
from erosion.stats.ratios import fieller, ratio_residuals
from erosion.stats.resampling import max_t_critical

__all__ = ["random_band", "ratio_band", "simultaneous_band"]

Labels = Sequence[str | int]


def simultaneous_band(
    values: Float[Array, "exchange layer"],
    questions: Sequence[str],
    *,
    unit: str,
    labels: Labels | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Band:
    """Each layer's mean over questions, with one band that holds the whole true curve at ``confidence``.

    m_l ± c s_l/√n, where c is the bootstrap quantile of max_l |m*_l - m_l|/(s*_l/√n) over resampled
    questions, studentised inside (Romano and Wolf 2005).

    Args:
        values: ``[exchange, layer]``, in ``unit``.
        questions: each exchange's cluster id.
        unit: what the numbers count.
        labels: of the layers; their numbers from 0 if not given.
        confidence: that the whole curve lies inside.
        resamples: draws of questions.
        seed: of the draws.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite, too few resamples.

    Costs resamples x n x layers multiplications and 32 MB.

    >>> effects = np.random.default_rng(0).normal([0.0, 1.0], 0.5, size=(96, 2))
    >>> band = simultaneous_band(effects, [f"q{i}" for i in range(96)], unit="nats")
    >>> print(band.at(1))
    1.04 [0.93, 1.16] nats (n = 96 questions)
    """
    means = average_questions(values, questions)
    n, centre = len(means), means.mean(axis=0)
    names = _named(labels, means.shape[1])
    if n == 1:
        reach, why = np.full_like(centre, np.inf), (ONE_QUESTION,) * len(names)
    else:
        critical = max_t_critical(means, confidence=confidence, resamples=resamples, seed=seed)
        spread = means.std(axis=0, ddof=1)
        reach, why = np.where(spread > 0, critical, 0.0) * spread / np.sqrt(n), ()
    method = "max-|t| cluster bootstrap"
    return Band(centre, centre - reach, centre + reach, names, unit, n, method, confidence, why=why)


def ratio_band(
    numerator: Float[Array, "exchange layer"],
    denominator: Float[Array, "exchange layer"],
    questions: Sequence[str],
    *,
    unit: str = "fraction",
    labels: Labels | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Band:
    """Each layer's ratio of means over questions, with a joint Fieller band over the layers.

    Fieller's interval at every layer with one critical value c, the bootstrap quantile of the largest
    studentised mean of numerator - ratio · denominator over the layers, so that the whole true curve lies
    inside at ``confidence``. A layer is undefined unless its denominator is clearly positive: mean above
    c standard errors. Undefined layers still count towards c, which can only widen the others.

    Args:
        numerator: ``[exchange, layer]``.
        denominator: ``[exchange, layer]``, paired.
        questions: each exchange's cluster id.
        unit: of the ratio.
        labels: of the layers; their numbers from 0 if not given.
        confidence: that the whole curve lies inside.
        resamples: draws of questions.
        seed: of the draws.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite, too few resamples.

    >>> gained = np.random.default_rng(0).normal([0.0, 2.0], 0.5, size=(96, 2))
    >>> band = ratio_band(0.3 * gained, gained, [f"q{i}" for i in range(96)])
    >>> print(band.at(0).why)
    the denominator is not clearly positive: its mean is -0.03 [-0.15, 0.08]
    """
    top, bottom = per_question(questions, numerator, denominator)
    n, names = len(top), _named(labels, top.shape[1])
    method = "joint Fieller, max-|t| cluster bootstrap"
    if n == 1:
        empty = np.full(len(names), np.nan)
        return Band(empty, empty, empty, names, unit, n, method, confidence, why=(ONE_QUESTION,) * len(names))
    _, residuals = ratio_residuals(top, bottom)
    critical = max_t_critical(residuals, confidence=confidence, resamples=resamples, seed=seed)
    under, error = bottom.mean(axis=0), bottom.std(axis=0, ddof=1) / np.sqrt(n)
    with np.errstate(invalid="ignore"):
        curves = fieller(top, bottom, critical=critical)
        reach = critical * error
    defined = (under > 0) & (under > reach) & np.isfinite(curves[0])
    values, low, high = (np.where(defined, curve, np.nan) for curve in curves)
    why = tuple(
        None
        if ok
        else f"the denominator is not clearly positive: its mean is {interval_in_words(b, b - r, b + r)}"
        for ok, b, r in zip(defined, under, reach, strict=True)
    )
    return Band(values, low, high, names, unit, n, method, confidence, why=why)


def random_band(
    observed: Float[Array, "draw layer"],
    *,
    unit: str,
    n_questions: int,
    labels: Labels | None = None,
    confidence: float = 0.95,
) -> Band:
    """Where the whole curve of one more random direction would lie, from the curves of those drawn.

    m_l ± c s_l √(1 + 1/D) over D draws, the same draws at every layer; c is the ⌈(D + 1) · confidence⌉-th
    smallest of the draws' own max_l |T|, each against the other D - 1 (a rank band: no distribution is
    assumed). With fewer than 39 draws the ranks cannot reach 95% on two sides, and ``method`` says so.

    Args:
        observed: ``[draw, layer]``, each random direction's effect at every layer, a mean over questions.
        unit: of the effects.
        n_questions: that each effect is a mean over.
        labels: of the layers; their numbers from 0 if not given.
        confidence: that one more draw's curve lies inside.

    Raises:
        BadInput: fewer than three draws, or an effect that is not finite.

    >>> drawn = np.random.default_rng(0).normal(size=(40, 3))
    >>> random_band(drawn, unit="nats", n_questions=96).method
    'max-|T| rank band of 40 random draws'
    """
    draws, layers = observed.shape
    if draws < 3:
        raise BadInput(f"{draws} random draws make no band: give at least 39 for a 95% band.")
    if not np.isfinite(observed).all():
        raise BadInput("A random draw's effect is not finite: leave that draw out at every layer.")
    observed = np.asarray(observed, dtype=np.float64)
    centre, spread = observed.mean(axis=0), observed.std(axis=0, ddof=1)
    largest = np.sort(_against_the_others(observed, centre, spread))
    rank = min(int(np.ceil((draws + 1) * confidence - 1e-9)), draws)
    reach = largest[rank - 1] * spread * np.sqrt(1 + 1 / draws)
    needed = int(np.ceil(2 / (1 - confidence) - 1e-9)) - 1
    method = f"max-|T| rank band of {draws} random draws"
    if draws < needed:
        method += f" (a {confidence:.0%} band needs {needed})"
    return Band(
        centre, centre - reach, centre + reach, _named(labels, layers), unit, n_questions, method, confidence
    )


def _against_the_others(
    observed: Float[Array, "draw layer"], centre: Float[Array, " layer"], spread: Float[Array, " layer"]
) -> Float[Array, " draw"]:
    """Each draw's largest |T| over layers against mean and spread of the other draws."""
    n = len(observed)
    apart = (observed - centre) * n / (n - 1)  # from the mean of the others
    squares = spread**2 * (n - 1) - apart**2 * (n - 1) / n  # summed squares of the others about their mean
    error = np.sqrt(np.maximum(squares, 0.0) / (n - 2) * n / (n - 1))
    ratio = np.divide(np.abs(apart), error, out=np.zeros_like(apart), where=error > 1e-12 * spread)
    return ratio.max(axis=1)


def _named(labels: Labels | None, layers: int) -> tuple[str | int, ...]:
    names = tuple(range(layers)) if labels is None else tuple(labels)
    if len(names) != layers:
        raise BadInput(f"{len(names)} labels for {layers} layers: give every layer one.")
    return names
