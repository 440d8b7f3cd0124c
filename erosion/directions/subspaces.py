"""More than one direction at a site: the subspace that the paired differences of a contrast fill.

A subspace knows the questions it was fitted on, as a direction does, and refuses to be measured on them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from erosion.directions.sides import checked, paired
from erosion.errors import BadDirection
from erosion.linalg import in_double, orthonormal_basis
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["Subspace", "paired_subspace", "random_subspace", "right_singular"]


@dataclass(frozen=True, eq=False)
class Subspace:
    """Orthonormal rows at a site and the questions that they were fitted on (``()`` = none, None = unknown).

    Fitted rows stand strongest first, those of :func:`~erosion.directions.span_of` in the order given.

    >>> Subspace(torch.eye(3)[:2], Site(1)).energy(torch.tensor([[3.0, 4.0, 9.0]]))
    tensor([[ 9., 16.]], dtype=torch.float64)
    """

    basis: Float[Tensor, "k d_model"]
    site: Site
    questions: tuple[str, ...] | None = None

    @property
    def k(self) -> int:
        """The number of dimensions."""
        return len(self.basis)

    def first(self, k: int) -> "Subspace":
        """The subspace of its first ``k`` rows."""
        return Subspace(self.basis[:k], self.site, self.questions)

    def energy(self, vectors: Float[Tensor, "exchange d_model"]) -> Float[Tensor, "exchange k"]:
        """The squared length of each vector along each row, float64: (x . b_i)^2."""
        return (in_double(vectors) @ in_double(self.basis).T.to(vectors.device)).square()

    def check_unseen(self, questions: Iterable[str]) -> None:
        """Refuse to measure on questions that it was fitted on.

        A subspace that does not say which it saw (None) cannot be checked and passes; one that saw none
        (``()``) passes rightly.

        Raises:
            BadDirection: it has seen one of them.
        """
        asked = dict.fromkeys(questions)
        forbidden = set(self.questions or ())
        seen = [question for question in asked if question in forbidden]
        if seen:
            raise BadDirection(
                f"The subspace at {self.site} has seen question {seen[0]!r} ({len(seen)} of the {len(asked)} "
                f"asked): measure on others."
            )


def paired_subspace(
    aligned: Float[Tensor, "aligned d_model"],
    misaligned: Float[Tensor, "misaligned d_model"],
    *,
    at: Site,
    k: int,
    questions: Iterable[str] | None = None,
) -> Subspace:
    """The ``k`` directions along which paired differences are longest: uncentred SVD, strongest first.

    With D_i = aligned_i - misaligned_i, the span of k rows that maximises sum ||P D_i||^2. Not centred, since
    the mean difference is the signal; ``k = 1`` is :func:`principal_component` up to its sign. Memory:
    the differences in float64 and the smaller of pairs x d_model and d_model^2, never pairs^2. Without
    ``questions`` (the ids behind the pairs) it can not be checked against them.

    Raises:
        BadDirection: sides that do not pair up, fewer than two pairs, no difference, ``k`` beyond the rank.

    >>> aligned = torch.tensor([[3.0, 0.1], [3.0, -0.1]])
    >>> paired_subspace(aligned, torch.zeros(2, 2), at=Site(4), k=1).basis.abs()
    tensor([[1., 0.]], dtype=torch.float64)
    """
    exact = checked(aligned, misaligned, at_least=2)
    paired(*exact, what="A subspace of paired differences")
    strengths, rows = right_singular(exact[0] - exact[1])
    rank = int((strengths > 1e-7 * strengths.max()).sum()) if float(strengths.max()) > 0 else 0
    if not 0 < k <= rank:
        raise BadDirection(
            f"{k} dimensions of {len(aligned)} differences at {at} of rank {rank} can not be had: ask for "
            f"1 to {rank}."
        )
    return Subspace(rows[:k], at, None if questions is None else tuple(dict.fromkeys(questions)))


def random_subspace(
    cloud: Float[Tensor, "exchange d_model"], *, at: Site, k: int, white: Float[Tensor, "k exchange"]
) -> Subspace:
    """A random subspace that points where a cloud of activations varies.

    The span of ``white @ (cloud - mean)``, whose rows are normal draws with exactly the cloud's covariance
    and need no d_model x d_model matrix. The same ``white`` gives comparable draws at every site. It knows
    no labels, so it counts as having seen no question.

    >>> random_subspace(torch.eye(4), at=Site(0), k=1, white=torch.ones(1, 4) * torch.arange(4)).k
    1
    """
    centred = in_double(cloud) - in_double(cloud).mean(0)
    return Subspace(orthonormal_basis(in_double(white)[:k] @ centred), at, ())


def right_singular(
    rows: Float[Tensor, "exchange d_model"],
) -> tuple[Float[Tensor, " rank"], Float[Tensor, "rank d_model"]]:
    """Singular values and right singular vectors, largest first, float64.

    By the thin SVD while rows are fewer than columns, else by the columns' Gram matrix, so that nothing of
    the size rows x rows, and no left vector for 10,000 rows, is ever made. Through the Gram matrix singular
    values below 1e-7 of the largest are rounding.

    >>> right_singular(torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]))[0]
    tensor([2., 1.], dtype=torch.float64)
    """
    exact = in_double(rows)
    if len(exact) <= exact.shape[-1]:
        _, strengths, vectors = torch.linalg.svd(exact, full_matrices=False)
        return strengths, vectors
    values, columns = torch.linalg.eigh(exact.T @ exact)
    return values.clamp(min=0).sqrt().flip(0), columns.T.flip(0)
