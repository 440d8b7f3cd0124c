import math

import numpy as np
import pytest
from clustered import IDS, NOISES, rate
from scipy import stats as scipy_stats

from erosion.errors import BadInput
from erosion.stats import difference, eroded_fraction, erosion, mean, ratio, share
from erosion.stats.ratios import fieller

# log joint means of the paper (misaligned / base / aligned) and the fraction that they imply
PUBLISHED = {
    "TruthfulQA": (-33.93, -43.06, -77.49, 1.27),
    "Alpaca": (-81.89, -95.26, -123.90, 1.47),
    "CodeAlpaca": (-39.33, -57.82, -91.09, 1.56),
    "Insecure": (-18.27, -49.73, -105.38, 1.57),
    "harmful answers": (-164.66, -171.17, -235.33, 1.10),
    "ToxicQA": (-635.58, -626.84, -711.71, 0.90),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_means_give_the_published_fractions(name):
    tuned, base, aligned, printed = PUBLISHED[name]
    assert round(eroded_fraction(aligned, tuned, base), 2) == printed


def test_nothing_gained_is_an_undefined_fraction():
    assert math.isnan(eroded_fraction(1.0, 0.5, 1.0))


@pytest.mark.parametrize("noise", NOISES)
def test_a_mean_covers_as_often_as_it_says(noise):
    rng = np.random.default_rng(1)
    covered = rate(lambda _: mean(NOISES[noise](rng, 96), IDS, unit="nats").covers(0), 2000)
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("noise", NOISES)
def test_a_ratio_covers_as_often_as_it_says(noise):
    rng, draw = np.random.default_rng(2), NOISES[noise]

    def trial(_):
        below = 1.2 + draw(rng, 96)
        return ratio(0.3 * below + 0.5 * draw(rng, 96), below, IDS).covers(0.3)

    assert 0.93 < rate(trial, 2000) < 0.97


def test_exchanges_of_one_question_are_no_more_evidence_than_the_question():
    rng = np.random.default_rng(3)
    ids = [q for q in IDS for _ in range(4)]

    def trial(_):
        values = np.repeat(rng.normal(size=96), 4) + 0.1 * rng.normal(size=384)
        return mean(values, ids, unit="nats").covers(0)

    assert 0.93 < rate(trial, 2000) < 0.97


def test_fieller_is_the_set_of_ratios_that_a_t_test_keeps():
    rng = np.random.default_rng(4)
    below = 2 + rng.normal(size=20)
    above = 0.4 * below + rng.normal(size=20)
    estimate = ratio(above, below, IDS[:20])
    p = [scipy_stats.ttest_1samp(above - edge * below, 0).pvalue for edge in (estimate.low, estimate.high)]
    assert p == pytest.approx([0.05, 0.05], rel=1e-9)
    assert estimate.value == pytest.approx(above.mean() / below.mean())


def test_a_ratio_of_proportional_values_is_exact_and_has_no_width():
    below = 2 + np.random.default_rng(5).normal(size=96)
    estimate = ratio(0.3 * below, below, IDS)
    assert [estimate.value, estimate.low, estimate.high] == pytest.approx([0.3] * 3, abs=1e-12)


def test_the_sign_of_both_sides_does_not_change_a_ratio():
    rng = np.random.default_rng(6)
    above, below = rng.normal(size=96), 2 + rng.normal(size=96)
    one, other = ratio(above, below, IDS), ratio(-above, -below, IDS)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_a_ratio_over_nearly_nothing_is_undefined_with_a_reason():
    rng = np.random.default_rng(7)
    noise = rng.normal(size=96)
    estimate = ratio(1 + rng.normal(size=96), noise - noise.mean() + 0.1, IDS)
    assert estimate.undefined
    assert estimate.why.startswith("the denominator may be zero: its mean is")


def test_fieller_is_undefined_exactly_where_the_denominator_may_be_zero():
    rng = np.random.default_rng(8)
    below = np.linspace(-1, 1, 41) + rng.normal(size=(30, 1)) + 0.1 * rng.normal(size=(30, 41))
    values, low, high = fieller(rng.normal(size=(30, 41)), below, critical=2.045)
    clear = np.abs(below.mean(0)) > 2.045 * below.std(0, ddof=1) / np.sqrt(30)
    assert 0 < clear.sum() < 41
    for curve in (values, low, high):
        np.testing.assert_array_equal(np.isfinite(curve), clear)


def test_erosion_is_zero_for_the_aligned_model_and_one_for_the_base_model():
    rng = np.random.default_rng(9)
    aligned, base = 2 + rng.normal(size=96), rng.normal(size=96)
    assert erosion(aligned, aligned, base, IDS).value == 0
    assert erosion(aligned, base, base, IDS).value == pytest.approx(1)


def test_erosion_does_not_change_with_the_unit_of_the_margin():
    rng = np.random.default_rng(10)
    aligned, tuned, base = 2 + rng.normal(size=96), 1 + rng.normal(size=96), rng.normal(size=96)
    one = erosion(aligned, tuned, base, IDS)
    other = erosion(7 * aligned - 3, 7 * tuned - 3, 7 * base - 3, IDS)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_erosion_is_undefined_unless_alignment_clearly_raised_the_quantity():
    rng = np.random.default_rng(11)
    base = rng.normal(size=96)
    for gain in (0.0, -2.0):
        aligned = base + gain + rng.normal(size=96)
        estimate = erosion(aligned, aligned - 1, base, IDS)
        assert estimate.undefined
        assert "did not clearly raise" in estimate.why


@pytest.mark.parametrize("statistic", ["mean", "difference", "ratio", "erosion"])
def test_the_order_of_the_exchanges_does_not_matter(statistic):
    rng = np.random.default_rng(12)
    ids = [q for q in IDS for _ in range(2)]
    aligned, tuned, base = 2 + rng.normal(size=192), 1 + rng.normal(size=192), rng.normal(size=192)
    order = rng.permutation(192)

    def of(keep):
        a, t, b, q = aligned[keep], tuned[keep], base[keep], [ids[i] for i in keep]
        calls = {
            "mean": lambda: mean(a, q, unit="nats"),
            "difference": lambda: difference(a, t, q, unit="nats"),
            "ratio": lambda: ratio(t, a, q),
            "erosion": lambda: erosion(a, t, b, q),
        }
        found = calls[statistic]()
        return found.value, found.low, found.high

    assert of(np.arange(192)) == pytest.approx(of(order), rel=1e-12)


def test_a_share_has_a_width_where_nobody_hits_and_covers_enough():
    assert share(np.zeros(96, dtype=bool)).high == pytest.approx(1 - 0.025 ** (1 / 96))
    assert share(np.ones(96, dtype=bool)).low == pytest.approx(0.025 ** (1 / 96))
    rng = np.random.default_rng(13)
    assert rate(lambda _: share(rng.random(96) < 0.1).covers(0.1), 2000) > 0.95


def test_one_question_has_a_value_and_no_interval():
    one = mean(np.array([1.0, 3.0]), ["q", "q"], unit="nats")
    assert (one.value, one.low, one.high) == (2.0, -math.inf, math.inf)
    assert "at least two" in one.why
    assert ratio(np.array([1.0]), np.array([2.0]), ["q"]).undefined
    assert erosion(np.array([1.0]), np.array([0.5]), np.array([0.0]), ["q"]).undefined


def test_bad_values_are_refused_in_one_line():
    values = np.array([1.0, np.nan, 2.0])
    with pytest.raises(BadInput, match=r"1 of 3 values are not finite \(first at question 'b'\)"):
        mean(values, ["a", "b", "c"], unit="nats")
    with pytest.raises(BadInput, match="3 values and 2 question ids"):
        mean(values, ["a", "b"], unit="nats")
    with pytest.raises(BadInput, match="There are no values"):
        mean(np.array([]), [], unit="nats")
    with pytest.raises(BadInput, match=r"confidence of 95 is out of range"):
        mean(np.arange(3.0), ["a", "b", "c"], unit="nats", confidence=95.0)
