"""What each edit does to a tensor: frozen values, each with one equation of :mod:`erosion.interventions`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from einops import einsum

from erosion.directions import Direction, Subspace
from erosion.errors import BadInput
from erosion.interventions.scopes import Scope
from erosion.interventions.sources import Rows, Source, drawn, padded
from erosion.shapes import Float, Tensor, Vector
from erosion.sites import Site

__all__ = ["Ablate", "Clamp", "Intervention", "LivePatch", "Patch", "Resample", "Steer", "rows_of"]

Edited = Float[Tensor, "batch position d_model"]


@runtime_checkable
class Intervention(Protocol):
    """What every edit can do: name its site and scope, and edit a tensor."""

    @property
    def at(self) -> Site:
        """Where it is applied."""
        ...

    @property
    def scope(self) -> Scope:
        """Which positions it touches (see :mod:`erosion.interventions.scopes`)."""
        ...

    @property
    def identity(self) -> bool:
        """Whether it changes nothing by design (a dose of 0)."""
        ...

    def edit(self, x: Edited) -> Edited:
        """The edited tensor, new, in the dtype of ``x``."""
        ...


def rows_of(along: Direction | Subspace) -> Float[Tensor, "k d_model"]:
    """A direction's vector, or a subspace's basis, as orthonormal rows."""
    return along.vector[None] if isinstance(along, Direction) else along.basis


def _exact(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _along(x: Edited, v: Vector, coefficient: Float[Tensor, "batch position"]) -> Edited:
    """``x`` plus ``coefficient`` times ``v``, cast once."""
    exact = _exact(x)
    moved = x.to(exact) + einsum(coefficient.to(exact), v.to(x.device, exact), "b p, d -> b p d")
    return moved.to(x.dtype)


def _projection(x: Edited, v: Vector) -> Float[Tensor, "batch position"]:
    exact = _exact(x)
    return einsum(x.to(exact), v.to(x.device, exact), "b p d, d -> b p")


def _moved_inside(x: Edited, along: Direction | Subspace, by: Edited) -> Edited:
    """``x`` plus the part of ``by`` that lies along a direction or inside a subspace, cast once."""
    exact = _exact(x)
    rows = rows_of(along).to(x.device, exact)
    inside = einsum(by.to(exact), rows, "b p d, k d -> b p k")
    return (x.to(exact) + einsum(inside, rows, "b p k, k d -> b p d")).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Steer:
    """Add ``by`` fitted gaps along a direction: x' = x + by * scale * v."""

    direction: Direction
    by: float
    scope: Scope = "all"

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
    """Remove the part along a direction, or inside a subspace: x' = x - V V.T x."""

    direction: Direction | Subspace
    scope: Scope = "all"
    identity = False

    @property
    def at(self) -> Site:
        """The direction's site."""
        return self.direction.site

    def edit(self, x: Edited) -> Edited:
        """``x`` without its part along the direction."""
        return _moved_inside(x, self.direction, -x.to(_exact(x)))

    def __str__(self) -> str:
        """``ablate at L3.resid_post``."""
        return f"ablate{_dimensions(self.direction)} at {self.at}" + _suffix(self.scope, self.direction)


