"""Laws of the guards: skewed questions, coarser clusters, seeds, and null bands of what is fitted."""

import numpy as np
import pytest
from clustered import IDS, rate

from erosion.errors import BadInput
from erosion.stats import (
    Margins,
    clustered,
    crossed_mean,
    erosion,
    fitted_null_band,
    mean,
    over_seeds,
    permutation_test,
    ratio,
    verdict,
)
from erosion.stats.means import guarded_mean_of_questions, mean_of_questions
from erosion.stats.skewness import guarded_ends


def skewed(rng, n, sign=1):
    return sign * (rng.exponential(size=n) - 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_skewed_questions_do_not_make_kept_or_eroded_false_too_often(sign):
    rng, critical = np.random.default_rng(0), 2.01
    missed, plain = 0, 0
    for _ in range(3000):
        x = skewed(rng, 48, sign)
        down, up = guarded_ends(x, critical=critical)
        t = x.mean() / (x.std(ddof=1) / np.sqrt(48))
        missed += t < -up if sign > 0 else t > down
        plain += t < -critical if sign > 0 else t > critical
    assert missed / 3000 < 0.04 < plain / 3000


def test_a_guarded_interval_is_never_shorter_than_students_and_is_it_for_symmetric_questions():
    rng = np.random.default_rng(1)
    for _ in range(50):
        x = skewed(rng, 30)
        plain, guarded = (
            of(x, unit="nats", confidence=0.95) for of in (mean_of_questions, guarded_mean_of_questions)
        )
        assert guarded.low <= plain.low + 1e-12
        assert guarded.high >= plain.high - 1e-12
    symmetric = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert guarded_ends(symmetric, critical=2.776) == (2.776, 2.776)


def test_the_guard_mirrors_with_the_sign_of_the_values():
    x = skewed(np.random.default_rng(2), 40)
    down, up = guarded_ends(x, critical=2.02)
    assert guarded_ends(-x, critical=2.02) == pytest.approx((up, down))


def test_erosion_is_guarded_and_holds_fiellers_interval():
    rng = np.random.default_rng(3)
    gained = 1.5 + 0.5 * rng.normal(size=96)
    lost = 0.3 * gained + 0.4 * skewed(rng, 96)
    plain, guarded = ratio(lost, gained, IDS), erosion(gained, gained - lost, 0 * gained, IDS)
    assert guarded.low == pytest.approx(plain.low)
    assert guarded.high > plain.high
    assert guarded.method == "Fieller, skewness-guarded t"


def test_questions_of_one_template_count_as_one():
    rng, templates = np.random.default_rng(4), {q: f"template {i // 4}" for i, q in enumerate(IDS)}

    def covers(ids):
        shared = np.repeat(rng.normal(size=24), 4) + 0.3 * rng.normal(size=96)
        return mean(shared, ids, unit="nats").covers(0)

    assert rate(lambda _: covers(clustered(IDS, templates)), 600) > 0.92
    assert rate(lambda _: covers(IDS), 600) < 0.8
    found = verdict(Margins(*rng.normal(size=(2, 96)), questions=clustered(IDS, templates)))
    assert found.estimate.n_questions == 24
    assert found.estimate.approximate


def test_a_cluster_that_fits_no_question_is_refused():
    with pytest.raises(BadInput, match="None of the 96 questions has a cluster"):
        clustered(IDS, {"elsewhere": "a"})
    with pytest.raises(BadInput, match="All questions are in one cluster"):
        clustered(IDS, dict.fromkeys(IDS, "a"))


def test_templates_crossed_with_topics_are_both_allowed_for():
    rng = np.random.default_rng(5)
    templates, topics = [str(i // 16) for i in range(256)], [str(i % 16) for i in range(256)]

    def values():
        return np.repeat(rng.normal(size=16), 16) + np.tile(rng.normal(size=16), 16) + rng.normal(size=256)

    assert rate(lambda _: crossed_mean(values(), templates, topics, unit="x").covers(0), 500) > 0.9
    assert rate(lambda _: mean(values(), templates, unit="x").covers(0), 500) < 0.9


def test_seeds_have_the_interval_of_seeds():
    found = over_seeds(np.array([0.62, 0.55, 0.71]), unit="fraction", n_questions=96)
    like = mean(np.array([0.62, 0.55, 0.71]), ["a", "b", "c"], unit="fraction")
    assert (found.low, found.high, found.method) == (like.low, like.high, "t over 3 seeds")
    assert "one seed" in over_seeds(np.array([0.5]), unit="fraction", n_questions=96).why


def test_a_fitted_null_band_is_left_one_time_in_twenty_although_its_layers_have_their_own_scales():
    rng, sides = np.random.default_rng(6), np.repeat([1.0, -1.0], 24)
    scales = np.array([1.0, 100.0, 0.01])

    def trial(seed):
        apart = rng.normal(size=(24, 3, 5)) * scales[:, None]
        test = permutation_test(
            lambda side: np.linalg.norm((side[:24, None, None] * apart).mean(axis=0), axis=1),
            sides,
            IDS[:24] * 2,
            permutations=99,
            seed=seed,
        )
        return (fitted_null_band(test, unit="x").p <= 0.05).any()

    assert 0.03 < rate(trial, 600) < 0.07


def test_a_fitted_null_band_needs_a_curve():
    test = permutation_test(
        lambda s: float(s.sum()), np.array([1, -1] * 4), list("aabbccdd"), permutations=99
    )
    with pytest.raises(BadInput, match="no band over layers"):
        fitted_null_band(test, unit="x")
