"""Vectors, subspaces and the angles between them; tensors and numbers in, numbers out.

Everything is computed in float64 (see :func:`in_double`): activations come in bfloat16, a few of their
dimensions are a thousand times larger than the rest, and a cosine taken there in half precision is
wrong in the second digit. Numbers stay float64; tensors as large as the activations go back to the
dtype they came in. A row is a vector: bases are ``[k, d_model]``, not the transpose.
"""

import math

import numpy as np
import scipy.linalg
import torch
from einops import einsum, reduce

from erosion.errors import BadInput
from erosion.shapes import Float, Tensor

__all__ = [
    "cka_without_each",
    "cosine",
    "debiased_linear_cka",
    "in_double",
    "linear_cka",
    "orthonormal_basis",
    "participation_ratio",
    "principal_angles",
    "project",
    "project_onto_span",
    "random_unit_vectors",
    "symmetric_root",
    "unit",
    "variance_explained",
]


def in_double(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``x`` in float64 where it lies, or on the CPU where its device has no float64 (Apple's MPS).

    Memory: 8 bytes an entry, unless it is float64 already.
    """
    return x.to("cpu" if x.device.type == "mps" else x.device).double()


def unit(vectors: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """Each vector divided by its length, in the dtype it came in.

    Raises:
        BadInput: a vector is zero or not finite, so it points nowhere.

    >>> unit(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    exact = in_double(vectors)
    lengths = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
    if not bool((lengths > 0).all() and lengths.isfinite().all()):
        raise BadInput("A vector that is zero or not finite has no direction: give one with a finite length.")
    return (exact / lengths).to(vectors)


def cosine(
    left: Float[Tensor, "*#batch d_model"], right: Float[Tensor, "*#batch d_model"]
) -> Float[Tensor, "*batch"]:
    """The cosine of the angle between vectors, float64; NaN where one of them is zero.

    Leading axes broadcast, so one direction is compared with many rows at once.

    >>> cosine(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([2.0, 0.0]))
    tensor([1.0000, 0.7071], dtype=torch.float64)
    """
    left, right = in_double(left), in_double(right)
    dots = einsum(left, right, "... d_model, ... d_model -> ...")
    lengths = torch.linalg.vector_norm(left, dim=-1) * torch.linalg.vector_norm(right, dim=-1)
    return (dots / lengths).clamp(-1, 1)


def project(
    acts: Float[Tensor, "*batch d_model"], onto: Float[Tensor, " d_model"]
) -> Float[Tensor, "*batch"]:
    """How far each vector reaches along a direction: x . v / ||v||, float64, in activation units.

    Memory: one float64 copy of ``acts``.

    >>> project(torch.tensor([[3.0, 1.0], [0.0, 1.0]]), torch.tensor([2.0, 0.0]))
    tensor([3., 0.], dtype=torch.float64)
    """
    exact = in_double(acts)
    return einsum(exact, unit(in_double(onto)).to(exact), "... d_model, d_model -> ...")


def project_onto_span(
    acts: Float[Tensor, "*batch d_model"], basis: Float[Tensor, "k d_model"]
) -> Float[Tensor, "*batch d_model"]:
    """The part of each vector that lies in the span of ``basis`` (its rows need not be orthonormal).

    x -> B^T B x with B orthonormal; ``acts`` minus this is the part orthogonal to the subspace.
    The dtype is that of ``acts``. Memory: two float64 copies of ``acts``.

    >>> x = torch.tensor([1.0, 2.0, 3.0])
    >>> x - project_onto_span(x, torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([-0.5000,  0.5000,  3.0000])
    """
    exact = in_double(acts)
    frame = orthonormal_basis(in_double(basis)).to(exact)
    coordinates = einsum(exact, frame, "... d_model, rank d_model -> ... rank")
    return einsum(coordinates, frame, "... rank, rank d_model -> ... d_model").to(acts)


def orthonormal_basis(vectors: Float[Tensor, "k d_model"]) -> Float[Tensor, "rank d_model"]:
    """Orthonormal rows that span the same subspace, strongest first: right singular vectors.

    Directions whose singular value is below max(shape) x eps of the largest (numpy's rank rule, eps of
    the dtype that came in) are left out, so ``rank`` may be less than ``k``; it is 0 for zero vectors.

    >>> orthonormal_basis(torch.tensor([[2.0, 0.0], [4.0, 0.0]])).abs()
    tensor([[1., 0.]])
    """
    _, strengths, rows = torch.linalg.svd(in_double(vectors), full_matrices=False)
    floor = max(vectors.shape) * torch.finfo(vectors.dtype).eps * strengths.max()
    return rows[strengths > floor].to(vectors)


def principal_angles(
    left: Float[Tensor, "k_left d_model"], right: Float[Tensor, "k_right d_model"]
) -> Float[Tensor, " angle"]:
    """The angles between two subspaces in radians, smallest first: min(rank) of them, float64.

    Björck and Golub (1973), by ``scipy.linalg.subspace_angles``, which is accurate for small angles
    too. 0 = a shared direction, pi/2 = nothing shared. For two vectors: the angle up to sign.

    Raises:
        BadInput: one of the subspaces is only the zero vector.

    >>> principal_angles(torch.eye(3)[:1], torch.eye(3)[:2])
    tensor([0.], dtype=torch.float64)
    """
    frames = [orthonormal_basis(in_double(side)).cpu().numpy() for side in (left, right)]
    if not all(len(frame) for frame in frames):
        raise BadInput("A subspace of zero vectors has no angles: give at least one vector that is not zero.")
    angles = scipy.linalg.subspace_angles(frames[0].T, frames[1].T)
    return torch.from_numpy(np.sort(angles))


def variance_explained(acts: Float[Tensor, "exchange d_model"], basis: Float[Tensor, "k d_model"]) -> float:
    """The share of the rows' squared length that lies in a subspace: sum ||P x||^2 / sum ||x||^2.

    **Not centred**: subtract the mean first where variance about the mean is meant. NaN for zero rows.

    >>> round(variance_explained(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])), 6)
    0.36
    """
    exact = in_double(acts)
    inside = project_onto_span(exact, in_double(basis).to(exact))
    return float(inside.square().sum() / exact.square().sum())


def participation_ratio(covariance: Float[Tensor, "d_model d_model"]) -> float:
    """How many dimensions a cloud fills: (sum of eigenvalues)^2 / sum of their squares, from 1 to d_model.

    Both sums are read off the matrix (trace and Frobenius norm), so no eigenvalue is computed.

    >>> participation_ratio(torch.eye(5))
    5.0
    """
    exact = in_double(covariance)
    return float(torch.trace(exact) ** 2 / exact.square().sum())


def _centred(acts: Float[Tensor, "exchange d"]) -> Float[Tensor, "exchange d"]:
    exact = in_double(acts)
    return exact - reduce(exact, "exchange d -> 1 d", "mean")


def linear_cka(left: Float[Tensor, "exchange d_left"], right: Float[Tensor, "exchange d_right"]) -> float:
    """Linear centred kernel alignment of two representations of the same exchanges: 0 to 1.

    ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F), columns centred (Kornblith et al. 2019). Invariant to
    rotation and uniform scaling of either side. **Biased toward 1 when exchanges are fewer than
    dimensions**, where even unrelated representations look alike: see :func:`debiased_linear_cka`.
    NaN where a side does not vary. Memory: the smaller of exchange^2 and d_left x d_right.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    >>> round(linear_cka(x, 3 * x), 6)
    1.0
    """
    x, y = _centred(left), _centred(right).to(left.device)
    if len(x) <= max(len(x.T), len(y.T)):
        over_x, over_y = x @ x.T, y @ y.T
        shared = (over_x * over_y).sum()
    else:
        over_x, over_y = x.T @ x, y.T @ y
        shared = (x.T @ y).square().sum()
    return float(shared / (torch.linalg.matrix_norm(over_x) * torch.linalg.matrix_norm(over_y)))


def debiased_linear_cka(
    left: Float[Tensor, "exchange d_left"], right: Float[Tensor, "exchange d_right"]
) -> float:
    """Linear CKA from the unbiased HSIC, so that unrelated representations score about 0 at any width.

    HSIC_1 of Song et al. (2012) on Gram matrices without their diagonals. May be slightly
    negative; NaN where a side does not vary. Memory: a few matrices of exchange^2 in float64.

    Raises:
        BadInput: fewer than 4 exchanges, for which the estimator is undefined.

    >>> x = torch.arange(5.0).reshape(5, 1)
    >>> round(debiased_linear_cka(x, 1 - x), 6)
    1.0
    """
    if len(left) < 4:
        raise BadInput(f"Debiased CKA needs at least 4 exchanges: got {len(left)}.")
    centred = _centred(left), _centred(right).to(left.device)
    x, y = ((side @ side.T).fill_diagonal_(0.0) for side in centred)
    spread = [_unbiased_hsic(gram, gram) for gram in (x, y)]
    rounding = [1e-12 * float(gram.square().sum()) / len(gram) ** 2 for gram in (x, y)]
    if any(float(s) <= r for s, r in zip(spread, rounding, strict=True)):
        return math.nan
    return float(_unbiased_hsic(x, y) / torch.sqrt(spread[0] * spread[1]))


def _unbiased_hsic(
    left: Float[Tensor, "exchange other"], right: Float[Tensor, "exchange other"]
) -> Float[Tensor, ""]:
    n = len(left)
    whole = left.sum() * right.sum() / ((n - 1) * (n - 2))
    rows = [reduce(gram, "exchange other -> exchange", "sum") for gram in (left, right)]
    return ((left * right).sum() + whole - 2 * (rows[0] @ rows[1]) / (n - 2)) / (n * (n - 3))


def cka_without_each(
    left: Float[Tensor, "exchange d_left"], right: Float[Tensor, "exchange d_right"]
) -> Float[Tensor, " exchange"]:
    """:func:`debiased_linear_cka` with each exchange left out in turn, float64: for jackknife intervals.

    All of them from one pair of Gram matrices, at the cost of a few of their products entry by entry. NaN
    where a side does not vary without that exchange.

    Raises:
        BadInput: fewer than 5 exchanges.

    >>> x = torch.tensor([[0.0], [1.0], [2.0], [4.0], [3.0], [5.0]])
    >>> first = float(cka_without_each(x, x**2)[0])
    >>> abs(first - debiased_linear_cka(x[1:], x[1:] ** 2)) < 1e-9
    True
    """
    if len(left) < 5:
        raise BadInput(f"Leaving one of {len(left)} exchanges out leaves too few: give at least 5.")
    centred = _centred(left), _centred(right).to(left.device)
    x, y = ((side @ side.T).fill_diagonal_(0.0) for side in centred)
    crossed = _hsic_without_each(x, y)
    spread = [_hsic_without_each(gram, gram) for gram in (x, y)]
    floor = [1e-12 * float(gram.square().sum()) / len(gram) ** 2 for gram in (x, y)]
    flat = (spread[0] <= floor[0]) | (spread[1] <= floor[1])
    return torch.where(flat, math.nan, crossed / torch.sqrt((spread[0] * spread[1]).clamp(min=1e-300)))


def _hsic_without_each(
    left: Float[Tensor, "exchange other"], right: Float[Tensor, "exchange other"]
) -> Float[Tensor, " exchange"]:
    """:func:`_unbiased_hsic` of the Gram matrices without row and column i, for every i."""
    n = len(left) - 1
    k, m = (reduce(gram, "exchange other -> exchange", "sum") for gram in (left, right))
    both = reduce(left * right, "exchange other -> exchange", "sum")
    traces = both.sum() - 2 * both
    sums = (left.sum() - 2 * k) * (right.sum() - 2 * m)
    rows = (k @ m) - k * m - right @ k - left @ m + both
    return (traces + sums / ((n - 1) * (n - 2)) - 2 * rows / (n - 2)) / (n * (n - 3))


def symmetric_root(covariance: Float[Tensor, "d_model d_model"]) -> Float[Tensor, "d_model d_model"]:
    """The symmetric R with R R = covariance, float64; eigenvalues below 0 (rounding) count as 0.

    Symmetric rather than triangular because it does not depend on the signs or order of eigenvectors,
    so the same white noise gives comparable draws at neighbouring layers and on every machine.
    Cost: one eigendecomposition, O(d_model^3); about 20 s at d_model = 4096 on one core.

    >>> symmetric_root(torch.diag(torch.tensor([4.0, 9.0])))
    tensor([[2., 0.],
            [0., 3.]], dtype=torch.float64)
    """
    values, columns = torch.linalg.eigh(in_double(covariance))
    return einsum(columns, values.clamp(min=0).sqrt(), columns, "row e, e, column e -> row column")


def random_unit_vectors(
    draws: int,
    d_model: int,
    *,
    generator: np.random.Generator,
    root: Float[Tensor, "*rows d_model"] | None = None,
) -> Float[Tensor, "draw d_model"]:
    """Random directions, float32 on the CPU: isotropic, or shaped like a cloud of activations.

    Isotropic: z / ||z||, z standard normal, uniform on the sphere. With ``root`` (the
    :func:`symmetric_root` of a covariance, or the standard deviations of a diagonal one): R z / ||R z||,
    which points where activations vary. The generator alone decides z, so the same seed gives the same
    directions at every layer.

    >>> random_unit_vectors(2, 3, generator=np.random.default_rng(0)).shape
    torch.Size([2, 3])
    """
    white = torch.from_numpy(generator.standard_normal((draws, d_model)))
    if root is None:
        return unit(white).float()
    root = in_double(root).cpu()
    return unit(white * root if root.ndim == 1 else white @ root).float()
