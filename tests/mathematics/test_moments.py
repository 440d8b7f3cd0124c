"""Laws of moments: as if read at once, in any order, at any offset."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.errors import BadInput
from erosion.moments import DiagonalMoments, Moments, merge, merge_all

KINDS = [Moments, DiagonalMoments]


def rows(count: int, width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(left, right, tolerance: float = 1e-12) -> bool:
    scale = float(left.comoment.abs().max()) + 1e-300
    return (
        left.count == right.count
        and float((left.mean - right.mean).abs().max()) <= tolerance * (1 + float(left.mean.abs().max()))
        and float((left.comoment - right.comoment).abs().max()) <= tolerance * scale
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_moments_are_those_of_torch_in_float64(dtype):
    batch = rows(50).to(dtype)
    moments, diagonal = Moments.of(batch), DiagonalMoments.of(batch)
    expected = torch.cov(batch.double().T)
    assert torch.allclose(moments.covariance, expected, rtol=1e-12, atol=1e-14)
    assert torch.allclose(diagonal.variance, expected.diagonal(), rtol=1e-12, atol=1e-14)
    assert torch.allclose(moments.mean, batch.double().mean(dim=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
    offset=st.sampled_from([0.0, -3.0, 1e6]),
    spread=st.sampled_from([1.0, 1e-3, 1e4]),
)
@settings(max_examples=60, deadline=None)
def test_any_cut_and_any_order_of_merging_give_the_moments_of_the_whole(kind, sizes, order, offset, spread):
    whole = rows(sum(sizes)) * spread + offset
    parts = [kind.of(part) for part in whole.split(sizes)]
    order.shuffle(parts)
    while len(parts) > 1:  # a random tree, not only a chain
        left, right = parts.pop(order.randrange(len(parts))), parts.pop(order.randrange(len(parts)))
        parts.append(merge(left, right))
    # Values of size `offset` are held to 1e-16 of themselves: that much of the spread is their rounding.
    assert close(kind.of(whole), parts[0], tolerance=1e-12 * max(1.0, abs(offset) / spread))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_of_a_million_costs_no_digit_of_the_spread(kind):
    integers = torch.randint(-8, 9, (400, 5), generator=torch.Generator().manual_seed(0)).double()
    near = merge_all(kind.of(part) for part in integers.split(7))
    far = merge_all(kind.of(part) for part in (integers + 1e6).split(7))
    assert torch.allclose(near.comoment, far.comoment, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_commutes_and_an_empty_batch_changes_nothing(kind):
    left, right = kind.of(rows(4)), kind.of(rows(9, seed=1))
    assert close(merge(left, right), merge(right, left))
    empty = kind.of(rows(0))
    assert merge(left, empty) is left
    assert merge(empty, left) is left


def test_the_root_is_computed_once_and_squares_to_the_covariance():
    moments = Moments.of(rows(20))
    assert moments.root is moments.root
    assert torch.allclose(moments.root @ moments.root, moments.covariance, atol=1e-12)
    diagonal = DiagonalMoments.of(rows(20))
    assert torch.allclose(diagonal.root.square(), diagonal.variance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_value_that_is_not_finite_is_refused(kind, bad):
    batch = rows(3)
    batch[1, 2] = bad
    with pytest.raises(BadInput, match="NaN or infinity"):
        kind.of(batch)


def test_what_can_not_be_merged_or_divided_is_refused():
    with pytest.raises(BadInput, match="width 5 and 4"):
        merge(Moments.of(rows(3)), Moments.of(rows(3, width=4)))
    with pytest.raises(BadInput, match="at least one batch"):
        merge_all(iter([]))
    with pytest.raises(BadInput, match="at least two vectors: got 1"):
        Moments.of(rows(1)).covariance  # noqa: B018


def test_moments_hold_no_graph():
    assert not Moments.of(rows(3).requires_grad_()).mean.requires_grad
