"""Laws of scores: what they are on data that the direction has not seen."""

import inspect
import math

import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from erosion.directions import auc, difference_of_means, gap, paired_accuracy, separation
from erosion.errors import BadDirection
from tests.directions.planted import AT, WIDTH, draws, sides

SCORES = [auc, paired_accuracy, separation, gap]
every_score = pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)


@pytest.fixture(scope="module")
def v():
    return difference_of_means(*sides(1500), at=AT)


def test_the_scores_of_gaussian_sides_are_those_of_theory(v):
    held_out = sides(1500)[0].flip(0), sides(1500)[1]
    assert gap(v, *held_out) == pytest.approx(3, abs=0.15)
    assert separation(v, *held_out) == pytest.approx(3, abs=0.15)
    assert auc(v, *held_out) == pytest.approx(norm.cdf(3 / math.sqrt(2)), abs=0.01)
    assert paired_accuracy(v, *held_out) == pytest.approx(norm.cdf(3 / math.sqrt(2)), abs=0.02)


def test_auc_is_that_of_scikit_learn(v):
    aligned, misaligned = sides(60, gap=0.5)
    labels = [1] * 60 + [0] * 40
    projected = v.project(torch.cat([aligned, misaligned[:40]]))
    assert auc(v, aligned, misaligned[:40]) == pytest.approx(roc_auc_score(labels, projected), abs=1e-12)


@every_score
def test_swapping_the_sides_mirrors_the_score(v, score):
    aligned, misaligned = sides(60, gap=1)
    middle = 1.0 if score in (auc, paired_accuracy) else 0.0
    assert score(v, misaligned, aligned) == pytest.approx(middle - score(v, aligned, misaligned))
    assert score(-v, aligned, misaligned) == pytest.approx(middle - score(v, aligned, misaligned))


def test_ties_count_half(v):
    same = draws(1, WIDTH, seed=1).float().expand(4, WIDTH)
    assert auc(v, same, same[:3]) == 0.5
    assert paired_accuracy(v, same, same) == 0.5
    assert gap(v, same, same) == 0
    assert math.isnan(separation(v, same, same))


def test_pairs_cancel_what_their_question_shares(v):
    aligned, misaligned = sides(400)
    question = 30 * draws(400, 1, seed=5).float() * v.vector
    assert auc(v, aligned + question, misaligned + question) < 0.65
    assert paired_accuracy(v, aligned + question, misaligned + question) > 0.95


def test_one_exchange_a_side_is_enough_except_for_a_spread(v):
    aligned, misaligned = (side[:1] for side in sides(10, gap=20))
    assert auc(v, aligned, misaligned) == 1
    assert paired_accuracy(v, aligned, misaligned) == 1
    with pytest.raises(BadDirection, match="has 1 exchange"):
        separation(v, aligned, misaligned)


@every_score
def test_what_can_not_be_scored_is_refused(v, score):
    aligned, misaligned = sides(10)
    with pytest.raises(BadDirection, match="has 0 exchange"):
        score(v, aligned[:0], misaligned[:0])
    with pytest.raises(BadDirection, match="NaN or infinity"):
        score(v, aligned, misaligned * math.nan)
    with pytest.raises(BadDirection, match="24 wide and this is 8 wide"):
        inspect.unwrap(score)(v, aligned[:, :8], misaligned[:, :8])


def test_pairs_are_needed_for_paired_accuracy(v):
    aligned, misaligned = sides(10)
    with pytest.raises(BadDirection, match="10 aligned and 9 misaligned"):
        paired_accuracy(v, aligned, misaligned[:9])
