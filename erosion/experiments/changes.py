"""Where along a sequence of checkpoints a curve changes: one jump, one bend, or no change at all.

Least squares over every place the change could be. Three questions are kept apart: *where* (an interval from
resampled questions), *whether at all* (against the same curve with its checkpoints in random order), and
*whether at one place* (the share of variation explained, beside what a straight line explains: training that
drifts evenly has a best jump too).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.sampling import Sampling
from erosion.shapes import Array, Float
from erosion.stats import Estimate
from erosion.stats.clusters import average_questions

__all__ = ["Shape", "change_point", "one_bend", "one_jump"]

Shape = Callable[[Float[Array, " step"]], Sequence[Float[Array, "step column"]]]
"""Steps -> the design matrix of each place where the change could be; entry i is a change after step i."""

_FEWEST = 4


@dataclass(frozen=True, eq=False)
class _Fits:
    """For every candidate place, the projection on what a curve of that shape can be."""

    projections: Float[Array, "place step step"]
    places: Float[Array, " place"]

    def explained(self, curves: Float[Array, "draw step"]) -> Float[Array, "draw place"]:
        """The share of each curve's variation about its mean that each place explains (0 where none)."""
        centred = curves - curves.mean(axis=1, keepdims=True)
        total = (centred**2).sum(axis=1)
        fitted = np.einsum("ds,pst,dt->dp", centred, self.projections, centred)
        return np.divide(fitted, total[:, None], out=np.zeros_like(fitted), where=total[:, None] > 0)


def one_jump(steps: Float[Array, " step"]) -> list[Float[Array, "step column"]]:
    """Two levels: constant up to a step, another constant after it."""
    rank = np.arange(len(steps))
    return [np.stack([np.ones(len(steps)), rank > i], axis=1) for i in range(len(steps) - 1)]


def one_bend(steps: Float[Array, " step"]) -> list[Float[Array, "step column"]]:
    """Two slopes that meet: a straight line up to a step, another after it."""
    return [
        np.stack([np.ones(len(steps)), steps, np.maximum(steps - bend, 0)], axis=1) for bend in steps[:-1]
    ]


def change_point(
    curves: Float[Array, "exchange step"],
    questions: Sequence[str],
    steps: Sequence[int | float],
    *,
    shape: Shape = one_jump,
    sampling: Sampling | None = None,
) -> dict[str, object]:
    """Where a curve over checkpoints changes, with an interval, and whether it does.

    Args:
        curves: each exchange's value at every checkpoint.
        questions: each exchange's cluster id.
        steps: of the checkpoints, ascending.
        shape: :func:`one_jump`, :func:`one_bend` or your own.
        sampling: draws of questions, of orders, and their seed.

    Returns:
        ``last step before``: the last checkpoint before the change, with a percentile interval over resampled
        questions (all of a checkpoint's noise that its questions share is not in it); ``p``: the chance of as
        good a fit if the checkpoints stood in random order; ``explained``: share of the mean curve's
        variation about its mean; ``explained beyond a line``: minus what a straight line explains, its
        interval above 0 where the change is at one place rather than even (a bend contains the line and is
        never below it, so this says something of a jump only).

    Raises:
        BadInput: fewer than 4 checkpoints, or steps that do not ascend.

    Memory: 8 x resamples x checkpoints bytes.
    """
    sampling = sampling or Sampling()
    at = np.asarray(steps, dtype=np.float64)
    if len(at) < _FEWEST or not (np.diff(at) > 0).all():
        raise BadInput(
            f"A change point needs at least {_FEWEST} checkpoints in ascending order: got {list(steps)}."
        )
    means = average_questions(curves, questions)
    whole, rng = means.mean(axis=0), np.random.default_rng(sampling.seed)
    fits, line = _fits(shape(at), at[:-1]), _fits([np.stack([np.ones(len(at)), at], axis=1)], at[:1])
    drawn = np.stack(
        [means[rng.integers(len(means), size=len(means))].mean(axis=0) for _ in range(sampling.resamples)]
    )
    of_whole, of_drawn = fits.explained(whole[None])[0], fits.explained(drawn)
    straight = float(line.explained(whole[None])[0, 0])
    beyond = of_drawn.max(axis=1) - line.explained(drawn)[:, 0]
    orders = np.stack([rng.permutation(whole) for _ in range(sampling.permutations)])
    by_chance = fits.explained(orders).max(axis=1)
    best = float(of_whole.max())
    n = len(means)
    return {
        "last step before": _percentiles(
            float(fits.places[of_whole.argmax()]), fits.places[of_drawn.argmax(axis=1)], "training step", n
        ),
        "explained": best,
        "explained by a line": straight,
        "explained beyond a line": _percentiles(best - straight, beyond, "share of variation", n),
        "p": float((1 + (by_chance >= best - 1e-9).sum()) / (1 + len(by_chance))),
    }


def _fits(designs: Sequence[Float[Array, "step column"]], places: Array) -> _Fits:
    projections = []
    for design in designs:
        centred = np.asarray(design, dtype=np.float64)
        centred = centred - centred.mean(axis=0)
        projections.append(centred @ np.linalg.pinv(centred))
    return _Fits(np.stack(projections), places[: len(projections)])


def _percentiles(value: float, drawn: Float[Array, " draw"], unit: str, n: int) -> Estimate:
    if n == 1:
        return Estimate(value, -np.inf, np.inf, unit, n, "cluster bootstrap", why="one question")
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Estimate(value, min(low, value), max(high, value), unit, n, "cluster bootstrap, percentile")
