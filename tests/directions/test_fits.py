"""Laws that hold for every fit, and the few that tell them apart."""

import inspect
import math

import pytest
import torch

from erosion.directions import auc, difference_of_means, gap, logistic_probe, principal_component, whitened
from erosion.errors import BadDirection
from tests.directions.planted import AT, FITS, WIDTH, draws, sides, truth

every_fit = pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)


def unchecked(fit):
    """The fit without the shape checks that only tests have: what a user's wrong shape meets."""
    return inspect.unwrap(fit)


@every_fit
@pytest.mark.parametrize("seed", range(3))
def test_finds_a_planted_direction(fit, seed):
    v = fit(*sides(3000, seed=seed), at=AT)
    assert float(v.vector.double() @ truth(seed)) > 0.99
    assert v.scale == pytest.approx(3.0, abs=0.15)
    assert v.site == AT
    assert v.passport.fit == fit.__name__
    assert v.passport.sign == "aligned is positive"


@every_fit
def test_has_unit_length_in_float32_on_the_cpu(fit):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        v = fit(*(side.to(dtype) for side in sides(100)), at=AT)
        assert v.vector.dtype == torch.float32
        assert v.vector.device.type == "cpu"
        assert float(v.vector.double().norm()) == pytest.approx(1, abs=1e-6)


@every_fit
def test_flips_when_the_sides_swap(fit):
    aligned, misaligned = sides(200)
    one, other = fit(aligned, misaligned, at=AT), fit(misaligned, aligned, at=AT)
    assert torch.allclose(one.vector, -other.vector, atol=1e-5)
    assert one.scale == pytest.approx(other.scale, rel=1e-5)


