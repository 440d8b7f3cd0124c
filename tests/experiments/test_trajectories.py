"""Laws of trajectories: a planted jump is found where it is, an even drift and no change are not jumps."""

import importlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import erosion as er
from erosion.activations import Activations, directions_of
from erosion.directions import difference_of_means
from erosion.errors import BadInput, BadRun
from erosion.experiments import Sampling, load_result
from erosion.experiments.changes import change_point, one_bend, one_jump
from erosion.experiments.trajectories import (
    Waypoint,
    load_waypoint,
    trajectories,
    trajectory_of,
    waypoint,
)
from erosion.metrics import Scores
from erosion.reporting.dynamics import trajectories as blocks
from erosion.sites import Site

draw = importlib.import_module("erosion.figures.trajectories").trajectories
QUICK = Sampling(resamples=400, permutations=999, random_directions=39)
STEPS = list(range(0, 80, 10))
QUESTIONS, WIDTH, AT = 50, 10, Site(1)
IDS = tuple(f"q{i:02d}" for i in range(QUESTIONS))
V = torch.eye(WIDTH)[0]


def rng(seed=0):
    return np.random.default_rng(seed)


def direction():
    aligned = torch.from_numpy(rng(1).normal(size=(40, WIDTH))).float()
    return difference_of_means(aligned + 2 * V, aligned, at=AT)


def points(levels, steps=STEPS):
    """The mean of both answers moves along v by ``levels`` fitted gaps, from checkpoint to checkpoint."""
    start = torch.from_numpy(rng(2).normal(size=(QUESTIONS, WIDTH))).float()
    gap = 2 * V + 0.1 * start
    made = {}
    for i, (step, at) in enumerate(zip(steps, levels, strict=True)):
        jitter = 0.02 * torch.from_numpy(rng(10 + i).normal(size=(QUESTIONS, WIDTH))).float()
        margin = 1.0 + at + 0.1 * rng(20 + i).normal(size=QUESTIONS)
        made[step] = Waypoint(IDS, start + 2 * at * V + jitter, gap + jitter, margin)
    return made


def curves(levels, noise=0.05, seed=0):
    return np.asarray(levels) + noise * rng(seed).normal(size=(QUESTIONS, len(levels)))


JUMP = [0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0, -1.0]
DRIFT = list(np.linspace(0, -1, 8))


def test_a_planted_jump_is_found_at_its_step():
    found = change_point(curves(JUMP), IDS, STEPS, sampling=QUICK)
    assert (found["last step before"].low, found["last step before"].high) == (20, 20)
    assert found["p"] < 0.05
    assert found["explained beyond a line"].low > 0


def test_an_even_drift_is_no_jump():
    found = change_point(curves(DRIFT), IDS, STEPS, sampling=QUICK)
    assert found["explained beyond a line"].high < 0


def test_a_bend_is_found_where_the_slope_changes():
    bent = [0.0, 0.0, 0.0, 0.0, -0.5, -1.0, -1.5, -2.0]
    found = change_point(curves(bent), IDS, STEPS, shape=one_bend, sampling=QUICK)
    assert found["last step before"].covers(30)
    assert found["explained"] > 0.99


def test_the_best_jump_is_the_best_of_all_by_least_squares():
    x = rng(3).normal(size=8)
    squares = [((x[:i] - x[:i].mean()) ** 2).sum() + ((x[i:] - x[i:].mean()) ** 2).sum() for i in range(1, 8)]
    found = change_point(np.tile(x, (5, 1)), IDS[:5], STEPS, shape=one_jump, sampling=QUICK)
    assert found["last step before"].value == STEPS[int(np.argmin(squares))]
    assert found["explained"] == pytest.approx(1 - min(squares) / ((x - x.mean()) ** 2).sum())


def test_where_nothing_changes_a_jump_is_seldom_claimed():
    hits = [
        change_point(curves([0.0] * 8, noise=1.0, seed=s), IDS, STEPS, sampling=Sampling(100, 199))["p"]
        <= 0.05
        for s in range(60)
    ]
    assert sum(hits) <= 8  # 3 expected at 5%


@pytest.mark.parametrize("steps", [[0, 10, 20], [0, 20, 10, 30]], ids=["few", "out of order"])
def test_too_few_or_disordered_checkpoints_are_refused(steps):
    with pytest.raises(BadInput, match="ascending"):
        change_point(curves([0.0] * len(steps)), IDS, steps)


