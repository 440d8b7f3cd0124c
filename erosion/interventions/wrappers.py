"""Edits of edits: keep the activation's length, or act only where a projection calls for it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.interventions.edits import Edited, Intervention
from erosion.interventions.scopes import Scope
from erosion.interventions.sources import Rows, laid_out
from erosion.sites import Site

__all__ = ["Conditional", "NormPreserving", "conditional", "norm_preserving"]


@dataclass(frozen=True, eq=False)
class NormPreserving:
    """An edit after which each activation has the length it had before."""

    inner: Intervention

    @property
    def at(self) -> Site:
        """The inner edit's site."""
        return self.inner.at

    @property
    def scope(self) -> Scope:
        """The inner edit's scope."""
        return self.inner.scope

    @property
    def identity(self) -> bool:
        """Whether the inner edit changes nothing."""
        return self.inner.identity

    def on(self, rows: Rows) -> "NormPreserving":
        """The same edit laid out for the rows of a pass."""
        return NormPreserving(laid_out(self.inner, rows))

    def edit(self, x: Edited) -> Edited:
        """The inner edit's tensor, scaled to the length of ``x``; what it made zero stays zero."""
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        moved = self.inner.edit(exact)
        before, after = (torch.linalg.vector_norm(one, dim=-1, keepdim=True) for one in (exact, moved))
        return (moved * torch.where(after > 0, before / after, 1.0)).to(x.dtype)

    def __str__(self) -> str:
        """``steer +1 at L3.resid_post, norm kept``."""
        return f"{self.inner}, norm kept"


@dataclass(frozen=True, eq=False)
class Conditional:
    """An edit that acts where the projection on ``on_direction`` lies below (or above) a threshold."""

    inner: Intervention
    on_direction: Direction
    below: float = math.inf
    above: float = -math.inf

    @property
    def at(self) -> Site:
        """The inner edit's site."""
        return self.inner.at

    @property
    def scope(self) -> Scope:
        """The inner edit's scope."""
        return self.inner.scope

    @property
    def identity(self) -> bool:
        """Whether the inner edit changes nothing."""
        return self.inner.identity

    def on(self, rows: Rows) -> "Conditional":
        """The same edit laid out for the rows of a pass."""
        return Conditional(laid_out(self.inner, rows), self.on_direction, self.below, self.above)

    def edit(self, x: Edited) -> Edited:
        """``x``, edited at the positions whose projection calls for it."""
        exact = torch.promote_types(x.dtype, torch.float32)
        v = self.on_direction.vector.to(x.device, exact)
        projection = einsum(x.to(exact), v, "b p d, d -> b p")
        acts = (projection < self.below) & (projection > self.above)
        return torch.where(acts[..., None], self.inner.edit(x), x)

    def __str__(self) -> str:
        """``steer +1 at L3.resid_post where v.x < 0.4``."""
        bounds: list[Any] = []
        if self.below < math.inf:
            bounds.append(f"< {self.below:.3g}")
        if self.above > -math.inf:
            bounds.append(f"> {self.above:.3g}")
        return f"{self.inner} where v.x {' and '.join(bounds)}"


def norm_preserving(edit: Intervention) -> NormPreserving:
    """The same edit, each activation scaled back to its length: x' = |x| e(x) / |e(x)|.

    A large dose then turns the residual stream instead of lengthening it, which later norms would undo in
    part anyway.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.interventions import steer
    >>> v = difference_of_means(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), at=Site(0))
    >>> round(float(norm_preserving(steer(v, by=100)).edit(torch.tensor([[[0.0, 3.0]]])).norm()), 3)
    3.0
    """
    return NormPreserving(edit)


def conditional(
    edit: Intervention, *, on: Direction, below: float | int | None = None, above: float | int | None = None
) -> Conditional:
    """The same edit, only where the projection on a direction lies below (above) a threshold.

    x'_t = e(x)_t where above < v.T x_t < below, else x_t. Steering only tokens that lie on the misaligned
    side leaves the others bit for bit.

    Args:
        edit: what is done.
        on: the direction whose projection decides, of the edit's own site.
        below: act where the projection is smaller, in activation units.
        above: act where it is larger.

    Raises:
        BadInput: neither bound, one that is not a number, bounds that no number meets, or a direction of
            another site.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.interventions import ablate
    >>> v = difference_of_means(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), at=Site(0))
    >>> conditional(ablate(v), on=v, above=1).edit(torch.tensor([[[5.0, 1.0], [0.5, 1.0]]]))
    tensor([[[0.0000, 1.0000],
             [0.5000, 1.0000]]])
    """
    low, high = -math.inf if above is None else float(above), math.inf if below is None else float(below)
    if (below is None and above is None) or math.isnan(low) or math.isnan(high) or low >= high:
        raise BadInput(f"below={below} and above={above} name no range of projections: give a threshold.")
    if on.site != edit.at:
        raise BadInput(
            f"'{edit}' acts at {edit.at} and the condition is read at {on.site}: use a direction of its site."
        )
    return Conditional(edit, on, high, low)
