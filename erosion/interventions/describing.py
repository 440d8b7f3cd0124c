"""The verbs that describe an edit: each checks what it is given and returns a value."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from erosion.directions import Direction, Subspace
from erosion.errors import BadInput
from erosion.interventions.edits import Ablate, Clamp, Intervention, LivePatch, Patch, Steer, rows_of
from erosion.interventions.scopes import Scope, checked_scope
from erosion.interventions.sources import Source
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = ["ablate", "clamp", "live_patch", "patch", "repeated", "rescoped", "steer"]


def _checked(scope: Scope, **numbers: float | int) -> None:
    checked_scope(scope)
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise BadInput(f"{name}={value} is not a finite number: give one.")


def steer(direction: Direction, *, by: float | int, scope: Scope = "all") -> Steer:
    """Add ``by`` times the fitted gap along ``direction``: x' = x + by * scale * v.

    ``by=1`` moves by the distance between the two sides' means, toward aligned; ``by=-1`` away from it.

    Args:
        direction: unit vector v with its site and its scale s, in activation units.
        by: the dose c, in fitted gaps; 0 is the identity, exactly.
        scope: which tokens (see :mod:`erosion.interventions.scopes`).

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


def ablate(direction: Direction | Subspace, *, scope: Scope = "all") -> Ablate:
    """Remove the projection on ``direction``: x' = x - v v.T x (idempotent).

    Several directions at one site are a subspace (:class:`erosion.Subspace`): ablating them one after
    another would leave a part of the first wherever they are not orthogonal. The control that removes the
    same dimensions but not their meaning is the same on :func:`erosion.random_direction`.

    Raises:
        BadInput: an unknown scope.
    """
    _checked(scope)
    return Ablate(direction, scope)


def clamp(direction: Direction, *, to: float | int, scope: Scope = "all") -> Clamp:
    """Set the projection on ``direction`` to ``to`` (activation units): x' = x + (to - v.T x) v.

    Raises:
        BadInput: a target that is not finite, or an unknown scope.
    """
    _checked(scope, to=to)
    return Clamp(direction, float(to), scope)


def patch(
    source: Source,
    *,
    at: Site,
    along: Direction | Subspace | None = None,
    across: Direction | Subspace | None = None,
    scope: Scope = "all",
) -> Patch:
    """Put a stored activation at ``at``: whole, only its part along a direction, or all but that part.

    The whole patch is the ceiling (at every position it restores the donor by construction); ``along=v``
    is what a direction claims; ``across=v`` what it leaves over: x' = h + v v.T (x - h).

    Args:
        source: ``[d_model]``, ``[batch, position, d_model]``, or exchange id -> ``[token, d_model]`` (see
            :func:`erosion.read_tokens`), read elsewhere on the same tokens.
        at: the site that receives it.
        along: restrict the patch to this direction or subspace.
        across: keep the model's own projection on this direction, and patch the rest.
        scope: which tokens (see :mod:`erosion.interventions.scopes`).

    Raises:
        BadInput: not finite, an unknown scope, a direction of another width, or both ``along`` and
            ``across``.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), at=Site(0))
    >>> patch(torch.tensor([5.0, 7.0]), at=Site(0), across=v).edit(torch.ones(1, 1, 2))
    tensor([[[1., 7.]]])
    """
    checked_scope(scope)
    parts = [source] if isinstance(source, Tensor) else list(source.values())
    if not parts:
        raise BadInput(f"The patch at {at} holds no exchange: read the source on those that will be run.")
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise BadInput(f"The patch at {at} holds NaN or infinity: read the source again.")
    if along is not None and across is not None:
        raise BadInput(
            f"The patch at {at} is to be along one direction and across another: give one of them."
        )
    only = along or across
    width = parts[0].shape[-1:]
    if only is not None and width and rows_of(only).shape[-1:] != width:
        raise BadInput(
            f"The direction has width {rows_of(only).shape[-1]}, the patch {width[0]}: they must match."
        )
    return Patch(source, at, along, across, scope)


def live_patch(
    *,
    at: Site,
    along: Direction | Subspace | None = None,
    across: Direction | Subspace | None = None,
    scope: Scope = "all",
) -> LivePatch:
    """:func:`patch` from the donor's own pass, for models that share their weights (adapters).

    Nothing is stored: donor and patched model run side by side in one batch (:func:`erosion.side_by_side`).

    Raises:
        BadInput: an unknown scope, or both ``along`` and ``across``.

    >>> print(live_patch(at=Site(3), scope="prompt"))
    patch at L3.resid_post, live (prompt)
    """
    checked_scope(scope)
    if along is not None and across is not None:
        raise BadInput(
            f"The patch at {at} is to be along one direction and across another: give one of them."
        )
    return LivePatch(at, along, across, scope)


def rescoped(edit: Intervention, scope: Scope) -> Any:
    """The same edit on other positions."""
    checked_scope(scope)
    inner = getattr(edit, "inner", None)
    if inner is not None:
        return replace(edit, inner=rescoped(inner, scope))  # type: ignore[type-var]
    return replace(edit, scope=scope)  # type: ignore[type-var]


def repeated(edit: Intervention, *, at: Iterable[Site]) -> tuple[Intervention, ...]:
    """The same edit at each of several sites of one width: an ablation at every site that writes, say.

    A direction is taken to each site as it is (it is not fitted there, and its passport keeps the fit's
    name), so that ``repeated(ablate(v), at=writing_sites(model))`` takes v out of all that is ever written.

    Raises:
        BadInput: no site.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), at=Site(0))
    >>> [str(one) for one in repeated(ablate(v), at=[Site(0), Site(1, "mlp_out")])]
    ['ablate at L0.resid_post', 'ablate at L1.mlp_out']
    """
    sites = tuple(at)
    if not sites:
        raise BadInput(f"'{edit}' is to be repeated at no site: name at least one.")
    return tuple(_at(edit, site) for site in sites)


def _at(edit: Any, site: Site) -> Any:
    changes: dict[str, Any] = {}
    for name in ("direction", "along", "across", "on_direction"):
        fitted = getattr(edit, name, None)
        if isinstance(fitted, Direction):
            changes[name] = fitted.stamped(site=site)
        elif isinstance(fitted, Subspace):
            changes[name] = replace(fitted, site=site)
    if hasattr(edit, "inner"):
        changes["inner"] = _at(edit.inner, site)
    elif not isinstance(edit, Steer | Ablate | Clamp):
        changes["at"] = site
    return replace(edit, **changes)