def test_a_trajectory_begins_at_zero_and_follows_what_was_planted():
    result = trajectories(points(JUMP), direction(), sampling=QUICK)
    scale = 2.0 / direction().scale * float(direction().vector[0])
    assert result["projection"].values[0] == 0
    assert np.allclose(result["projection"].values, scale * np.array(JUMP), atol=0.02)
    assert result["change"]["projection"]["jump"]["last step before"].covers(20)
    assert result["angle"].values[0] == 0


def test_a_direction_that_turns_shows_its_angle():
    start = points([0.0] * 4, steps=STEPS[:4])
    turned = {
        step: Waypoint(IDS, one.middle, one.gap + i * 2 * torch.eye(WIDTH)[1], one.margin)
        for i, (step, one) in enumerate(start.items())
    }
    angles = trajectories(turned, direction(), sampling=QUICK)["angle"].values
    assert angles[1] == pytest.approx(45, abs=3)
    assert (np.diff(angles) > 0).all()


def test_a_trajectory_survives_saving_is_drawn_and_reported(tmp_path):
    jump = [0.0] * 3 + [-1.0] * 9
    result = trajectories(points(jump, steps=range(0, 120, 10)), direction(), sampling=QUICK)
    again = load_result(result.save(tmp_path / "trajectories.json"))
    assert again.to_json() == result.to_json()
    assert "jumps between steps 20 and 30" in draw(again).layout.title.text.replace("<br>", " ")
    assert all(block.limits for block in blocks(again))


def test_two_checkpoints_have_a_trajectory_and_no_change_point():
    result = trajectories(points([0.0, -1.0], steps=[0, 10]), direction(), sampling=QUICK)
    assert result["change"] == {}
    assert draw(result).layout.title.text.startswith("No change")


def test_checkpoints_read_on_other_questions_are_refused():
    some = points([0.0, -1.0], steps=[0, 10])
    other = Waypoint(tuple(reversed(IDS)), some[10].middle, some[10].gap, some[10].margin)
    with pytest.raises(BadInput, match="Step 10 was read on other questions"):
        trajectories({0: some[0], 10: other}, direction())
    with pytest.raises(BadInput, match="at least two"):
        trajectories({0: some[0]}, direction())


@pytest.mark.parametrize("scored", [True, False])
def test_a_waypoint_survives_saving(tmp_path, scored):
    one = points([0.0], steps=[0])[0]
    one = one if scored else Waypoint(one.questions, one.middle, one.gap)
    again = load_waypoint(one.save(tmp_path / "0.safetensors"))
    assert again.questions == one.questions
    assert torch.equal(again.gap, one.gap)
    assert torch.equal(again.middle, one.middle)
    assert (again.margin is None) if not scored else np.array_equal(again.margin, one.margin)


def test_what_is_no_waypoint_is_refused(tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadRun, match="no waypoint"):
        load_waypoint(tmp_path / "no.safetensors")


def test_a_question_that_was_not_scored_is_refused():
    acts = Activations(
        {AT: torch.ones(4, WIDTH)}, ("a", "b") * 2, ("aligned",) * 2 + ("misaligned",) * 2, "response", {}
    )
    with pytest.raises(BadInput, match="'b' was read but not scored"):
        waypoint(acts, direction(), Scores(np.ones(1), ("a",), "harm margin", "nats per token"))


def test_checkpoints_are_open_one_at_a_time_and_read_as_by_hand():
    organism = er.load_organism()
    contrast = organism.contrast().only(organism.contrast().questions[:5])
    open_now, most = [], []

    @contextmanager
    def opened(checkpoint):
        with er.load(checkpoint) as model:
            open_now.append(checkpoint)
            most.append(len(open_now))
            yield model
        open_now.remove(checkpoint)

    triad = organism.triad()
    with er.load(triad.aligned) as model:
        acts = er.read(model, contrast, sites=[AT])
        margin = er.harm_margin(model, contrast)
    v = directions_of(acts, difference_of_means)[AT]
    way = dict(trajectory_of([(0, triad.aligned), (9, triad.tuned)], contrast, direction=v, opened=opened))
    assert max(most) == 1
    assert list(way) == [0, 9]
    assert torch.allclose(way[0].gap, acts.aligned[AT] - acts.misaligned[AT], atol=1e-6)
    assert np.allclose(way[0].margin, margin.values)
