"""Laws of the arithmetic of directions, and of where they may be used."""

import dataclasses
import inspect
import math

import pytest
import torch

from erosion.directions import Direction, Passport, check_fits_model, check_unseen, difference_of_means
from erosion.errors import BadDirection
from erosion.sites import Site
from tests.directions.planted import AT, WIDTH, draws, sides


@pytest.fixture(scope="module")
def v():
    facts = {
        "questions": ("q1", "q2"),
        "held_out": {"metric": "auc", "value": 0.9},
        "model": "m",
        "span": "response",
    }
    return difference_of_means(*sides(50), at=AT).stamped(**facts)


@pytest.fixture(scope="module")
def w():
    return difference_of_means(*sides(50, seed=1), at=AT).stamped(questions=("q2", "q3"), model="m")


def test_negation_is_exact_and_its_own_inverse(v):
    one = -v
    assert torch.equal(one.vector, -v.vector)
    assert one.scale == v.scale
    assert one.passport.sign == "misaligned is positive"
    assert one.passport.held_out is None
    back = -one
    assert torch.equal(back.vector, v.vector)
    assert back.passport == dataclasses.replace(v.passport, held_out=None)


@pytest.mark.parametrize("factor", [-2.0, -1, 0, 0.5, 1, 3])
def test_scaling_scales_the_displacement_and_keeps_a_unit_vector(v, factor):
    for made in (factor * v, v * factor):
        assert torch.allclose(made.displacement, factor * v.displacement, atol=1e-6)
        assert float(made.vector.norm()) == pytest.approx(1, abs=1e-6)
        assert made.scale >= 0


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_factor_that_is_not_finite_is_refused(v, factor):
    with pytest.raises(BadDirection, match="cannot be scaled"):
        factor * v


def test_addition_adds_displacements_and_the_passport_says_so(v, w):
    total = v + w
    assert torch.allclose(total.displacement, v.displacement + w.displacement, atol=1e-5)
    assert torch.allclose(total.vector, (w + v).vector, atol=1e-6)
    assert float(total.vector.norm()) == pytest.approx(1, abs=1e-6)
    assert total.passport.fit == "difference_of_means + difference_of_means"
    assert total.passport.questions == ("q1", "q2", "q3")
    assert total.passport.model == "m"
    assert total.passport.span is None  # they do not agree
    assert total.passport.held_out is None
    assert total.passport.sign == "aligned is positive"


def test_a_difference_has_no_positive_side(v, w):
    assert torch.allclose((v - w).displacement, v.displacement - w.displacement, atol=1e-5)
    assert (v - w).passport.sign is None
    assert (v - w).passport.fit == "difference_of_means + -(difference_of_means)"
    assert (-(v - w)).passport.fit == "-(difference_of_means + -(difference_of_means))"


def test_what_can_not_be_added_is_refused(v, w):
    with pytest.raises(BadDirection, match="cancel"):
        v - v
    with pytest.raises(BadDirection, match=r"L3.resid_post and L4.resid_post do not add"):
        v + w.stamped(site=Site(4))
    narrow = difference_of_means(*sides(9, width=8), at=AT)
    with pytest.raises(BadDirection, match="24 wide and this is 8 wide"):
        v + narrow
    with pytest.raises(BadDirection, match="24 wide and this is 8 wide"):
        v.cosine(narrow)


def test_cosine_is_symmetric_and_one_with_itself(v, w):
    assert v.cosine(v) == pytest.approx(1, abs=1e-6)
    assert v.cosine(-v) == pytest.approx(-1, abs=1e-6)
    assert v.cosine(w) == w.cosine(v)
    assert v.cosine(3 * w) == pytest.approx(v.cosine(w))


def test_projection_takes_any_leading_axes_and_moves_by_scale_under_its_own_displacement(v):
    acts = draws(4, 6, WIDTH, seed=1).float()
    assert v.project(acts).shape == (4, 6)
    assert torch.allclose(
        v.project(acts + v.displacement) - v.project(acts), torch.tensor(v.scale).double(), atol=1e-5
    )
    with pytest.raises(BadDirection, match="24 wide and this is 8 wide"):
        v.project(acts[..., :8])


def test_a_direction_prints_as_one_line(v):
    assert repr(v).startswith("Direction(L3.resid_post, difference_of_means, scale ")
    assert repr(-v).startswith("Direction(L3.resid_post, -difference_of_means, scale ")
    assert "\n" not in repr(v)
    assert "x norm, 24 wide)" in repr(v)


