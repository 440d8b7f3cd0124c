import math

import numpy as np
import pytest
from clustered import IDS, NOISES, rate, smooth

from erosion.errors import BadInput
from erosion.stats import mean, random_band, ratio, ratio_band, simultaneous_band

TRUE = np.linspace(0, 1, 8)


def inside(band, curve) -> bool:
    """Whether the whole curve lies in the band, where the band is defined."""
    known = np.isfinite(band.values)
    return bool(((band.low <= curve) & (curve <= band.high))[known].all())


@pytest.mark.parametrize("noise", NOISES)
def test_a_simultaneous_band_holds_the_whole_curve_as_often_as_it_says(noise):
    rng = np.random.default_rng(1)

    def trial(seed):
        return inside(
            simultaneous_band(TRUE + smooth(noise, rng), IDS, unit="nats", resamples=399, seed=seed), TRUE
        )

    assert 0.93 < rate(trial, 1200) < 0.97


@pytest.mark.parametrize("noise", NOISES)
def test_a_ratio_band_holds_the_whole_curve_as_often_as_it_says(noise):
    rng = np.random.default_rng(2)

    def trial(seed):
        below = 1.5 + 0.7 * smooth(noise, rng)
        return inside(
            ratio_band(TRUE * below + smooth(noise, rng), below, IDS, resamples=399, seed=seed), TRUE
        )

    assert 0.93 < rate(trial, 1200) < 0.97


def test_a_ratio_band_still_holds_where_some_layers_have_nothing_to_divide_by():
    rng, gain = np.random.default_rng(3), np.linspace(0, 2, 8)
    undefined = []

    def trial(seed):
        below = gain + smooth("normal", rng)
        band = ratio_band(0.3 * below + smooth("normal", rng), below, IDS, resamples=399, seed=seed)
        undefined.append(np.isnan(band.values))
        return inside(band, np.full(8, 0.3))

    assert 0.93 < rate(trial, 600) <= 1
    assert np.mean(undefined, axis=0)[0] > 0.95
    assert np.mean(undefined, axis=0)[-1] == 0


def test_a_band_over_one_layer_is_the_interval_of_that_layer():
    rng = np.random.default_rng(4)
    above, below = rng.normal(size=96), 3 + rng.normal(size=96)
    band = simultaneous_band(above[:, None], IDS, unit="nats", resamples=20_000).at(0)
    single = mean(above, IDS, unit="nats")
    assert (band.low, band.high) == pytest.approx((single.low, single.high), abs=0.01)
    joint, alone = (
        ratio_band(above[:, None], below[:, None], IDS, resamples=20_000).at(0),
        ratio(above, below, IDS),
    )
    assert (joint.low, joint.high) == pytest.approx((alone.low, alone.high), abs=0.01)


def test_a_band_is_wider_than_the_interval_of_any_of_its_layers():
    values = smooth("normal", np.random.default_rng(5))
    band = simultaneous_band(values, IDS, unit="nats")
    for layer in range(8):
        single = mean(values[:, layer], IDS, unit="nats")
        assert band.low[layer] < single.low < single.high < band.high[layer]


def test_equal_layers_cost_nothing():
    values = np.random.default_rng(6).normal(size=(96, 1))
    one = simultaneous_band(values, IDS, unit="nats")
    many = simultaneous_band(np.repeat(values, 30, axis=1), IDS, unit="nats")
    np.testing.assert_allclose(many.low, one.low[0], rtol=1e-9)


@pytest.mark.parametrize("make", [simultaneous_band, ratio_band, random_band], ids=lambda f: f.__name__)
def test_a_band_does_not_change_with_the_order_or_between_runs(make):
    rng = np.random.default_rng(7)
    values, below, order = smooth("normal", rng), 3 + smooth("normal", rng), rng.permutation(96)

    def of(rows):
        ids = [IDS[i] for i in rows]
        if make is random_band:
            return random_band(values[rows], unit="nats", n_questions=96)
        if make is ratio_band:
            return ratio_band(values[rows], below[rows], ids, seed=3, resamples=199)
        return simultaneous_band(values[rows], ids, unit="nats", seed=3, resamples=199)

    straight, shuffled = of(np.arange(96)), of(order)
    assert straight == of(np.arange(96))
    np.testing.assert_allclose(straight.low, shuffled.low, rtol=1e-12)
    np.testing.assert_allclose(straight.high, shuffled.high, rtol=1e-12)


