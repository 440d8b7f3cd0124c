"""Laws of vectors and subspaces."""

import math

import numpy as np
import pytest
import torch

from erosion.errors import BadInput
from erosion.linalg import (
    cosine,
    debiased_linear_cka,
    linear_cka,
    orthonormal_basis,
    participation_ratio,
    principal_angles,
    project,
    project_onto_span,
    random_unit_vectors,
    symmetric_root,
    unit,
    variance_explained,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_unit_vectors_keep_their_dtype_and_have_length_one(dtype):
    made = unit(noise(5, 64).to(dtype))
    assert made.dtype == dtype
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-6
    assert torch.allclose(made.double().norm(dim=-1), torch.ones(5).double(), atol=tolerance)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_vector_that_points_nowhere_is_refused(bad):
    with pytest.raises(BadInput, match="has no direction"):
        unit(torch.full((3,), bad))


def test_cosine_ignores_length_and_broadcasts_and_is_nan_at_zero():
    rows = torch.stack([torch.tensor([2.0, 0.0]), torch.tensor([0.0, 5.0]), torch.zeros(2)])
    made = cosine(rows, torch.tensor([3.0, 0.0]))
    assert made[:2].tolist() == [1.0, 0.0]
    assert made[2].isnan()


def test_a_cosine_of_bfloat16_vectors_with_one_huge_dimension_is_that_of_float64():
    left, right = noise(512, seed=1), noise(512, seed=2)
    left[0], right[0] = 1000.0, -1000.0
    left, right = left.bfloat16(), right.bfloat16()
    exact = torch.nn.functional.cosine_similarity(left.double(), right.double(), dim=0)
    assert abs(float(cosine(left, right) - exact)) < 1e-12


def test_projection_is_linear_and_ignores_the_length_of_the_direction():
    acts, onto = noise(4, 7, 16), noise(16, seed=1)
    assert torch.allclose(project(3 * acts, onto), 3 * project(acts, 5 * onto), atol=1e-6)
    assert project(acts, onto).shape == (4, 7)


def test_projection_onto_a_span_is_idempotent_and_leaves_an_orthogonal_rest():
    acts, basis = noise(20, 16).double(), noise(3, 16, seed=1).double()
    inside = project_onto_span(acts, basis)
    assert torch.allclose(project_onto_span(inside, basis), inside, atol=1e-12)
    assert (acts - inside) @ basis.T == pytest.approx(torch.zeros(20, 3), abs=1e-12)


def test_an_orthonormal_basis_drops_what_is_dependent():
    rows = noise(3, 8)
    basis = orthonormal_basis(torch.cat([rows, rows[:1] + rows[1:2], torch.zeros(1, 8)]))
    assert basis.shape == (3, 8)
    assert torch.allclose(basis @ basis.T, torch.eye(3), atol=1e-6)
    assert torch.allclose(project_onto_span(rows, basis), rows, atol=1e-5)
    assert orthonormal_basis(torch.zeros(2, 8)).shape == (0, 8)


def test_principal_angles_are_the_planted_ones_smallest_first():
    tilt = 0.3
    left = torch.eye(6)[:2]
    right = torch.stack(
        [math.cos(tilt) * torch.eye(6)[1] + math.sin(tilt) * torch.eye(6)[3], torch.eye(6)[0]]
    )
    assert principal_angles(left, 4 * right).tolist() == pytest.approx([0.0, tilt], abs=1e-6)


def test_principal_angles_between_two_vectors_ignore_the_sign():
    left, right = noise(1, 8), noise(1, 8, seed=1)
    assert float(principal_angles(left, right)) == pytest.approx(float(principal_angles(-left, right)))
    assert math.cos(float(principal_angles(left, right))) == pytest.approx(abs(float(cosine(left, right))))


def test_a_subspace_of_zeros_has_no_angles():
    with pytest.raises(BadInput, match="no angles"):
        principal_angles(torch.zeros(2, 4), torch.eye(4)[:1])


def test_variance_explained_is_one_inside_the_span_and_k_over_d_for_white_noise():
    basis = noise(4, 16)
    assert variance_explained(noise(10, 4) @ basis, basis) == pytest.approx(1, abs=1e-6)
    assert variance_explained(noise(20_000, 16), basis) == pytest.approx(4 / 16, abs=0.01)


def test_participation_counts_equal_dimensions():
    assert participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 2.0, 0.0]))) == pytest.approx(3)


@pytest.mark.parametrize("cka", [linear_cka, debiased_linear_cka])
@pytest.mark.parametrize("exchanges", [12, 200])
def test_cka_ignores_rotation_scale_and_shift(cka, exchanges):
    x = noise(exchanges, 16).double()
    rotation = torch.linalg.qr(noise(16, 16, seed=1).double()).Q
    assert cka(x, 7 * x @ rotation + 3) == pytest.approx(1, abs=1e-9)


def test_cka_is_the_same_by_grams_and_by_features():
    x, y = noise(40, 16).double(), noise(40, 16, seed=1).double()
    wide = torch.zeros(40, 30).double()
    assert linear_cka(x, y) == pytest.approx(linear_cka(torch.cat([x, wide], dim=-1), y), abs=1e-12)


def test_unrelated_wide_representations_look_alike_until_debiased():
    x, y = noise(40, 2000), noise(40, 2000, seed=1)
    assert linear_cka(x, y) > 0.9
    assert abs(debiased_linear_cka(x, y)) < 0.1


def test_cka_of_something_constant_is_nan_and_of_three_exchanges_is_refused():
    assert math.isnan(linear_cka(torch.ones(5, 3), noise(5, 3)))
    assert math.isnan(debiased_linear_cka(torch.ones(5, 3), noise(5, 3)))
    with pytest.raises(BadInput, match="at least 4 exchanges: got 3"):
        debiased_linear_cka(noise(3, 2), noise(3, 2))


def test_the_root_is_symmetric_and_squares_to_the_covariance_even_when_singular():
    rows = noise(5, 12).double()
    covariance = rows.T @ rows
    root = symmetric_root(covariance)
    assert torch.allclose(root, root.T, atol=1e-12)
    assert torch.allclose(root @ root, covariance, atol=1e-9)


def test_isotropic_draws_are_reproducible_unit_and_uniform():
    draws = random_unit_vectors(20_000, 8, generator=np.random.default_rng(0))
    assert torch.equal(draws, random_unit_vectors(20_000, 8, generator=np.random.default_rng(0)))
    assert torch.allclose(draws.norm(dim=-1), torch.ones(20_000), atol=1e-6)
    assert draws.T @ draws / 20_000 == pytest.approx(torch.eye(8) / 8, abs=0.01)


def test_matched_draws_point_where_the_cloud_varies():
    covariance = torch.diag(torch.tensor([100.0, 1.0, 1.0]))
    whole, diagonal = symmetric_root(covariance), covariance.diagonal().sqrt()
    by_matrix = random_unit_vectors(500, 3, generator=np.random.default_rng(0), root=whole)
    by_diagonal = random_unit_vectors(500, 3, generator=np.random.default_rng(0), root=diagonal)
    assert torch.allclose(by_matrix, by_diagonal, atol=1e-6)
    assert by_matrix.abs().mean(dim=0)[0] > 0.9
