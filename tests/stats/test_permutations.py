import json

import numpy as np
import pytest
from clustered import IDS, NOISES, rate, smooth

from erosion.errors import BadInput
from erosion.stats import NullBand, null_band, permutation_test

PAIRS = [q for q in IDS[:24] for _ in range(2)]
SIDES = np.array([1.0, -1.0] * 24)


@pytest.mark.parametrize("noise", NOISES)
def test_a_curve_of_nothing_leaves_the_null_band_one_time_in_twenty(noise):
    rng = np.random.default_rng(1)

    def trial(seed):
        found = null_band(smooth(noise, rng), IDS, permutations=199, seed=seed)
        left = (np.abs(found.observed) > found.band.high).any()
        assert left == (found.p.min() <= 0.05)
        return left

    assert 0.03 < rate(trial, 1200) < 0.07


def test_sign_flips_are_exact_for_few_questions_with_a_symmetric_effect():
    rng = np.random.default_rng(2)

    def trial(seed):
        return (
            null_band(rng.standard_t(2, size=(12, 5)), IDS[:12], permutations=199, seed=seed).p.min() <= 0.05
        )

    assert 0.03 < rate(trial, 1200) < 0.07


def test_a_real_effect_leaves_the_null_band_where_it_is():
    values = smooth("normal", np.random.default_rng(3))
    values[:, 5] += 2
    found = null_band(values, IDS, permutations=999)
    assert found.p[5] == pytest.approx(1 / 1000)
    assert found.observed[5] > found.band.high[5]


def test_a_null_band_does_not_change_with_the_order_or_between_runs():
    rng = np.random.default_rng(4)
    values, order = smooth("normal", rng), rng.permutation(96)
    one = null_band(values, IDS, permutations=199, seed=5)
    assert one == null_band(values, IDS, permutations=199, seed=5)
    np.testing.assert_array_equal(
        one.p, null_band(values[order], [IDS[i] for i in order], permutations=199, seed=5).p
    )


def test_a_null_band_comes_back_from_json_to_the_last_bit():
    found = null_band(smooth("normal", np.random.default_rng(5)), IDS, permutations=199)
    assert NullBand.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_nothing_at_all_is_no_effect():
    assert null_band(np.zeros((96, 3)), IDS, permutations=199).p.tolist() == [1.0, 1.0, 1.0]


def test_label_swaps_find_nothing_one_time_in_twenty():
    rng = np.random.default_rng(6)

    def trial(seed):
        x = rng.normal(size=48) + np.repeat(rng.normal(size=24), 2)  # the two exchanges of a question agree
        return (
            permutation_test(lambda side: abs((side * x).mean()), SIDES, PAIRS, permutations=99, seed=seed).p
            <= 0.05
        )

    assert 0.03 < rate(trial, 1200) < 0.07


def test_refitting_inside_keeps_a_fitted_direction_honest():
    rng = np.random.default_rng(7)

    def separation(x):
        def of(side):
            direction = (side[:, None] * x).mean(axis=0)  # fitted on the very data that it then separates
            return float((side * (x @ direction)).mean() / np.linalg.norm(direction))

        return of

    def trial(seed):
        return (
            permutation_test(
                separation(rng.normal(size=(48, 20))), SIDES, PAIRS, permutations=99, seed=seed
            ).p
            <= 0.05
        )

    assert 0.03 < rate(trial, 600) < 0.07
    planted = rng.normal(size=(48, 20)) + SIDES[:, None]
    assert permutation_test(separation(planted), SIDES, PAIRS, permutations=999).p == 1 / 1000


def test_a_curve_gets_family_wise_p_values():
    rng = np.random.default_rng(8)

    def trial(seed):
        x = rng.normal(size=(48, 10))
        found = permutation_test(lambda side: np.abs(side @ x), SIDES, PAIRS, permutations=99, seed=seed)
        assert found.null.shape == (99, 10)
        return found.p.min() <= 0.05

    assert 0.03 < rate(trial, 600) < 0.07


def test_labels_never_leave_their_question():
    labels = np.array(["aligned", "misaligned", "misaligned"] * 10)
    ids = [f"q{i // 3}" for i in range(30)]
    seen = []
    permutation_test(lambda given: seen.append(given) or 0.0, labels, ids, permutations=50)
    assert len(seen) == 51
    for given in seen:
        assert (given.reshape(10, 3) == "aligned").sum(axis=1).tolist() == [1] * 10


def test_a_swap_does_not_depend_on_the_order_of_the_exchanges():
    rng = np.random.default_rng(9)
    x, order = rng.normal(size=48), rng.permutation(48)
    one = permutation_test(lambda s: float(s @ x), SIDES, PAIRS, permutations=99)
    ids = [PAIRS[i] for i in order]
    other = permutation_test(lambda s: float(s @ x[order]), SIDES[order], ids, permutations=99)
    np.testing.assert_allclose(one.null, other.null, atol=1e-12)


def test_p_counts_the_observed_labels_themselves():
    found = permutation_test(lambda _: 1.0, SIDES, PAIRS, permutations=99)
    assert found.p == 1.0
    assert found.to_json()["p"] == 1.0


def test_bad_permutations_are_refused_in_one_line():
    with pytest.raises(BadInput, match="nothing to swap within questions"):
        permutation_test(lambda s: 0.0, SIDES, [str(i) for i in range(48)])
    with pytest.raises(BadInput, match="48 labels and 3 question ids"):
        permutation_test(lambda s: 0.0, SIDES, ["a", "b", "c"])
    with pytest.raises(BadInput, match="10 permutations cannot show"):
        permutation_test(lambda s: 0.0, SIDES, PAIRS, permutations=10)
    with pytest.raises(BadInput, match="One question has no null band"):
        null_band(np.ones((2, 3)), ["a", "a"])
    with pytest.raises(BadInput, match="not finite"):
        null_band(np.full((2, 3), np.nan), ["a", "b"])