@every_fit
def test_is_indifferent_to_the_order_of_pairs(fit):
    aligned, misaligned = sides(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    one, other = fit(aligned, misaligned, at=AT), fit(aligned[order], misaligned[order], at=AT)
    assert torch.allclose(one.vector, other.vector, atol=1e-5)


@every_fit
@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_scale_follows_the_activations_and_the_vector_does_not(fit, factor):
    aligned, misaligned = (side.double() for side in sides(200))
    one, other = fit(aligned, misaligned, at=AT), fit(factor * aligned, factor * misaligned, at=AT)
    assert torch.allclose(one.vector, other.vector, atol=1e-5)
    assert other.scale == pytest.approx(factor * one.scale, rel=1e-5)
    assert other.passport.residual_norm == pytest.approx(factor * one.passport.residual_norm, rel=1e-5)


@every_fit
def test_what_both_sides_share_does_not_matter(fit):
    aligned, misaligned = (side.double() for side in sides(200))
    shift = 100 * draws(WIDTH, seed=9)
    one, other = fit(aligned, misaligned, at=AT), fit(aligned + shift, misaligned + shift, at=AT)
    assert torch.allclose(one.vector, other.vector, atol=1e-4)


@pytest.mark.parametrize("fit", [difference_of_means, principal_component])
def test_turns_with_the_activations(fit):
    aligned, misaligned = (side.double() for side in sides(200))
    rotation = torch.linalg.qr(draws(WIDTH, WIDTH, seed=5)).Q
    one, other = fit(aligned, misaligned, at=AT), fit(aligned @ rotation, misaligned @ rotation, at=AT)
    assert torch.allclose(one.vector.double() @ rotation, other.vector.double(), atol=1e-5)


@every_fit
def test_the_same_data_gives_the_same_bits_and_is_left_alone(fit):
    aligned, misaligned = sides(100)
    before = aligned.clone(), misaligned.clone()
    one, other = fit(aligned, misaligned, at=AT), fit(aligned, misaligned, at=AT)
    assert torch.equal(one.vector, other.vector)
    assert torch.equal(aligned, before[0])
    assert torch.equal(misaligned, before[1])


@every_fit
def test_scale_is_the_gap_on_the_data_it_was_fitted_on(fit):
    aligned, misaligned = sides(100)
    v = fit(aligned, misaligned, at=AT)
    assert gap(v, aligned, misaligned) == pytest.approx(v.scale, rel=1e-5)
    assert v.scale <= difference_of_means(aligned, misaligned, at=AT).scale * (1 + 1e-6)


@every_fit
@pytest.mark.parametrize("kept", [(1, 10), (10, 1), (0, 10), (10, 0)])
def test_refuses_fewer_than_two_exchanges_a_side(fit, kept):
    aligned, misaligned = sides(10)
    name, count = ("aligned", kept[0]) if kept[0] < 2 else ("misaligned", kept[1])
    with pytest.raises(BadDirection, match=rf"The {name} side has {count} exchange\(s\) and at least 2"):
        fit(aligned[: kept[0]], misaligned[: kept[1]], at=AT)


@every_fit
def test_two_exchanges_a_side_are_enough(fit):
    aligned, misaligned = sides(2, gap=30)
    v = fit(aligned, misaligned, at=AT)
    assert float(v.vector.double() @ truth()) > 0.25  # chance is 0.2 at this width, either way
    assert auc(v, aligned, misaligned) == 1


@every_fit
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_refuses_what_is_not_finite(fit, bad, side):
    both = sides(10)
    both[side][4, 2] = bad
    name = ("aligned", "misaligned")[side]
    with pytest.raises(BadDirection, match=f"The {name} side holds NaN or infinity"):
        fit(*both, at=AT)


@every_fit
def test_refuses_different_widths_and_other_shapes(fit):
    aligned, misaligned = sides(10)
    with pytest.raises(BadDirection, match="24 and 20 wide"):
        unchecked(fit)(aligned, misaligned[:, :20], at=AT)
    with pytest.raises(BadDirection, match=r"float32 \[24\]: give floats \[exchange, d_model\]"):
        unchecked(fit)(aligned[0], misaligned, at=AT)
    with pytest.raises(BadDirection, match=r"torch\.int64"):
        unchecked(fit)(aligned, misaligned.long(), at=AT)


@every_fit
def test_refuses_equal_sides(fit):
    aligned, _ = sides(10)
    with pytest.raises(BadDirection, match=r"same mean|equal at"):
        fit(aligned, aligned.clone(), at=AT)


@pytest.mark.parametrize("fit", [difference_of_means, whitened, logistic_probe])
def test_refuses_equal_means_in_another_order(fit):
    aligned, _ = sides(10)
    with pytest.raises(BadDirection, match="same mean"):
        fit(aligned, aligned.flip(0), at=AT)


@every_fit
def test_messages_are_one_line(fit):
    with pytest.raises(BadDirection) as caught:
        fit(torch.zeros(3, 4), torch.zeros(3, 4), at=AT)
    assert "\n" not in str(caught.value)


def test_paired_fits_refuse_sides_that_do_not_pair_up():
    aligned, misaligned = sides(10)
    with pytest.raises(BadDirection, match="got 10 aligned and 9 misaligned"):
        principal_component(aligned, misaligned[:9], at=AT)


@pytest.mark.parametrize("fit", [difference_of_means, whitened, logistic_probe])
def test_unpaired_fits_take_sides_of_different_length(fit):
    aligned, misaligned = sides(1500)
    assert float(fit(aligned, misaligned[:700], at=AT).vector.double() @ truth()) > 0.97


def test_a_component_whose_sign_nothing_determines_is_refused():
    big, small = torch.eye(4)[0] * 9, torch.eye(4)[1]
    differences = torch.stack([big + small, -big + small])
    with pytest.raises(BadDirection, match="which end is aligned"):
        principal_component(differences, torch.zeros(2, 4), at=AT)


def test_the_component_is_of_uncentred_differences():
    noise = torch.zeros(200, WIDTH).double()
    noise[:, 0] = 2 * draws(200, seed=1)  # the widest spread, and not the signal
    signal = torch.zeros(WIDTH).double()
    signal[1] = 5.0
    v = principal_component(signal + noise, torch.zeros(200, WIDTH).double(), at=AT)
    assert abs(float(v.vector[1])) > 0.99
    centred = torch.linalg.svd(noise - noise.mean(dim=0)).Vh[0]
    assert abs(float(centred[0])) > 0.99  # what centring would have found


def test_question_identity_cancels_in_pairs():
    aligned, misaligned = sides(300)
    question = 20 * draws(300, WIDTH, seed=7).float()
    v = principal_component(aligned + question, misaligned + question, at=AT)
    assert float(v.vector.double() @ truth()) > 0.95


def test_whitening_and_probing_look_past_a_dimension_that_varies_by_itself():
    aligned, misaligned = sides(400)
    loud = torch.zeros(WIDTH)
    loud[0] = 200.0
    noisy = [side + loud * draws(400, 1, seed=seed).float() for seed, side in ((8, aligned), (9, misaligned))]
    planted = truth()
    planted[0] = 0

    def recovered(fit):
        return float(fit(*noisy, at=AT).vector.double() @ planted / planted.norm())

    assert abs(recovered(difference_of_means)) < 0.6
    assert recovered(whitened) > 0.9
    assert recovered(logistic_probe) > 0.9


def test_a_dimension_that_never_varies_gets_no_weight():
    aligned, misaligned = sides(100)
    aligned[:, 5] = misaligned[:, 5] = 4.0
    for fit in FITS:
        assert abs(float(fit(aligned, misaligned, at=AT).vector[5])) < 1e-6


def test_fewer_exchanges_than_dimensions_are_no_obstacle():
    aligned, misaligned = sides(12, gap=30, width=200)
    for fit in FITS:
        assert float(fit(aligned, misaligned, at=AT).vector.double() @ truth(width=200)) > 0.8


def test_whitening_without_any_spread_is_refused():
    with pytest.raises(BadDirection, match="Nothing varies within the sides"):
        whitened(torch.ones(3, 4), torch.zeros(3, 4), at=AT)


@pytest.mark.parametrize("fit", [whitened, logistic_probe])
def test_dimensions_count_by_their_own_spread(fit):
    aligned, misaligned = sides(4000, gap=0)
    spread = torch.linspace(0.2, 5, WIDTH)
    apart = truth().float() * spread  # in each dimension, the same share of its spread
    v = fit(aligned * spread + apart, misaligned * spread - apart, at=AT)
    best = (apart / spread.square()).double()  # Fisher: S^-1 (mu_aligned - mu_misaligned)
    assert float(v.vector.double() @ best / best.norm()) > 0.99
