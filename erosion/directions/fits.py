"""Four ways to find the direction that separates two sides; aligned is positive, everywhere.

Every fit is a plain function ``(aligned, misaligned, *, at) -> Direction`` and is passed as such, so
your own is as good as these. They differ in what they hold against noise:

=======================  ====================================================================
fit                      the direction along which ...
=======================  ====================================================================
difference_of_means      the sides' means differ: the one that steers best, and the default
whitened                 they differ most against the spread within each side (LDA)
principal_component      the paired differences are longest: question identity cancels out
logistic_probe           a linear classifier tells them apart: reads well, steers worse
=======================  ====================================================================

All compute in float64 and give float32. ``scale`` is always the gap between the sides' means along the
direction, (mu_aligned - mu_misaligned) . v, in activation units. For ``difference_of_means`` that is
the whole distance between the means, for the others a part of it.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from einops import einsum, reduce
from scipy import linalg as dense
from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from erosion.directions.direction import Direction
from erosion.directions.passport import issue
from erosion.directions.sides import checked, paired
from erosion.errors import BadDirection
from erosion.linalg import unit
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site

__all__ = ["Fit", "difference_of_means", "logistic_probe", "principal_component", "whitened"]

Fit = Callable[..., Direction]
"""``(aligned, misaligned, *, at) -> Direction``: what every fit here is."""

# Below this share of the activations' size a difference is rounding, not a direction.
_ROUNDING = 1e-9


def difference_of_means(
    aligned: Float[Tensor, "aligned d_model"], misaligned: Float[Tensor, "misaligned d_model"], *, at: Site
) -> Direction:
    """v = unit(mu_aligned - mu_misaligned), with scale ||mu_aligned - mu_misaligned||.

    Marks and Tegmark (arXiv 2310.06824) for truth, Arditi et al. (arXiv 2406.11717) for refusal.
    Memory: a float64 copy of both sides.

    Raises:
        BadDirection: fewer than two exchanges a side, NaN or infinity, different widths, equal means.

    >>> v = difference_of_means(torch.tensor([[3.0, 1.0], [3.0, -1.0]]), torch.zeros(2, 2), at=Site(4))
    >>> v.vector, v.scale
    (tensor([1., 0.]), 3.0)
    """
    exact = checked(aligned, misaligned, at_least=2)
    return _direction(_gap(*exact, at=at), exact, at=at, fit="difference_of_means")


def whitened(
    aligned: Float[Tensor, "aligned d_model"], misaligned: Float[Tensor, "misaligned d_model"], *, at: Site
) -> Direction:
    """v = unit(S^-1 (mu_aligned - mu_misaligned)), S the shrunk covariance within the sides: Fisher's LDA.

    Dimensions that vary a lot for reasons of their own (the residual stream's few huge ones) lose
    their say. S is shrunk toward its diagonal (Ledoit and Wolf 2004, on standardised dimensions, as
    scikit-learn's LDA does), so it can be inverted with fewer exchanges than dimensions, and the huge
    ones do not decide how far the small ones are shrunk. Memory and time: with fewer exchanges than
    dimensions the inverse is taken among the exchanges (Woodbury), O(exchanges^2 x d_model) and no square
    matrix of the width; else about three d_model x d_model matrices in float64 and O(d_model^3), some 5 s
    at 4096 on one core.

    Raises:
        BadDirection: fewer than two exchanges a side, NaN or infinity, different widths, equal means,
            or no spread at all within the sides.

    >>> aligned = torch.tensor([[2.0, 9.0], [4.0, -9.0], [2.0, -9.0], [4.0, 9.0]])
    >>> bool(whitened(aligned, -aligned, at=Site(4)).vector[0] > 0.99)
    True
    """
    exact = checked(aligned, misaligned, at_least=2)
    gap = _gap(*exact, at=at)
    spread = _spread(exact)
    within = torch.cat([side - _mean(side) for side in exact]) / spread
    if not float(within.square().sum()) > _ROUNDING * len(within):
        raise BadDirection(
            f"Nothing varies within the sides at {at}, so nothing can be whitened: use difference_of_means."
        )
    weights = _solved(within.cpu().numpy(), (gap / spread).cpu().numpy())
    return _direction(torch.from_numpy(weights).to(spread) / spread, exact, at=at, fit="whitened")


def _solved(
    rows: Float[Array, "exchange d_model"], gap: Float[Array, " d_model"]
) -> Float[Array, " d_model"]:
    """S^-1 gap with S = (1 - s) X^T X / n + s m I, s Ledoit and Wolf's shrinkage and m the mean variance.

    With fewer rows than columns by (a I + X^T X b)^-1 g = (g - X^T (a / b I + X X^T)^-1 X g) / a.
    """
    if len(rows) >= rows.shape[1]:
        correlation, _ = ledoit_wolf(rows, assume_centered=True)
        return dense.solve(correlation, gap, assume_a="pos")
    shrinkage = ledoit_wolf_shrinkage(rows, assume_centered=True)
    ridge = shrinkage * float((rows**2).sum()) / rows.size
    inner = rows @ rows.T
    inner[np.diag_indices_from(inner)] += ridge * len(rows) / max(1 - shrinkage, 1e-12)
    return (gap - rows.T @ dense.solve(inner, rows @ gap, assume_a="pos")) / ridge


def principal_component(
    aligned: Float[Tensor, "aligned d_model"], misaligned: Float[Tensor, "misaligned d_model"], *, at: Site
) -> Direction:
    """The first right singular vector of the paired differences, **uncentred**, signed by their mean.

    D_i = aligned_i - misaligned_i; v maximises sum (D_i . v)^2. What a question shares between its two
    answers cancels in D. Centring D would remove the mean difference, which is the signal, and leave
    the noise. Zou et al. (arXiv 2310.01405) is the centred relative. Memory: the differences and their
    thin SVD in float64; time O(pairs^2 x d_model).

    Raises:
        BadDirection: sides that do not pair up; fewer than two pairs, NaN or infinity, different
            widths, no difference; or a component at right angles to the mean difference (within 1e-6),
            whose sign nothing determines.

    >>> aligned = torch.tensor([[3.0, 0.1], [3.0, -0.1]])
    >>> principal_component(aligned, torch.zeros(2, 2), at=Site(4)).vector
    tensor([1., 0.])
    """
    exact = checked(aligned, misaligned, at_least=2)
    paired(*exact, what="principal_component")
    differences = exact[0] - exact[1]
    if float(differences.norm()) <= _ROUNDING * float(torch.cat(exact).norm()):
        raise BadDirection(f"The sides are equal at {at}: there is no difference to fit; check the labels.")
    component = torch.linalg.svd(differences, full_matrices=False).Vh[0]
    along = einsum(differences, component, "pair d_model, d_model -> pair")
    if abs(float(along.mean())) <= 1e-6 * float(along.square().mean().sqrt()):
        raise BadDirection(
            f"The main component at {at} is at right angles to the mean difference, so nothing says which "
            f"end is aligned: use difference_of_means, or more questions."
        )
    return _direction(component * along.mean().sign(), exact, at=at, fit="principal_component")


def logistic_probe(
    aligned: Float[Tensor, "aligned d_model"], misaligned: Float[Tensor, "misaligned d_model"], *, at: Site
) -> Direction:
    """The weights of a logistic regression on standardised activations, mapped back to their units.

    scikit-learn's, L2 with C = 1, sides weighted equally; with z = (x - mean) / sd, w . z has the
    gradient w / sd in x, and v = unit(w / sd). The sd is that *within* the sides: the overall one
    grows with the gap itself and so shrinks the very dimensions that tell the sides apart. A
    dimension that never varies gets no weight. The seed is fixed (lbfgs uses none), so the same data
    gives the same probe. Memory: two float64 copies of both sides.

    Raises:
        BadDirection: fewer than two exchanges a side, NaN or infinity, different widths, equal means,
            or a fit that does not converge in 2,000 steps.

    >>> aligned = torch.tensor([[3.0, 1.0], [3.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    >>> logistic_probe(aligned, -aligned, at=Site(4)).vector.round(decimals=3).abs()
    tensor([1., 0.])
    """
    exact = checked(aligned, misaligned, at_least=2)
    _gap(*exact, at=at)
    rows, spread = torch.cat(exact), _spread(exact)
    standardised = ((rows - _mean(rows)) / spread).cpu().numpy()
    labels = [1] * len(exact[0]) + [0] * len(exact[1])
    probe = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            probe.fit(standardised, labels)
        except ConvergenceWarning as error:
            raise BadDirection(
                f"The probe at {at} did not converge in 2,000 steps: use difference_of_means there."
            ) from error
    weights = torch.from_numpy(probe.coef_.ravel()).to(spread) / spread
    return _direction(weights, exact, at=at, fit="logistic_probe")


def _mean(side: Float[Tensor, "exchange d_model"]) -> Float[Tensor, " d_model"]:
    return reduce(side, "exchange d_model -> d_model", "mean")


def _spread(sides: tuple[Tensor, Tensor]) -> Float[Tensor, " d_model"]:
    """Each dimension's sd within the sides; where that is rounding, the overall sd, and else 1."""
    within = _mean(torch.cat([side - _mean(side) for side in sides]).square()).sqrt()
    rows = torch.cat(sides)
    overall = _mean((rows - _mean(rows)).square()).sqrt()
    rounding = _ROUNDING * _mean(rows.square()).sqrt()
    return torch.where(within > rounding, within, torch.where(overall > rounding, overall, 1.0))


def _gap(aligned: Tensor, misaligned: Tensor, *, at: Site) -> Float[Tensor, " d_model"]:
    """The difference of means, refused where it is nothing but rounding."""
    gap = _mean(aligned) - _mean(misaligned)
    size = float(torch.cat([aligned, misaligned]).square().mean().sqrt()) * len(gap) ** 0.5
    if float(gap.norm()) <= _ROUNDING * size:
        raise BadDirection(
            f"The sides have the same mean at {at} (difference {float(gap.norm()):.1e}), so there is no "
            f"direction to fit: check the labels and the span."
        )
    return gap


def _direction(weights: Tensor, sides: tuple[Tensor, Tensor], *, at: Site, fit: str) -> Direction:
    """A direction along ``weights``, its scale the gap between the sides' means along it."""
    aligned, misaligned = sides
    if not float(weights.norm()) > 0:
        raise BadDirection(f"The {fit} at {at} found no difference: use more questions, or another layer.")
    vector = unit(weights.to(aligned))
    scale = float((_mean(aligned) - _mean(misaligned)) @ vector)
    if scale <= 0:
        raise BadDirection(
            f"Along the {fit} at {at} the aligned side does not lie higher (gap {scale:.1e}): "
            f"use difference_of_means there."
        )
    norms = torch.cat([torch.linalg.vector_norm(side, dim=-1) for side in sides])
    passport = issue(fit, at=at, scale=scale, residual_norm=float(norms.mean()))
    return Direction(vector.float(), passport)
