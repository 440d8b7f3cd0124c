"""A direction as a value: a unit vector at a site, how far apart the sides lie along it, a passport.

It can be negated, scaled, added and compared. What an edit adds at ``by=1`` is ``displacement`` =
scale x vector, and the arithmetic is that of displacements: ``2 * v`` reaches twice as far, ``v + w``
reaches the sum, and the vector is a unit vector throughout.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from erosion import linalg
from erosion.directions.passport import MISALIGNED_IS_POSITIVE, Passport, flipped, merged, names_of, stamped
from erosion.errors import BadDirection
from erosion.shapes import Float, Tensor, Vector
from erosion.sites import Site

__all__ = ["Direction"]


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector (float32, on the CPU) and its :class:`~erosion.directions.Passport`.

    Unless negated, the aligned side is positive.

    Raises:
        BadDirection: a vector that is not finite, or not of length 1 within 1e-3.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> v
    Direction(L1.resid_post, difference_of_means, scale 5.66 = 1.89 x norm, 2 wide, questions unknown)
    >>> v.stamped(questions=("q1", "q2"))
    Direction(L1.resid_post, difference_of_means, scale 5.66 = 1.89 x norm, 2 wide)
    """

    vector: Vector
    passport: Passport

    def __post_init__(self) -> None:
        """Bring the vector to float32 on the CPU, and refuse one that is no unit vector."""
        object.__setattr__(self, "vector", _unit_vector(self.vector, self.passport.site))

    def __repr__(self) -> str:
        """One line: where, how fitted, how far (against the mean activation's length), how wide.

        And that the questions it saw are unknown, where they are: its use on them cannot be refused.
        """
        p = self.passport
        fit = ("-" if p.sign == MISALIGNED_IS_POSITIVE else "") + p.fit
        fit += f" at {p.fitted_at}" if p.fitted_at else ""
        relative = f" = {p.scale / p.residual_norm:.3g} x norm" if p.residual_norm else ""
        unknown = ", questions unknown" if p.questions is None else ""
        return f"Direction({p.site}, {fit}, scale {p.scale:.3g}{relative}, {len(self.vector)} wide{unknown})"

    @property
    def site(self) -> Site:
        """Where in the model it was fitted."""
        return self.passport.site

    @property
    def scale(self) -> float:
        """The fitted gap between the two sides along it, in activation units: what ``by=1`` adds."""
        return self.passport.scale

    @property
    def displacement(self) -> Vector:
        """Scale x vector: what steering ``by=1`` adds to an activation."""
        return self.vector * self.scale

    def __neg__(self) -> "Direction":
        return Direction(-self.vector, flipped(self.passport))

    def __mul__(self, factor: float | int) -> "Direction":
        return scaled(self, by=factor)

    __rmul__ = __mul__

    def __add__(self, other: "Direction") -> "Direction":
        return add(self, other)

    def __sub__(self, other: "Direction") -> "Direction":
        return add(self, -other)

    def cosine(self, other: "Direction") -> float:
        """The cosine between two directions of one width, at whatever sites."""
        _same_width(self, other)
        return float(linalg.cosine(self.vector, other.vector))

    def project(self, acts: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """How far each activation reaches along it, float64, in activation units, on their device.

        Raises:
            BadDirection: the activations are of another width.
        """
        if acts.shape[-1] != len(self.vector):
            raise BadDirection(_wrong_width(self, acts.shape[-1]))
        return linalg.project(acts, self.vector.to(acts.device))

    def stamped(self, **facts: Any) -> "Direction":
        """The same direction with passport fields filled in: ``v.stamped(span="response", model=…)``.

        Raises:
            BadDirection: a field that passports do not have.
        """
        return replace(self, passport=stamped(self.passport, facts))


def scaled(direction: Direction, *, by: float | int) -> Direction:
    """The direction whose displacement is ``by`` times as long; a negative factor also turns it round.

    Raises:
        BadDirection: the factor is not finite.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> (0.5 * v).scale == v.scale / 2
    True
    """
    if not math.isfinite(by):
        raise BadDirection(f"A direction cannot be scaled by {by}: give a finite factor.")
    turned = -direction if by < 0 else direction
    factor = abs(float(by))
    if factor == 1:
        return turned
    fit = f"{factor:g} x ({turned.passport.fit})"
    return turned.stamped(scale=direction.scale * factor, fit=fit, held_out=None)


def add(left: Direction, right: Direction) -> Direction:
    """The direction whose displacement is the sum of both: a unit vector again, its length in ``scale``.

    The passport keeps the facts on which both agree and names both fits and every question seen.

    Raises:
        BadDirection: other sites, other widths, or a sum of zero.
    """
    if left.site != right.site:
        raise BadDirection(f"Directions at {left.site} and {right.site} do not add: fit both at one site.")
    _same_width(left, right)
    total = linalg.in_double(left.vector) * left.scale + linalg.in_double(right.vector) * right.scale
    length = float(torch.linalg.vector_norm(total))
    if length <= 1e-9 * (left.scale + right.scale):
        raise BadDirection(f"The two directions at {left.site} cancel: their sum is zero and points nowhere.")
    both = left.passport, right.passport
    return Direction((total / length).float(), merged(both, fit=" + ".join(names_of(both)), scale=length))


def _same_width(left: Direction, right: Direction) -> None:
    if len(left.vector) != len(right.vector):
        raise BadDirection(_wrong_width(left, len(right.vector)))


def _wrong_width(direction: Direction, width: int) -> str:
    return (
        f"The direction at {direction.site} is {len(direction.vector)} wide and this is {width} wide: "
        f"use one fitted on the same model."
    )


def _unit_vector(vector: Vector, site: Site) -> Vector:
    single = vector.detach().to("cpu", torch.float32).contiguous()
    length = float(torch.linalg.vector_norm(linalg.in_double(single)))
    if not abs(length - 1) < 1e-3:
        raise BadDirection(
            f"The vector at {site} has length {length:.4g}, not 1: divide by it, and put it in the scale."
        )
    return single
