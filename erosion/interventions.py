"""Edits as values: steer, ablate, clamp and patch, described first and applied later.

An intervention says what is to be done to the tensor at one site; it touches no model until
``model.applied([...])`` (or ``under=[...]``) puts it there, and leaves nothing behind afterwards. With x the
activation at one position, v a unit direction and s the gap it was fitted with:

==================  ==========================================================================
edit                equation
==================  ==========================================================================
``steer(v, by=c)``  x' = x + c s v
``ablate(v)``       x' = x - v v.T x
``clamp(v, to=a)``  x' = x + (a - v.T x) v
``patch(h, at=l)``  x' = h, or with ``along=v``: x' = x + v v.T (h - x)
==================  ==========================================================================

Arithmetic is done in float32 at least and cast back once; every edit returns a new tensor.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from einops import einsum

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.shapes import Bool, Float, Tensor, Vector
from erosion.sites import Site

__all__ = ["SCOPES", "Ablate", "Clamp", "Intervention", "Patch", "Steer", "ablate", "clamp", "patch", "steer"]

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


def _checked(scope: str, **numbers: float | int) -> None:
    if scope not in SCOPES:
        raise BadInput(f"There is no scope {scope!r}: choose one of {', '.join(SCOPES)}.")
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise BadInput(f"{name}={value} is not a finite number: give one.")


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
    """Put a stored activation in the place of the model's own, whole or along one direction.

    ``source`` is ``[d_model]`` (the same at every position) or ``[batch, position, d_model]``.
    """

    source: Tensor
    at: Site
    along: Direction | None = None
    scope: str = "all"
    identity = False

    def edit(self, x: Edited) -> Edited:
        """``x`` replaced by the source (or moved to it along the direction)."""
        if self.source.shape not in (x.shape, x.shape[-1:]):
            raise BadInput(
                f"The patch at {self.at} holds {tuple(self.source.shape)} and the model {tuple(x.shape)}: "
                "read the source on the same tokens."
            )
        source = self.source.to(x.device).expand_as(x)
        if self.along is None:
            return source.to(x.dtype, copy=True)
        v = self.along.vector
        return _along(x, v, _projection(source, v) - _projection(x, v))

    def __str__(self) -> str:
        """``patch at L3.resid_post``."""
        return f"patch at {self.at}" + ("" if self.along is None else " along v") + _suffix(self.scope)


def _suffix(scope: str, direction: Direction | None = None) -> str:
    control = direction is not None and direction.passport.fit.startswith("random")
    return (", random direction" if control else "") + ("" if scope == "all" else f" ({scope})")


def steer(direction: Direction, *, by: float | int, scope: str = "all") -> Steer:
    """Add ``by`` times the fitted gap along ``direction``: x' = x + by * scale * v.

    ``by=1`` moves by the distance between the two sides' means, toward aligned; ``by=-1`` away from it.

    Args:
        direction: unit vector v with its site and its scale s, in activation units.
        by: the dose c, in fitted gaps; 0 is the identity, exactly.
        scope: ``all``, ``prompt`` or ``response``.

    Raises:
        BadInput: a dose that is not finite, or an unknown scope.

    >>> import torch
    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 1, torch.eye(2), at=Site(0))
    >>> print(steer(v, by=0.5))
    steer +0.5 at L0.resid_post
    """
    _checked(scope, by=by)
    return Steer(direction, float(by), scope)


def ablate(direction: Direction, *, scope: str = "all") -> Ablate:
    """Remove the projection on ``direction``: x' = x - v v.T x (idempotent).

    Raises:
        BadInput: an unknown scope.
    """
    _checked(scope)
    return Ablate(direction, scope)


def clamp(direction: Direction, *, to: float | int, scope: str = "all") -> Clamp:
    """Set the projection on ``direction`` to ``to`` (activation units): x' = x + (to - v.T x) v.

    Raises:
        BadInput: a target that is not finite, or an unknown scope.
    """
    _checked(scope, to=to)
    return Clamp(direction, float(to), scope)


def patch(source: Tensor, *, at: Site, along: Direction | None = None, scope: str = "all") -> Patch:
    """Put a stored activation at ``at``; with ``along=v`` only its part along v.

    Args:
        source: ``[d_model]`` or ``[batch, position, d_model]``, read elsewhere on the same tokens.
        at: the site that receives it.
        along: restrict the patch to this direction.
        scope: ``all``, ``prompt`` or ``response``.

    Raises:
        BadInput: not finite, an unknown scope, or a direction of another width.
    """
    _checked(scope)
    if not torch.isfinite(source).all():
        raise BadInput(f"The patch at {at} holds NaN or infinity: read the source again.")
    if along is not None and along.vector.shape != source.shape[-1:]:
        raise BadInput(
            f"The direction has width {along.vector.shape[0]}, the patch {source.shape[-1]}: they must match."
        )
    return Patch(source, at, along, scope)


def rescoped(edit: Intervention, scope: str) -> Intervention:
    """The same edit on other positions."""
    _checked(scope)
    return replace(edit, scope=scope)  # type: ignore[type-var]
