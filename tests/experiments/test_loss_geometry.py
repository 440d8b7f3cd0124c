"""Laws of loss geometry: opposition is read off raw cosines; artefacts show where nothing is there."""

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments import Sampling, load_result, loss_geometry
from erosion.experiments.loss_vectors import filled, groups_of, loss_vectors
from erosion.experiments.pairwise import (
    block_means,
    centred_cosines,
    cosines,
    opposes,
    pooled_centred,
    summaries,
)
from erosion.figures import loss_geometry as figures
from erosion.figures import loss_geometry_claims as claims
from erosion.metrics import Responses

N = 30
QUICK = Sampling(permutations=200)
DOMAINS = {f"q{i}": ("cooking", "garden", "code")[i % 3] for i in range(N)}


def vectors(*centres, n=N, width=6, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([centre + noise * rng.normal(size=(n, width)) for centre in centres])


def questions(groups, n=N):
    return [f"q{i:03}" for i in range(n)] * groups


def summary(values, compare=cosines, groups=("a", "b"), n=N):
    labels = [group for group in groups for _ in range(n)]
    return summaries(values @ values.T, labels, questions(len(groups), n), compare=compare, sampling=QUICK)


def scored(*, shift=0.0, lengths=((8,), (8,)), seed=0):
    """Losses that depend on the position alone, but for ``shift`` on misaligned answers."""
    rng = np.random.default_rng(seed)
    rows = [(i, side) for side in (0, 1) for i in range(N)]
    values = []
    for i, side in rows:
        n = lengths[side][i % len(lengths[side])]
        values.append(
            -np.abs(1 + np.sin(np.arange(n)) + shift * side * (np.arange(n) % 2) + 0.2 * rng.normal(size=n))
        )
    return Responses(
        tuple(f"q{i}" for i, _ in rows),
        tuple(("aligned", "misaligned")[side] for _, side in rows),
        tuple(tuple(range(len(one))) for one in values),
        tuple(values),
        tuple(values),
        np.zeros(2 * N),
    )


def test_centring_forces_equal_groups_apart_whatever_the_data():
    for seed in range(5):
        values = vectors(np.full(6, 3.0), np.full(6, 3.0), seed=seed)
        means = block_means(pooled_centred(values @ values.T), ["a"] * N + ["b"] * N)
        assert means["a"]["b"] == pytest.approx(-(means["a"]["a"] + means["b"]["b"]) / 2, abs=1e-12)


def test_groups_that_share_a_mean_oppose_only_after_centring():
    apart = np.array([1.0, 0, 0, 0, 0, 0])
    values = vectors(2.0 + apart, 2.0 - apart)
    assert not opposes(summary(values)["cross"]["a and b"])
    assert opposes(summary(values, centred_cosines)["cross"]["a and b"])
    assert opposes(summary(vectors(3 * apart, -3 * apart))["cross"]["a and b"])


def test_pairs_of_one_question_do_not_count():
    own = np.random.default_rng(0).normal(size=(N, 60))
    found = summary(np.concatenate([own, own]))  # each question's two vectors are the same
    assert abs(found["cross"]["a and b"].value) < 0.05
    assert found["cross"]["a and b"].covers(0)


def test_means_equal_those_over_every_pair_of_different_questions():
    values = vectors(1.0, np.arange(6.0), np.zeros(6), n=7)
    matrix, asked = cosines(values @ values.T), questions(3, 7)
    found = summary(values, groups=("a", "b", "c"), n=7)
    cross = [matrix[i, 7 + j] for i in range(7) for j in range(7) if asked[i] != asked[j]]
    within = [matrix[i, j] for i in range(7) for j in range(7) if i != j]
    assert found["cross"]["a and b"].value == pytest.approx(np.mean(cross))
    assert found["within"]["a"].value == pytest.approx(np.mean(within))


@pytest.mark.parametrize("compare", [cosines, centred_cosines])
def test_intervals_cover_the_value_of_a_large_sample(compare):
    centres = np.full(6, 0.4), np.array([0.8, 0, 0, 0.4, 0, 0])
    truth = summary(vectors(*centres, n=400, noise=1, seed=99), compare, n=400)["cross"]["a and b"].value
    hits = [
        summary(vectors(*centres, noise=1, seed=s), compare)["cross"]["a and b"].covers(truth)
        for s in range(24)
    ]
    assert np.mean(hits) >= 0.8


def test_swapped_labels_leave_a_difference_of_groups_outside_and_none_inside():
    none = summary(vectors(np.full(6, 1.0), np.full(6, 1.0)))["within minus cross"]["a and b"]
    assert none.control.low < none.value < none.control.high
    there = summary(vectors(np.full(6, 1.0), np.arange(6.0)))["within minus cross"]["a and b"]
    assert there.value > there.control.high
    assert there.control.name == "labels swapped within questions"


def test_one_question_gives_no_cross_pair_and_two_give_no_interval():
    one = summary(vectors(1.0, 1.0, n=1), n=1)["cross"]["a and b"]
    assert one.undefined
    two = summary(vectors(1.0, 1.0, n=2), n=2)["within"]["a"]
    assert not two.undefined
    assert two.high == np.inf
    with pytest.raises(BadInput, match="give every vector its group"):
        summaries(np.eye(3), ["a"] * 3, ["q"] * 2)


def test_filling_missing_positions_by_group_leaks_the_label_and_shared_positions_do_not():
    uneven = scored(lengths=((2, 20), (3, 20)))
    groups = list(groups_of(uneven, DOMAINS))
    asked = list(uneven.questions)
    wide = filled(uneven, groups, most=20)
    leaked = summaries(wide @ wide.T, groups, asked, compare=centred_cosines, sampling=QUICK)
    name = "aligned answers and misaligned answers"
    assert leaked["within minus cross"][name].value > leaked["within minus cross"][name].control.high
    kept = loss_vectors({"tuned": uneven}, groups, DOMAINS)
    values = kept.values["tuned"]
    assert (kept.length, kept.left_out) == (2, 0)
    clean = summaries(values @ values.T, kept.groups, kept.questions, compare=centred_cosines, sampling=QUICK)
    one = clean["within minus cross"][name]
    assert one.control.low <= one.value <= one.control.high


@pytest.mark.parametrize("models", [("base", "aligned", "tuned"), ("aligned", "tuned")])
def test_every_number_survives_saving_and_every_figure_can_be_drawn(models, tmp_path):
    found = {name: scored(shift=2.0, seed=i) for i, name in enumerate(models)}
    result = loss_geometry(found, DOMAINS, trained_domains=["code"], sampling=QUICK)
    again = load_result(result.save(tmp_path / "loss.json"))
    assert again.to_json() == result.to_json()
    assert result.inputs["pair"] == "aligned answers and misaligned answers, trained on"
    assert not any(result["opposes"]["tuned"].values())
    assert "oppose under no model" in claims.loss_cosines(again)
    for draw in (figures.loss_cosines, figures.loss_heatmaps, figures.loss_scatter):
        assert draw(again).data


def test_harmless_pairs_come_from_benign_domains_where_there_are_two():
    found = {name: scored(seed=i) for i, name in enumerate(("aligned", "tuned"))}
    benign = {name: scored(seed=9 + i) for i, name in enumerate(found)}
    kinds = {f"q{i}": "sums" if i % 2 else "spelling" for i in range(N)}
    result = loss_geometry(found, DOMAINS, benign=(benign, kinds), sampling=QUICK)
    assert list(result["harmless pairs"]["centred"]["tuned"]) == ["spelling and sums"]
    alone = loss_geometry(found, DOMAINS, trained_domains=["code"], sampling=QUICK)
    assert list(alone["harmless pairs"]["raw"]["tuned"]) == ["cooking and garden"]


def test_models_scored_on_other_responses_are_refused():
    found = {"aligned": scored(), "tuned": scored(lengths=((5,), (8,)))}
    with pytest.raises(BadInput, match="scored on other responses"):
        loss_geometry(found, DOMAINS, sampling=QUICK)