def test_another_seed_moves_the_band_a_little():
    values = smooth("normal", np.random.default_rng(8))
    one, other = (simultaneous_band(values, IDS, unit="nats", seed=seed) for seed in (0, 1))
    assert one != other
    np.testing.assert_allclose(one.low, other.low, atol=0.05)


def test_the_unit_scales_a_band():
    values = smooth("normal", np.random.default_rng(9))
    one, other = (simultaneous_band(by * values, IDS, unit="nats").high for by in (1.0, 1000.0))
    np.testing.assert_allclose(1000 * one, other)


def test_a_layer_that_does_not_vary_has_no_width_and_does_not_widen_the_others():
    values = smooth("normal", np.random.default_rng(10))
    with_constant = np.concatenate([values, np.full((96, 1), 0.7)], axis=1)
    band = simultaneous_band(with_constant, IDS, unit="nats")
    assert band.low[-1] == pytest.approx(band.high[-1]) == pytest.approx(0.7)
    np.testing.assert_allclose(band.low[:-1], simultaneous_band(values, IDS, unit="nats").low)


def test_too_few_questions_give_a_band_without_ends():
    band = simultaneous_band(np.array([[1.0, 2.0], [2.0, 3.0]]), ["a", "b"], unit="nats")
    assert np.isinf(band.low).all()
    alone = simultaneous_band(np.array([[1.0, 2.0]]), ["a"], unit="nats")
    assert alone.values.tolist() == [1.0, 2.0]
    assert "one question" in alone.why[0]
    assert ratio_band(np.array([[1.0]]), np.array([[2.0]]), ["a"]).at(0).undefined


def test_a_negative_denominator_is_undefined():
    below = smooth("normal", np.random.default_rng(11)) - 5
    band = ratio_band(below, below, IDS)
    assert np.isnan(band.values).all()
    assert "not clearly positive" in band.why[0]


def test_a_random_band_holds_one_more_random_curve_as_often_as_it_says():
    rng = np.random.default_rng(12)

    def trial(_):
        draws = rng.normal(size=(41, 8)).cumsum(axis=1)
        return inside(random_band(draws[:-1], unit="nats", n_questions=96), draws[-1])

    assert 0.93 < rate(trial, 1500) < 0.97


def test_fewer_than_39_random_draws_say_so():
    draws = np.random.default_rng(13).normal(size=(39, 4))
    assert "needs" not in random_band(draws, unit="nats", n_questions=96).method
    assert random_band(draws[:24], unit="nats", n_questions=96).method.endswith(
        "of 24 random draws (a 95% band needs 39)"
    )
    with pytest.raises(BadInput, match="2 random draws make no band"):
        random_band(draws[:2], unit="nats", n_questions=96)


def test_random_draws_that_all_agree_give_a_band_of_no_width():
    band = random_band(np.full((40, 2), 0.3), unit="nats", n_questions=96)
    assert band.low.tolist() == pytest.approx([0.3, 0.3])
    assert band.high.tolist() == pytest.approx([0.3, 0.3])


def test_bad_curves_are_refused_in_one_line():
    values = smooth("normal", np.random.default_rng(14))
    with pytest.raises(BadInput, match="3 labels for 8 layers"):
        simultaneous_band(values, IDS, unit="nats", labels=["a", "b", "c"])
    with pytest.raises(BadInput, match="10 resamples cannot show a 95% band"):
        simultaneous_band(values, IDS, unit="nats", resamples=10)
    with pytest.raises(BadInput, match="96 values and 95 question ids"):
        ratio_band(values, values, IDS[:-1])
    values[3, 2] = math.nan
    with pytest.raises(BadInput, match=r"1 of 96 values are not finite \(first at question 'q003'\)"):
        simultaneous_band(values, IDS, unit="nats")
    with pytest.raises(BadInput, match="not finite"):
        random_band(values, unit="nats", n_questions=96)