@dataclass(frozen=True, eq=False)
class Clamp:
    """Set the projection on a direction to one value: x' = x + (to - v.T x) v."""

    direction: Direction
    to: float
    scope: Scope = "all"
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
    """Put something else in the place of the model's own activation, whole, along a direction or across it.

    ``source`` is ``[d_model]`` (the same at every position), ``[batch, 1, d_model]`` (the same at every one
    of an exchange), ``[batch, position, d_model]``, a single number in a tensor without axes, or exchange
    id -> ``[token, d_model]``; ``name`` is what the edit is called.
    """

    source: Source
    at: Site
    along: Direction | Subspace | None = None
    across: Direction | Subspace | None = None
    scope: Scope = "all"
    name: str = "patch"
    identity = False

    @property
    def whole(self) -> bool:
        """Whether nothing of the model's own activation is left."""
        return self.along is None and self.across is None

    def on(self, rows: Rows) -> "Patch":
        """The same patch laid out for the rows of a pass."""
        if isinstance(self.source, Mapping):
            return replace(self, source=padded(self.source, rows, name=str(self)))
        return self

    def edit(self, x: Edited) -> Edited:
        """``x`` replaced by the source (or moved to it along the direction, or in all others)."""
        source = self._beside(x)
        if self.along is not None:
            exact = _exact(x)
            return _moved_inside(x, self.along, source.to(exact) - x.to(exact))
        if self.across is not None:
            donor = source.to(torch.promote_types(source.dtype, x.dtype))  # x's own precision is kept
            exact = _exact(donor)
            return _moved_inside(donor, self.across, x.to(exact) - donor.to(exact)).to(x.dtype)
        return source.to(x.dtype, copy=True)

    def _beside(self, x: Edited) -> Edited:
        if isinstance(self.source, Mapping):
            raise BadInput(
                f"'{self}' is filed by exchange and this pass runs none: run a batch of exchanges."
            )
        of_each = (x.shape[0], 1, x.shape[-1])
        if self.source.shape not in (x.shape, of_each, x.shape[-1:], ()):
            raise BadInput(
                f"The patch at {self.at} holds {tuple(self.source.shape)} and the model {tuple(x.shape)}: "
                "read the source on the same tokens."
            )
        return self.source.to(x.device).expand_as(x)

    def __str__(self) -> str:
        """``patch at L3.resid_post``."""
        part = " along v" if self.along is not None else "" if self.across is None else " across v"
        return f"{self.name} at {self.at}{part}" + _suffix(self.scope, self.along or self.across)


@dataclass(frozen=True, eq=False)
class LivePatch:
    """A patch whose source is another copy of the batch in the same pass (:func:`erosion.side_by_side`)."""

    at: Site
    along: Direction | Subspace | None = None
    across: Direction | Subspace | None = None
    scope: Scope = "all"
    identity = False

    def taking(self, donor: Tensor | None) -> Patch:
        """The patch with what the donor's copy computed."""
        if donor is None:
            raise BadInput(f"'{self}' takes its source from another copy: run it side by side.")
        return Patch(donor, self.at, self.along, self.across, self.scope)

    def edit(self, x: Edited) -> Edited:
        """Refused: what the donor computed is not known here."""
        return self.taking(None).edit(x)

    def __str__(self) -> str:
        """``patch at L3.resid_post, live``."""
        part = " along v" if self.along is not None else "" if self.across is None else " across v"
        return f"patch at {self.at}{part}, live" + _suffix(self.scope, self.along or self.across)


@dataclass(frozen=True, eq=False)
class Resample:
    """Put in an activation drawn from a pool, another for each exchange (see :func:`resample_ablate`)."""

    pool: Float[Tensor, "exchange d_model"]
    at: Site
    along: Direction | Subspace | None = None
    scope: Scope = "all"
    seed: int = 0
    identity = False

    def on(self, rows: Rows) -> Patch:
        """The draws of these rows, as a patch."""
        source = drawn(self.pool, rows, seed=self.seed)
        return Patch(source, self.at, self.along, None, self.scope, "resample ablate")

    def edit(self, x: Edited) -> Edited:
        """Refused: which draw belongs to which row is not known here."""
        raise BadInput(f"'{self}' draws by exchange and this pass runs none: run a batch of exchanges.")

    def __str__(self) -> str:
        """``resample ablate at L3.resid_post``."""
        part = " along v" if self.along is not None else ""
        return f"resample ablate at {self.at}{part}" + _suffix(self.scope, self.along)


def _dimensions(direction: Direction | Subspace) -> str:
    return f" {direction.k} dimensions" if isinstance(direction, Subspace) else ""


def _suffix(scope: Scope, direction: Any = None) -> str:
    control = isinstance(direction, Direction) and direction.passport.fit.startswith("random")
    return (", random direction" if control else "") + ("" if scope == "all" else f" ({scope})")
