"""Ablations that put something in: a mean, another exchange's activation, or nothing at all.

Removing a projection (:func:`erosion.ablate`) leaves the rest of the activation; these replace it, whole or
along a direction. They differ in what they take the place of information to be: its average (mean), a value
that the model has seen elsewhere (resample), or zero, which few models ever see and which therefore damages
most.
"""

import torch

from erosion.directions import Direction, Subspace
from erosion.errors import BadInput
from erosion.interventions.edits import Patch, Resample, rows_of
from erosion.interventions.scopes import Scope, checked_scope
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["mean_ablate", "resample_ablate", "zero_ablate"]

Along = Direction | Subspace | None


def zero_ablate(*, at: Site, scope: Scope = "all") -> Patch:
    """Put zero in the place of the activation: x' = 0. (Along a direction that is :func:`erosion.ablate`.)

    >>> zero_ablate(at=Site(0, "mlp_out")).edit(torch.ones(1, 1, 2))
    tensor([[[0., 0.]]])
    """
    checked_scope(scope)
    return Patch(torch.zeros(()), at, scope=scope, name="zero ablate")


def mean_ablate(
    activations: Float[Tensor, "exchange d_model"], *, at: Site, along: Along = None, scope: Scope = "all"
) -> Patch:
    """Put the mean of some activations in: x' = mu, or x' = x + v v.T (mu - x) along a direction.

    Args:
        activations: read at ``at``, one row for each exchange (``acts[site]``).
        at: the site.
        along: only along this direction or inside this subspace.
        scope: which tokens.

    Raises:
        BadInput: no activation, one that is not finite, or a direction of another width.

    >>> mean_ablate(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), at=Site(0)).edit(torch.zeros(1, 1, 2))
    tensor([[[2., 1.]]])
    """
    mean = _checked(activations, at, along, scope).double().mean(0).float()
    return Patch(mean, at, along, None, scope, "mean ablate")


def resample_ablate(
    activations: Float[Tensor, "exchange d_model"],
    *,
    at: Site,
    along: Along = None,
    scope: Scope = "all",
    seed: int = 0,
) -> Resample:
    """Put another exchange's activation in, drawn anew for each exchange and the same at all its positions.

    Drawn by ``seed`` and the exchange's id alone, so that neither batches nor generation with a cache change
    it. Arguments and errors as :func:`mean_ablate`.

    >>> print(resample_ablate(torch.eye(3), at=Site(2), seed=1))
    resample ablate at L2.resid_post
    """
    return Resample(_checked(activations, at, along, scope), at, along, scope, seed)


def _checked(activations: Tensor, at: Site, along: Along, scope: Scope) -> Tensor:
    checked_scope(scope)
    if not len(activations) or not bool(torch.isfinite(activations).all()):
        raise BadInput(
            f"The {len(activations)} activations for {at} hold none, or NaN or infinity: read some there."
        )
    if along is not None and rows_of(along).shape[-1] != activations.shape[-1]:
        raise BadInput(
            f"The direction has width {rows_of(along).shape[-1]}, the activations {activations.shape[-1]}: "
            "they must match."
        )
    return activations
