"""What each edit does to a tensor: frozen values, each with one equation of :mod:`erosion.interventions`."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import einsum

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.shapes import Bool, Float, Tensor, Vector
from erosion.sites import Site

__all__ = ["SCOPES", "Ablate", "Clamp", "Intervention", "Patch", "Steer"]

SCOPES = ("all", "prompt", "response")

Edited = Float[Tensor, "batch position d_model"]
Where = Bool[Tensor, "batch position"]


@runtime_checkable
class Intervention(Protocol):
    """What every edit can do: name its site and scope, and edit a tensor."""

    @property
    def at(self) -> Site:
        """Where it is applied."""
        ...

    @property
    def scope(self) -> str:
        """Which positions: ``all``, ``prompt`` (before the response) or ``response``."""
        ...

    @property
    def identity(self) -> bool:
        """Whether it changes nothing by design (a dose of 0)."""
        ...

    def edit(self, x: Edited) -> Edited:
        """The edited tensor, new, in the dtype of ``x``."""
        ...


def _along(x: Edited, v: Vector, coefficient: Float[Tensor, "batch position"]) -> Edited:
    """``x`` plus ``coefficient`` times ``v``, cast once."""
    exact = torch.promote_types(x.dtype, torch.float32)
    moved = x.to(exact) + einsum(coefficient.to(exact), v.to(x.device, exact), "b p, d -> b p d")
    return moved.to(x.dtype)


def _projection(x: Edited, v: Vector) -> Float[Tensor, "batch position"]:
    exact = torch.promote_types(x.dtype, torch.float32)
    return einsum(x.to(exact), v.to(x.device, exact), "b p d, d -> b p")


@dataclass(frozen=True, eq=False)
class Steer:
    """Add ``by`` fitted gaps along a direction: x' = x + by * scale * v."""

    direction: Direction
    by: float
    scope: str = "all"

    @property
    def at(self) -> Site:
        """The direction's site."""
        return self.direction.site

    @property
    def identity(self) -> bool:
        """True at a dose of 0."""
        return self.by == 0

    def edit(self, x: Edited) -> Edited:
        """``x`` moved along the direction at every position."""
        if self.identity:
            return x
        exact = torch.promote_types(x.dtype, torch.float32)
        step = self.direction.vector.to(x.device, exact) * (self.by * self.direction.scale)
        return (x.to(exact) + step).to(x.dtype)

    def __str__(self) -> str:
        """``steer +1.0 at L3.resid_post``."""
        return f"steer {self.by:+g} at {self.at}" + _suffix(self.scope, self.direction)


@dataclass(frozen=True, eq=False)
class Ablate:
    """Remove the part along a direction: x' = x - v v.T x."""

    direction: Direction
    scope: str = "all"
    identity = False

    @property
    def at(self) -> Site:
        """The direction's site."""
        return self.direction.site

    def edit(self, x: Edited) -> Edited:
        """``x`` without its part along the direction."""
        return _along(x, self.direction.vector, -_projection(x, self.direction.vector))

    def __str__(self) -> str:
        """``ablate at L3.resid_post``."""
        return f"ablate at {self.at}" + _suffix(self.scope, self.direction)


@dataclass(frozen=True, eq=False)
class Clamp:
    """Set the projection on a direction to one value: x' = x + (to - v.T x) v."""

    direction: Direction
    to: float
    scope: str = "all"
    identity = False

    @property
    def at(self) -> Site:
        """The direction's site."""
        return self.direction.site

    def edit(self, x: Edited) -> Edited:
        """``x`` with its projection on the direction equal to ``to``."""
        return _along(x, self.direction.vector, self.to - _projection(x, self.direction.vector))

    def __str__(self) -> str:
        """``clamp to 0.4 at L3.resid_post``."""
        return f"clamp to {self.to:.3g} at {self.at}" + _suffix(self.scope, self.direction)


@dataclass(frozen=True, eq=False)
class Patch:
    """Put a stored activation in the place of the model's own, whole, along one direction or across it.

    ``source`` is ``[d_model]`` (the same at every position) or ``[batch, position, d_model]``.
    """

    source: Tensor
    at: Site
    along: Direction | None = None
    across: Direction | None = None
    scope: str = "all"
    identity = False

    @property
    def whole(self) -> bool:
        """Whether nothing of the model's own activation is left."""
        return self.along is None and self.across is None

    def edit(self, x: Edited) -> Edited:
        """``x`` replaced by the source (or moved to it along the direction, or in all others)."""
        if self.source.shape not in (x.shape, x.shape[-1:]):
            raise BadInput(
                f"The patch at {self.at} holds {tuple(self.source.shape)} and the model {tuple(x.shape)}: "
                "read the source on the same tokens."
            )
        source = self.source.to(x.device).expand_as(x)
        if self.along is not None:
            v = self.along.vector
            return _along(x, v, _projection(source, v) - _projection(x, v))
        if self.across is not None:
            v = self.across.vector
            donor = source.to(torch.promote_types(source.dtype, x.dtype))  # x's own precision is kept
            return _along(donor, v, _projection(x, v) - _projection(source, v)).to(x.dtype)
        return source.to(x.dtype, copy=True)

    def __str__(self) -> str:
        """``patch at L3.resid_post``."""
        part = " along v" if self.along is not None else "" if self.across is None else " across v"
        return f"patch at {self.at}{part}" + _suffix(self.scope)


def _suffix(scope: str, direction: Direction | None = None) -> str:
    control = direction is not None and direction.passport.fit.startswith("random")
    return (", random direction" if control else "") + ("" if scope == "all" else f" ({scope})")
