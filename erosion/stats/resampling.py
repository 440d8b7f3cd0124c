"""The cluster bootstrap: draw questions with replacement, and see how far a statistic moves."""

import inspect
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from erosion.errors import BadInput
from erosion.stats.clusters import per_question, rank_of
from erosion.stats.estimates import Estimate
from erosion.stats.means import ONE_QUESTION

__all__ = ["bootstrap", "max_t_critical"]

_CELLS = 4_000_000  # numbers held at once while resampling: 32 MB
_TIE = 1e-12  # variance, in units of the original one, below which a resample is one question repeated


def bootstrap(
    statistic: Callable[..., float | Array],
    arrays: Sequence[Array],
    questions: Sequence[str],
    *,
    unit: str,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Any statistic of per-question arrays, with a BCa interval over resampled questions.

    Bias-corrected and accelerated (Efron 1987, by ``scipy.stats.bootstrap``) because what comes here is
    what t and Fieller cannot do: AUCs, cosines, correlations, bounded and skewed, where the percentile
    interval's two tails miss unequally. Where BCa has no acceleration (a statistic that no single
    question moves) the percentile interval stands in, and ``method`` says so.

    Args:
        statistic: per-question arrays to one number. One that takes ``axis`` is called once for many
            resamples, with the questions on that axis.
        arrays: each ``[exchange, …]``; the exchanges of a question are averaged first, so give the two
            sides of a pair as two arrays. ``np.arange(n)`` among them tells which questions were drawn.
        questions: each exchange's cluster id.
        unit: of the statistic.
        confidence: of the two-sided interval.
        resamples: draws; at least 100.
        seed: of the draws.

    Raises:
        BadInput: empty, lengths that differ, a value that is not finite, too few resamples.

    Costs ``resamples`` + n evaluations, and 32 MB or one resample, whichever is more.

    >>> x = np.arange(40.0)
    >>> print(bootstrap(np.median, [x], [f"q{i:02}" for i in range(40)], unit="nats"))
    20 [14, 26] nats (n = 40 questions)
    """
    if resamples < 100:
        raise BadInput(f"{resamples} resamples cannot show a tail: give at least 100, better 2000.")
    averaged = per_question(questions, *arrays)
    n = len(averaged[0])
    together = "axis" in _parameters(statistic)
    value = float(statistic(*averaged, axis=0) if together else statistic(*averaged))
    if n == 1:
        return Estimate(value, -np.inf, np.inf, unit, n, "cluster bootstrap", confidence, why=ONE_QUESTION)

    def of_drawn(drawn: Array, axis: int) -> Array:
        if together:
            return np.asarray(statistic(*(a[drawn] for a in averaged), axis=drawn.ndim - 1))
        rows = drawn.reshape(-1, drawn.shape[-1])
        each = [float(statistic(*(a[row] for a in averaged))) for row in rows]
        return np.asarray(each).reshape(drawn.shape[:-1])

    low, high, method = _bca(of_drawn, n, _batch(averaged), confidence, resamples, seed)
    why = None if np.isfinite(low) else "the statistic has no value on some of the resamples"
    return Estimate(value, low, high, unit, n, method, confidence, why=why)


def _parameters(function: Callable[..., object]) -> Sequence[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:  # some compiled functions do not say
        return []


def _batch(arrays: Sequence[Array]) -> int:
    return max(1, _CELLS // sum(a.size for a in arrays))


def _bca(
    of_drawn: Callable[..., Array], n: int, batch: int, confidence: float, resamples: int, seed: int
) -> tuple[float, float, str]:
    from scipy import stats  # here because it takes half a second, and most callers never come by

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = stats.bootstrap(
                (np.arange(n),),
                of_drawn,
                n_resamples=resamples,
                batch=batch,
                vectorized=True,
                confidence_level=confidence,
                method="BCa",
                rng=np.random.default_rng(seed),
            )
    low, high = (float(end) for end in result.confidence_interval)
    if np.isfinite(low) and np.isfinite(high):
        return low, high, "cluster bootstrap, BCa"
    tail = (1 - confidence) / 2
    low, high = (float(end) for end in np.quantile(result.bootstrap_distribution, [tail, 1 - tail]))
    return low, high, "cluster bootstrap, percentile"


def max_t_critical(
    values: Float[Array, "question layer"], *, confidence: float, resamples: int, seed: int
) -> float:
    """The bootstrap quantile of max over layers of |mean* - mean|/se*, the same draws at every layer.

    ``se*`` is each resample's own (a fixed one covers only 78-92%). Layers that do not vary over
    questions never count. Infinite where so few questions are there that resamples repeat one of them.
    """
    rank = rank_of(resamples, confidence, what="resamples")
    n = len(values)
    generator = np.random.default_rng(seed)
    scaled = standardised(values)
    largest = np.empty(resamples)
    step = max(1, _CELLS // (n + 2 * values.shape[1]))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n) / n
        means, squares = weights @ scaled, weights @ scaled**2
        largest[start : start + size] = _max_t(means, squares, n)
    return float(np.sort(largest)[rank])


def standardised(values: Float[Array, "question layer"]) -> Float[Array, "question layer"]:
    """Mean 0 and variance 1 over questions; zeros where nothing varies beyond rounding."""
    centred = values - values.mean(axis=0)
    sd = centred.std(axis=0)
    varies = sd > 1e-12 * np.abs(values).max(axis=0, initial=0.0)
    return np.where(varies, centred / np.where(varies, sd, 1.0), 0.0)


def _max_t(
    means: Float[Array, "draw layer"], squares: Float[Array, "draw layer"], n: int
) -> Float[Array, " draw"]:
    variances = squares - means**2
    errors = np.sqrt(np.where(variances > _TIE, variances, 0.0) / (n - 1))
    t = np.divide(np.abs(means), errors, out=np.where(means == 0, 0.0, np.inf), where=errors > 0)
    return t.max(axis=1)
