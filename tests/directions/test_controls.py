"""Laws of controls: what a direction's effect is compared with."""

import functools
import math

import pytest
import torch

from erosion.directions import (
    auc,
    difference_of_means,
    logistic_probe,
    principal_component,
    random_direction,
    shuffled,
    whitened,
)
from erosion.errors import BadDirection
from erosion.moments import DiagonalMoments, Moments
from erosion.sites import Site, residuals
from tests.directions.planted import AT, WIDTH, draws, sides, truth


@pytest.fixture(scope="module")
def v():
    return difference_of_means(*sides(100), at=AT).stamped(model="m", weights_hash="abc", questions=("q",))


def test_a_random_direction_has_the_site_scale_and_model_of_what_it_controls(v):
    control = random_direction(like=v, seed=0)
    assert (control.site, control.scale, control.passport.residual_norm) == (
        AT,
        v.scale,
        v.passport.residual_norm,
    )
    assert control.passport.weights_hash == "abc"
    assert control.passport.questions == ()
    assert control.passport.sign is None
    assert float(control.vector.norm()) == pytest.approx(1, abs=1e-6)


def test_seed_and_draw_alone_decide_an_isotropic_draw_at_every_layer(v):
    elsewhere = difference_of_means(*sides(50, seed=1), at=Site(11))
    one, other = random_direction(like=v, seed=3, draw=7), random_direction(like=elsewhere, seed=3, draw=7)
    assert torch.equal(one.vector, other.vector)
    assert not torch.equal(one.vector, random_direction(like=v, seed=3, draw=8).vector)
    assert not torch.equal(one.vector, random_direction(like=v, seed=4, draw=7).vector)


def test_draws_know_nothing_of_the_direction(v):
    cosines = torch.tensor([random_direction(like=v, seed=0, draw=i).cosine(v) for i in range(600)])
    assert abs(float(cosines.mean())) < 4 / math.sqrt(600 * WIDTH)
    assert float(cosines.std()) == pytest.approx(1 / math.sqrt(WIDTH), rel=0.15)


@pytest.mark.parametrize("kind", [Moments, DiagonalMoments])
def test_a_matched_draw_points_where_activations_vary(v, kind):
    cloud = draws(500, WIDTH, seed=1)
    cloud[:, 4] *= 100
    control = random_direction(like=v, seed=0, covariance=kind.of(cloud))
    assert abs(float(control.vector[4])) > 0.9
    assert "covariance-matched" in control.passport.fit


def test_matched_draws_vary_as_the_cloud_does(v):
    mixing = draws(WIDTH, WIDTH, seed=2)
    moments = Moments.of(draws(4000, WIDTH, seed=1) @ mixing)
    made = torch.stack(
        [random_direction(like=v, seed=0, draw=i, covariance=moments).vector for i in range(1500)]
    )
    expected = moments.covariance / moments.covariance.trace()
    assert torch.allclose(torch.cov(made.T.double()), expected, atol=0.02)


def test_one_control_per_site_takes_one_cloud_per_site(v):
    many = {site: v.stamped(site=site) for site in residuals(range(3))}
    made = random_direction(like=many, seed=1)
    assert list(made) == list(many)
    assert all(control.site == site for site, control in made.items())
    assert torch.equal(made[Site(0)].vector, made[Site(2)].vector)
    clouds = {site: Moments.of(draws(50, WIDTH, seed=site.layer)) for site in many}
    assert set(random_direction(like=many, seed=1, covariance=clouds)) == set(many)
    del clouds[Site(1)]
    with pytest.raises(BadDirection, match=r"no moments for L1.resid_post"):
        random_direction(like=many, seed=1, covariance=clouds)


def test_moments_of_another_width_are_refused(v):
    with pytest.raises(BadDirection, match="The moments are 5 wide and the direction 24"):
        random_direction(like=v, seed=0, covariance=Moments.of(draws(9, 5, seed=0)))


@pytest.mark.parametrize("fit", [difference_of_means, whitened, logistic_probe])
def test_shuffled_labels_separate_held_out_exchanges_by_chance(fit):
    held_out = [side[300:] for side in sides(900, gap=4)]
    fitted = [side[:300] for side in sides(900, gap=4)]
    controls = [shuffled(fit, seed=0, draw=i)(*fitted, at=AT) for i in range(30)]
    made = [auc(control, *held_out) for control in controls]
    assert sum(made) / len(made) == pytest.approx(0.5, abs=0.06)
    cosines = torch.stack([control.vector.double() @ truth() for control in controls])
    assert float(cosines.square().mean().sqrt()) < 1.5 / math.sqrt(WIDTH)  # as if drawn at random
    assert auc(fit(*fitted, at=AT), *held_out) > 0.99


def test_the_signal_cancels_exactly_when_half_of_the_pairs_are_swapped():
    aligned, misaligned = sides(40, gap=50)
    control = shuffled(difference_of_means, seed=1)(aligned, misaligned, at=AT)
    assert abs(float(control.vector.double() @ truth())) < 0.6
    assert control.scale < 5


def test_a_shuffled_fit_is_a_fit_and_says_so():
    control = shuffled(difference_of_means, seed=1, draw=2)
    one, again = control(*sides(20), at=AT), control(*sides(20), at=AT)
    assert torch.equal(one.vector, again.vector)
    assert one.passport.fit == "difference_of_means, labels shuffled (seed 1, draw 2)"
    assert one.passport.sign is None
    other = shuffled(difference_of_means, seed=1, draw=3)(*sides(20), at=AT)
    assert not torch.equal(one.vector, other.vector)


def test_shuffling_needs_pairs():
    aligned, misaligned = sides(10)
    with pytest.raises(BadDirection, match="A label-shuffled control needs pairs"):
        shuffled(difference_of_means, seed=0)(aligned, misaligned[:8], at=AT)


@pytest.mark.parametrize("fit", [principal_component, functools.partial(principal_component)])
def test_swapping_within_pairs_is_refused_where_it_changes_nothing(fit):
    aligned, misaligned = sides(30)
    swapped = torch.cat([misaligned[:15], aligned[15:]]), torch.cat([aligned[:15], misaligned[15:]])
    vectors = [principal_component(*both, at=AT).vector for both in ((aligned, misaligned), swapped)]
    assert abs(float(vectors[0] @ vectors[1])) > 0.9999  # the reason
    with pytest.raises(BadDirection, match="does not change principal_component"):
        shuffled(fit, seed=0)
