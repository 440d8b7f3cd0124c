import math

import numpy as np
import pytest
from clustered import IDS, rate

from erosion.errors import BadInput
from erosion.stats import bootstrap, mean


def correlation(x, y, axis=0):
    x, y = (z - z.mean(axis=axis, keepdims=True) for z in (x, y))
    return (x * y).sum(axis=axis) / np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))


def one_by_one(x, y):
    return float(correlation(x, y))


def auc(aligned, misaligned):
    return float((aligned[:, None] > misaligned).mean())


def pair(rng, n=96, r=0.6):
    x = rng.normal(size=n)
    return x, r * x + math.sqrt(1 - r**2) * rng.normal(size=n)


def test_a_correlation_is_covered_as_often_as_it_says():
    rng = np.random.default_rng(1)

    def trial(seed):
        return bootstrap(correlation, pair(rng), IDS, unit="correlation", resamples=399, seed=seed).covers(
            0.6
        )

    assert 0.92 < rate(trial, 400) < 0.97


def test_a_paired_auc_is_covered_as_often_as_it_says():
    rng = np.random.default_rng(2)
    true = 0.5 * (
        1 + math.erf(1 / 2)
    )  # P(a > m) for normals of variance 1, one unit apart, by different questions

    def trial(seed):
        shared = rng.normal(size=96)
        sides = [at + math.sqrt(0.5) * (shared + rng.normal(size=96)) for at in (1.0, 0.0)]
        return bootstrap(auc, sides, IDS, unit="AUC", resamples=199, seed=seed).covers(true)

    assert 0.91 < rate(trial, 120) < 0.98


def test_the_bootstrap_of_a_mean_is_close_to_student_t():
    values = np.random.default_rng(3).normal(size=96)
    drawn, exact = bootstrap(np.mean, [values], IDS, unit="nats"), mean(values, IDS, unit="nats")
    assert drawn.value == pytest.approx(exact.value)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    assert drawn.method == "cluster bootstrap, BCa"


def test_many_resamples_at_once_are_the_same_as_one_by_one():
    arrays = pair(np.random.default_rng(4))
    together = bootstrap(correlation, arrays, IDS, unit="", resamples=199)
    alone = bootstrap(one_by_one, arrays, IDS, unit="", resamples=199)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), rel=1e-12)


def test_exchanges_of_one_question_are_averaged_and_drawn_together():
    x, y = pair(np.random.default_rng(5))
    twice = [np.repeat(x, 2), np.repeat(y, 2)]
    ids = [q for q in IDS for _ in range(2)]
    assert bootstrap(correlation, twice, ids, unit="", resamples=199) == bootstrap(
        correlation, [x, y], IDS, unit="", resamples=199
    )


def test_the_bootstrap_does_not_change_with_the_order_or_between_runs():
    rng = np.random.default_rng(6)
    x, y = pair(rng)
    order = rng.permutation(96)
    one = bootstrap(correlation, [x, y], IDS, unit="", resamples=199, seed=7)
    again = bootstrap(
        correlation, [x[order], y[order]], [IDS[i] for i in order], unit="", resamples=199, seed=7
    )
    assert one == again
    assert one != bootstrap(correlation, [x, y], IDS, unit="", resamples=199, seed=8)


def test_a_statistic_of_vectors_may_be_resampled():
    rng = np.random.default_rng(7)
    apart = rng.normal(size=(96, 5)) + np.array([3.0, 0, 0, 0, 0])

    def cosine(vectors, axis=0):
        centre = vectors.mean(axis=axis)
        return centre[..., 0] / np.linalg.norm(centre, axis=-1)

    assert bootstrap(cosine, [apart], IDS, unit="cosine").covers(0.998)


def test_a_statistic_that_nothing_moves_has_no_width():
    still = bootstrap(lambda x: 2.0, [np.arange(96.0)], IDS, unit="nats", resamples=199)
    assert (still.value, still.low, still.high) == (2.0, 2.0, 2.0)
    assert still.method == "cluster bootstrap, percentile"


def test_a_statistic_without_a_value_on_some_resamples_has_no_interval():
    found = bootstrap(
        lambda x: np.nan if x.max() < 95 else 1.0, [np.arange(96.0)], IDS, unit="", resamples=199
    )
    assert math.isinf(found.low)
    assert found.why == "the statistic has no value on some of the resamples"


def test_one_question_cannot_be_resampled():
    assert math.isinf(bootstrap(np.mean, [np.array([1.0])], ["q"], unit="nats").low)


def test_bad_arrays_are_refused_in_one_line():
    with pytest.raises(BadInput, match="10 resamples cannot show a tail"):
        bootstrap(np.mean, [np.arange(96.0)], IDS, unit="nats", resamples=10)
    with pytest.raises(BadInput, match="95 values and 96 question ids"):
        bootstrap(correlation, [np.arange(96.0), np.arange(95.0)], IDS, unit="nats")