def test_a_direction_is_frozen_and_copies_nothing_in(v):
    with pytest.raises(dataclasses.FrozenInstanceError):
        v.vector = torch.zeros(WIDTH)
    with pytest.raises(dataclasses.FrozenInstanceError):
        v.passport.scale = 2.0


@pytest.mark.parametrize("bad", [0.0, 2.0, math.nan, math.inf])
def test_a_vector_that_is_no_unit_vector_is_refused(bad):
    with pytest.raises(BadDirection, match="not 1"):
        Direction(bad * torch.eye(4)[0], Passport(site=AT, fit="mine", scale=1.0))


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
def test_a_scale_that_is_no_length_is_refused(scale):
    with pytest.raises(BadDirection, match="no length"):
        Passport(site=AT, fit="mine", scale=scale)


def test_stamping_fills_fields_and_refuses_what_a_passport_does_not_hold(v):
    assert v.stamped(dtype="bfloat16").passport.dtype == "bfloat16"
    assert torch.equal(v.stamped(dtype="bfloat16").vector, v.vector)
    with pytest.raises(BadDirection, match="no field 'weight_hash': did you mean 'weights_hash'"):
        v.stamped(weight_hash="abc")


def test_a_fit_fills_in_what_it_knows_and_guesses_nothing():
    passport = difference_of_means(*sides(50), at=AT).passport
    assert passport.erosion_version
    assert passport.transformer_lens_version
    known = {"site", "fit", "scale", "sign", "residual_norm", "erosion_version", "transformer_lens_version"}
    assert {f.name for f in dataclasses.fields(passport) if getattr(passport, f.name) is not None} == known


def test_measuring_on_a_question_it_saw_is_refused_unless_named(v):
    check_unseen(v, ["q3", "q4"])
    check_unseen(v, ["q1", "q3"], allowing=["q1"])
    with pytest.raises(BadDirection, match=r"has seen question 'q2' \(2 of the 3 asked\)"):
        check_unseen(v, ["q3", "q2", "q1", "q1"])
    with pytest.raises(BadDirection, match="'q2'"):
        check_unseen(v, ["q1", "q2"], allowing=["q1"])


def test_what_saw_no_question_or_does_not_know_passes(v):
    check_unseen(v.stamped(questions=()), ["q1"])
    check_unseen(v.stamped(questions=None), ["q1"])


def test_a_sum_has_seen_what_its_parts_have(v, w):
    with pytest.raises(BadDirection, match="'q3'"):
        check_unseen(v + w, ["q3"])


def test_the_model_it_was_made_for_passes(v):
    made = v.stamped(weights_hash="a" * 64)
    check_fits_model(made, weights_hash="a" * 64, d_model=WIDTH, n_layers=4)
    check_fits_model(made, weights_hash=None, d_model=WIDTH, n_layers=4)
    check_fits_model(v, weights_hash="b" * 64, d_model=WIDTH, n_layers=4)


def test_a_model_it_was_not_made_for_is_refused_in_words(v):
    made = v.stamped(weights_hash="a" * 64)
    with pytest.raises(BadDirection, match=r"L3 does not exist: this model has 3 layers \(L0 to L2\)"):
        check_fits_model(made, weights_hash=None, d_model=WIDTH, n_layers=3)
    with pytest.raises(BadDirection, match="24 wide, this model's residual stream 64"):
        check_fits_model(made, weights_hash=None, d_model=64, n_layers=4)
    with pytest.raises(BadDirection, match="fitted on m with weights aaaaaaaa…, and this one has bbbbbbbb…"):
        check_fits_model(made, weights_hash="b" * 64, d_model=WIDTH, n_layers=4)


def test_a_head_has_a_width_of_its_own(v):
    head = v.stamped(site=Site(3, "z", 1))
    check_fits_model(head, weights_hash=None, d_model=64, n_layers=4)


def test_every_public_function_takes_at_most_two_positional_arguments_or_is_a_score():
    from erosion import directions

    for name in directions.__all__:
        made = getattr(directions, name)
        if inspect.isfunction(made) and name not in {"auc", "gap", "paired_accuracy", "separation"}:
            kinds = [p.kind for p in inspect.signature(made).parameters.values()]
            assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2, name
            assert len(kinds) <= 5, name
