"""How well a direction separates two sides; meant for questions that it was not fitted on.

All are ``(direction, aligned, misaligned) -> float`` on activations ``[exchange, d_model]`` at the
direction's site, and all refuse (``BadDirection``) sides that are empty, not finite, or of another
width. The number comes without an interval: resample questions for that (:mod:`erosion.stats`).
"""

import math

import torch
from scipy.stats import mannwhitneyu

from erosion.directions.direction import Direction
from erosion.directions.sides import checked, paired
from erosion.shapes import Float, Tensor

__all__ = ["auc", "gap", "paired_accuracy", "separation"]


def auc(
    direction: Direction,
    aligned: Float[Tensor, "aligned d_model"],
    misaligned: Float[Tensor, "misaligned d_model"],
) -> float:
    """P(an aligned exchange projects higher than a misaligned one), ties counting half: 0.5 is chance.

    Mann and Whitney's U over its maximum, which is the area under the ROC curve.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.sites import Site
    >>> aligned, misaligned = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [3.0]])
    >>> auc(difference_of_means(aligned, misaligned, at=Site(0)), aligned, misaligned)
    0.75
    """
    high, low = _projections(direction, aligned, misaligned, at_least=1)
    statistic = mannwhitneyu(high.cpu().numpy(), low.cpu().numpy(), method="asymptotic").statistic
    return float(statistic) / (len(high) * len(low))


def paired_accuracy(
    direction: Direction,
    aligned: Float[Tensor, "aligned d_model"],
    misaligned: Float[Tensor, "misaligned d_model"],
) -> float:
    """The share of questions whose aligned answer projects higher than its misaligned one; ties half.

    Question identity cancels within a pair, so this can be 1 where :func:`auc` is not.

    Raises:
        BadDirection: sides that do not pair up.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.sites import Site
    >>> aligned, misaligned = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [3.0]])
    >>> paired_accuracy(difference_of_means(aligned, misaligned, at=Site(0)), aligned, misaligned)
    1.0
    """
    paired(aligned, misaligned, what="paired_accuracy")
    high, low = _projections(direction, aligned, misaligned, at_least=1)
    return float((torch.sign(high - low).mean() + 1) / 2)


def separation(
    direction: Direction,
    aligned: Float[Tensor, "aligned d_model"],
    misaligned: Float[Tensor, "misaligned d_model"],
) -> float:
    """Cohen's d of the projections: (mean_aligned - mean_misaligned) / pooled sd; NaN where nothing varies.

    Raises:
        BadDirection: fewer than two exchanges a side.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.sites import Site
    >>> aligned, misaligned = torch.tensor([[4.0], [6.0]]), torch.tensor([[1.0], [3.0]])
    >>> round(separation(difference_of_means(aligned, misaligned, at=Site(0)), aligned, misaligned), 4)
    2.1213
    """
    high, low = _projections(direction, aligned, misaligned, at_least=2)
    freedom = len(high) + len(low) - 2
    pooled = math.sqrt(float(high.var() * (len(high) - 1) + low.var() * (len(low) - 1)) / freedom)
    return float(high.mean() - low.mean()) / pooled if pooled > 0 else math.nan


def gap(
    direction: Direction,
    aligned: Float[Tensor, "aligned d_model"],
    misaligned: Float[Tensor, "misaligned d_model"],
) -> float:
    """The distance between the sides' means along the direction, in activation units.

    On the data it was fitted on this is ``direction.scale``; elsewhere, how much of it holds.

    >>> from erosion.directions import difference_of_means
    >>> from erosion.sites import Site
    >>> aligned, misaligned = torch.tensor([[4.0], [6.0]]), torch.tensor([[1.0], [3.0]])
    >>> gap(difference_of_means(aligned, misaligned, at=Site(0)), aligned, misaligned)
    3.0
    """
    high, low = _projections(direction, aligned, misaligned, at_least=1)
    return float(high.mean() - low.mean())


def _projections(
    direction: Direction, aligned: Tensor, misaligned: Tensor, *, at_least: int
) -> tuple[Float[Tensor, " aligned"], Float[Tensor, " misaligned"]]:
    high, low = checked(aligned, misaligned, at_least=at_least)
    return direction.project(high), direction.project(low)
