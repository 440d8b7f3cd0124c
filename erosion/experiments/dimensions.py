"""Shared dimension (section 4.4 of arXiv 2507.03662): one direction per layer, fitted here and tested there.

The answer direction v_l points from misaligned to aligned answers in the residual stream of the aligned
model. It is fitted on one split of questions by several fits, scored on another, and held against the same
fit on swapped labels; the score on its own training questions stands beside, as published practice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from erosion.activations import Activations, directions_of
from erosion.directions import (
    Direction,
    Fit,
    difference_of_means,
    principal_component,
    random_direction,
    shuffled,
)
from erosion.errors import BadDirection
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band, random_band, simultaneous_band

__all__ = ["FITS", "Selection", "dimensions", "select"]

FITS: Mapping[str, Fit] = {
    "difference of means": difference_of_means,
    "principal component": principal_component,
}
_DRAWS = 39


@dataclass(frozen=True, eq=False)
class Selection:
    """The direction that separates the sides best on its own split, and the whole table it won in.

    ``table[site]`` is the separation on the select split: the paired gap divided by its standard deviation.
    """

    direction: Direction
    table: Mapping[Site, float]

    def to_json(self) -> dict[str, object]:
        """The chosen site and the separation of every candidate."""
        return {
            "site": str(self.direction.site),
            "separation": {str(s): value for s, value in self.table.items()},
        }


def select(directions: Mapping[Site, Direction], *, on: Activations) -> Selection:
    """Choose among layers on questions that were neither fitted nor will be reported on.

    Raises:
        BadDirection: a direction has seen one of the questions, or none separates the sides.
    """
    from erosion.directions import check_unseen

    table = {}
    for site, direction in directions.items():
        check_unseen(direction, on.questions)
        gaps = _paired_gaps(direction, on)
        table[site] = float(gaps.mean() / max(gaps.std(ddof=1), 1e-12))
    best = max(table, key=lambda site: table[site])
    if table[best] <= 0:
        raise BadDirection(
            f"No layer separates the sides on the select split (best {table[best]:.2f} at {best})."
        )
    return Selection(directions[best], table)


def dimensions(
    acts: Activations, *, fit: Sequence[str], held_out: Sequence[str], sampling: Sampling | None = None
) -> tuple[Result, dict[str, dict[Site, Direction]]]:
    """Directions by every fit at every layer, with their held-out scores.

    Args:
        acts: the aligned model's activations on the whole contrast.
        fit: the questions to fit on.
        held_out: the questions to score on.
        sampling: draws and seed of bands and shuffles.

    Returns:
        The result, and fit name -> site -> direction (passports filled in, held-out AUC included).

    Memory: exchanges x layers floats beside the activations. Time: fits x layers x (1 + 39 shuffles)
    small fits.
    """
    sampling = sampling or Sampling()
    training, test = acts.of(fit), acts.of(held_out)
    labels = [site.layer for site in acts.sites]
    questions = _questions(test)
    directions, curves, published = {}, {}, {}
    for name, one in FITS.items():
        fitted = directions_of(training, one)
        scores = np.stack([_auc_parts(_projections(v, test)) for v in fitted.values()], axis=1)
        band = simultaneous_band(
            scores, questions, unit="AUC", labels=labels, resamples=sampling.resamples, seed=sampling.seed
        )
        null = _null_band(one, training, test, labels, sampling)
        band = replace(band, low=np.clip(band.low, 0, 1), high=np.clip(band.high, 0, 1))
        curves[name] = {
            "held-out AUC": band.with_control(null),
            "held-out gap": _gap_band(fitted, test, labels, sampling),
        }
        published[name] = {"AUC on the questions fitted on": _auc_curve(fitted, training)}
        directions[name] = {
            site: v.stamped(held_out={"metric": "AUC", **band.at(site.layer).to_json()})
            for site, v in fitted.items()
        }
    base = directions["difference of means"]
    cosines = {
        name: [base[site].cosine(fitted[site]) for site in base]
        for name, fitted in directions.items()
        if name != "difference of means"
    }
    ours = {
        "by fit": curves,
        "cosine with difference of means": cosines,
        "fitted gap / residual norm": [
            v.scale / (v.passport.residual_norm or float("nan")) for v in base.values()
        ],
    }
    inputs = {
        "layers": labels,
        "fit questions": len(set(fit)),
        "held-out questions": len(set(held_out)),
        "span": acts.span,
    }
    return Result("dimensions", inputs, published, ours), directions


def _projections(direction: Direction, acts: Activations) -> tuple[Array, Array]:
    site = direction.site
    return tuple(direction.project(side[site]).numpy() for side in (acts.aligned, acts.misaligned))  # type: ignore[return-value]


def _paired_gaps(direction: Direction, acts: Activations) -> Array:
    aligned, misaligned = _projections(direction, acts)
    return aligned - misaligned


def _questions(acts: Activations) -> list[str]:
    return [q for q, label in zip(acts.questions, acts.labels, strict=True) if label == "aligned"]


def _auc_parts(projections: tuple[Array, Array]) -> Array:
    """Per-question values whose mean is the AUC and whose spread is its sampling error.

    With F the share of the other side that lies below (ties count half), question q contributes
    F_misaligned(a_q) + (1 - F_aligned(m_q)) - AUC: DeLong's components (DeLong et al. 1988), added within
    the question, so that its two answers may be correlated.
    """
    aligned, misaligned = projections
    n = len(aligned)
    ranks = rankdata(np.concatenate([aligned, misaligned]))
    below = (ranks[:n] - rankdata(aligned)) / n
    above = 1 - (ranks[n:] - rankdata(misaligned)) / n
    return below + above - below.mean()


def _auc_curve(directions: Mapping[Site, Direction], acts: Activations) -> list[float]:
    return [float(_auc_parts(_projections(v, acts)).mean()) for v in directions.values()]


def _gap_band(
    directions: Mapping[Site, Direction], acts: Activations, labels: Sequence[int], sampling: Sampling
) -> Band:
    """The gap between the sides on held-out questions, in units of the fitted gap (1 = nothing lost)."""
    gaps = np.stack([_paired_gaps(v, acts) / v.scale for v in directions.values()], axis=1)
    return simultaneous_band(
        gaps,
        _questions(acts),
        unit="fitted gaps",
        labels=labels,
        resamples=sampling.resamples,
        seed=sampling.seed,
    )


def _null_band(
    fit: Fit, training: Activations, test: Activations, labels: Sequence[int], sampling: Sampling
) -> Band:
    """Held-out AUC of directions that know nothing.

    The same fit after swapping labels within a random half of the questions; for the principal component,
    which swapping leaves as it is, random directions instead (the same draws at every layer).
    """
    if fit is principal_component:
        like = directions_of(training, difference_of_means)
        controls = [
            {site: random_direction(like=v, seed=sampling.seed, draw=draw) for site, v in like.items()}
            for draw in range(_DRAWS)
        ]
        method = f"{_DRAWS} random directions"
    else:
        controls = [
            directions_of(training, shuffled(fit, seed=sampling.seed, draw=draw)) for draw in range(_DRAWS)
        ]
        method = f"labels swapped within questions, {_DRAWS} draws"
    curves = np.array([_auc_curve(control, test) for control in controls])
    return replace(
        random_band(curves, unit="AUC", n_questions=len(_questions(test)), labels=list(labels)), method=method
    )
