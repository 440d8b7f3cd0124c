"""The verbs that describe an edit: each checks what it is given and returns a value."""

import math
from dataclasses import replace

import torch

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.interventions.edits import SCOPES, Ablate, Clamp, Intervention, Patch, Steer
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = ["ablate", "clamp", "patch", "rescoped", "steer"]


def _checked(scope: str, **numbers: float | int) -> None:
    if scope not in SCOPES:
        raise BadInput(f"There is no scope {scope!r}: choose one of {', '.join(SCOPES)}.")
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise BadInput(f"{name}={value} is not a finite number: give one.")


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


def patch(
    source: Tensor,
    *,
    at: Site,
    along: Direction | None = None,
    across: Direction | None = None,
    scope: str = "all",
) -> Patch:
    """Put a stored activation at ``at``: whole, only its part along a direction, or all but that part.

    The whole patch is the ceiling (at every position it restores the donor by construction); ``along=v``
    is what a direction claims; ``across=v`` what it leaves over: x' = h + v v.T (x - h).

    Args:
        source: ``[d_model]`` or ``[batch, position, d_model]``, read elsewhere on the same tokens.
        at: the site that receives it.
        along: restrict the patch to this direction.
        across: keep the model's own projection on this direction, and patch the rest.
        scope: ``all``, ``prompt`` or ``response``.

    Raises:
        BadInput: not finite, an unknown scope, a direction of another width, or both ``along`` and
            ``across``.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), at=Site(0))
    >>> patch(torch.tensor([5.0, 7.0]), at=Site(0), across=v).edit(torch.ones(1, 1, 2))
    tensor([[[1., 7.]]])
    """
    _checked(scope)
    if not torch.isfinite(source).all():
        raise BadInput(f"The patch at {at} holds NaN or infinity: read the source again.")
    if along is not None and across is not None:
        raise BadInput(
            f"The patch at {at} is to be along one direction and across another: give one of them."
        )
    only = along or across
    if only is not None and only.vector.shape != source.shape[-1:]:
        raise BadInput(
            f"The direction has width {only.vector.shape[0]}, the patch {source.shape[-1]}: they must match."
        )
    return Patch(source, at, along, across, scope)


def rescoped(edit: Intervention, scope: str) -> Intervention:
    """The same edit on other positions."""
    _checked(scope)
    return replace(edit, scope=scope)  # type: ignore[type-var]
