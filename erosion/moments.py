"""Streaming count, mean and covariance: exact, in float64, and mergeable in any order.

A set of activations that does not fit in memory is read batch by batch; each batch becomes moments,
and moments merge. The sum of outer products is kept **about the mean** (the *comoment*), never as raw
second moments: with a mean of a million and a spread of one, sum(x^2) - n mean^2 has no digit left.

    n = n_a + n_b,  d = mean_b - mean_a
    mean = mean_a + d n_b / n,   M = M_a + M_b + d d^T n_a n_b / n

Chan, Golub and LeVeque (1983), *Algorithms for computing the sample variance*.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeVar

from einops import einsum
from einops import reduce as reduce_axes

from erosion.errors import BadInput
from erosion.linalg import in_double, symmetric_root
from erosion.shapes import Float, Tensor

__all__ = ["DiagonalMoments", "Moments", "merge", "merge_all"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and full comoment of vectors. Memory: 8 d_model^2 bytes (134 MB at d_model 4096).

    ``comoment`` is the sum over vectors of (x - mean)(x - mean)^T.

    >>> import torch
    >>> moments = Moments.of(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    >>> moments.count, moments.mean
    (2, tensor([2., 0.], dtype=torch.float64))
    """

    count: int
    mean: Float[Tensor, " d_model"]
    comoment: Float[Tensor, "d_model d_model"]

    @classmethod
    def of(cls, batch: Float[Tensor, "sample d_model"]) -> "Moments":
        """The moments of one batch, on its device; an empty batch is the identity of :func:`merge`.

        Memory: one float64 copy of the batch beside the result.

        Raises:
            BadInput: a value is NaN or infinite.
        """
        mean, about = _about_mean(batch)
        return cls(len(batch), mean, einsum(about, about, "sample row, sample column -> row column"))

    @property
    def covariance(self) -> Float[Tensor, "d_model d_model"]:
        """The unbiased covariance, comoment / (count - 1): what ``torch.cov`` gives on the whole set.

        Raises:
            BadInput: fewer than two vectors.
        """
        return self.comoment / _degrees_of_freedom(self.count)

    @cached_property
    def root(self) -> Float[Tensor, "d_model d_model"]:
        """The covariance's symmetric root, computed once (:func:`erosion.linalg.symmetric_root`)."""
        return symmetric_root(self.covariance)

    def _spread(self, step: Float[Tensor, " d_model"]) -> Float[Tensor, "d_model d_model"]:
        return einsum(step, step, "row, column -> row column")


@dataclass(frozen=True, eq=False)
class DiagonalMoments:
    """As :class:`Moments`, each dimension by itself. Memory: 16 d_model bytes, whatever the width.

    >>> import torch
    >>> DiagonalMoments.of(torch.tensor([[1.0, 0.0], [3.0, 0.0]])).variance
    tensor([2., 0.], dtype=torch.float64)
    """

    count: int
    mean: Float[Tensor, " d_model"]
    comoment: Float[Tensor, " d_model"]

    @classmethod
    def of(cls, batch: Float[Tensor, "sample d_model"]) -> "DiagonalMoments":
        """The moments of one batch, on its device; an empty batch is the identity of :func:`merge`.

        Raises:
            BadInput: a value is NaN or infinite.
        """
        mean, about = _about_mean(batch)
        return cls(len(batch), mean, reduce_axes(about.square(), "sample d_model -> d_model", "sum"))

    @property
    def variance(self) -> Float[Tensor, " d_model"]:
        """The unbiased variance of each dimension: the covariance's diagonal.

        Raises:
            BadInput: fewer than two vectors.
        """
        return self.comoment / _degrees_of_freedom(self.count)

    @cached_property
    def root(self) -> Float[Tensor, " d_model"]:
        """Each dimension's standard deviation: the root of a diagonal covariance."""
        return self.variance.sqrt()

    def _spread(self, step: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
        return step.square()


AnyMoments = TypeVar("AnyMoments", Moments, DiagonalMoments)


def merge(left: AnyMoments, right: AnyMoments) -> AnyMoments:
    """The moments of both sets together, exactly as if they had been read as one.

    Commutative and associative to rounding (1e-12 relative), so batches may be merged as they come,
    or in a tree across processes. Memory: one new comoment and one temporary.

    Raises:
        BadInput: the widths differ.

    >>> import torch
    >>> whole = torch.arange(8.0).reshape(4, 2)
    >>> merged = merge(Moments.of(whole[:1]), Moments.of(whole[1:]))
    >>> torch.allclose(merged.covariance, torch.cov(whole.T.double()))
    True
    """
    if len(left.mean) != len(right.mean):
        raise BadInput(
            f"Moments of width {len(left.mean)} and {len(right.mean)} do not merge: read both at one site."
        )
    if left.count == 0 or right.count == 0:
        return left if right.count == 0 else right
    count = left.count + right.count
    step = right.mean.to(left.mean) - left.mean
    comoment = left._spread(step) * (left.count * right.count / count)
    comoment += left.comoment
    comoment += right.comoment.to(left.comoment)
    return type(left)(count, left.mean + step * (right.count / count), comoment)


def merge_all(parts: Iterable[AnyMoments]) -> AnyMoments:
    """:func:`merge` over any number of parts, one at a time (a generator is never held whole).

    Raises:
        BadInput: there is no part, or the widths differ.

    >>> import torch
    >>> merge_all(Moments.of(torch.ones(2, 3)) for _ in range(5)).count
    10
    """
    parts = iter(parts)
    first = next(parts, None)
    if first is None:
        raise BadInput("There are no moments to merge: read at least one batch.")
    return reduce(merge, parts, first)


def _about_mean(
    batch: Float[Tensor, "sample d_model"],
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, "sample d_model"]]:
    exact = in_double(batch.detach())
    if not bool(exact.isfinite().all()):
        raise BadInput("The activations hold NaN or infinity: load the model in bfloat16 or float32.")
    mean = reduce_axes(exact, "sample d_model -> d_model", "sum") / max(len(exact), 1)
    about = exact - mean
    # The mean is rounded; one correction makes the residuals sum to zero even when it is huge.
    correction = reduce_axes(about, "sample d_model -> d_model", "sum") / max(len(exact), 1)
    return mean + correction, about - correction


def _degrees_of_freedom(count: int) -> int:
    if count < 2:
        raise BadInput(f"A covariance needs at least two vectors: got {count}. Read more exchanges.")
    return count - 1
