import math

import numpy as np
import pytest
from scipy import special

from erosion.errors import BadInput
from erosion.stats import minimum_detectable_effect, questions_needed


@pytest.mark.parametrize("n", [5, 12, 30, 96])
def test_the_minimum_detectable_effect_is_found_four_times_in_five(n):
    rng = np.random.default_rng(n)
    draws = minimum_detectable_effect(0.7, n) + 0.7 * rng.normal(size=(40_000, n))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(n))
    found = (np.abs(t) > special.stdtrit(n - 1, 0.975)).mean()
    assert found == pytest.approx(0.8, abs=0.008)


def test_power_and_confidence_are_arguments():
    assert minimum_detectable_effect(1.0, 96, power=0.9) > minimum_detectable_effect(1.0, 96)
    assert minimum_detectable_effect(1.0, 96, confidence=0.99) > minimum_detectable_effect(1.0, 96)


def test_the_questions_needed_are_the_fewest_that_suffice():
    for sd in (0.05, 0.3, 1.0, 3.0):
        n = questions_needed(sd, 0.1)
        assert minimum_detectable_effect(sd, n) <= 0.1
        assert n == 2 or minimum_detectable_effect(sd, n - 1) > 0.1


def test_about_784_times_the_variance_are_needed_at_a_tenth():
    for sd in (1.0, 3.0):
        assert questions_needed(sd, 0.1) == pytest.approx(784 * sd**2, rel=0.005)


def test_without_spread_two_questions_suffice_and_one_never_does():
    assert questions_needed(0.0, 0.1) == 2
    assert minimum_detectable_effect(0.0, 2) == 0
    assert minimum_detectable_effect(1.0, 1) == math.inf


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: questions_needed(1.0, 0.0), "A smallest effect of 0 cannot be looked for"),
        (lambda: questions_needed(-1.0, 0.1), "A standard deviation of -1 is none"),
        (lambda: minimum_detectable_effect(math.nan, 96), "A standard deviation of nan is none"),
        (lambda: minimum_detectable_effect(1.0, 96, power=1.0), "A power of 1 is out of range"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(call, says):
    with pytest.raises(BadInput, match=says):
        call()
