"""Mean cosines of two groups' gradients along the layers, with bands that hold for all layers at once.

The mean is over pairs of exchanges of *different* questions (a U-statistic); leaving out each question in
turn gives one pseudo-value a question, whose mean is the curve and whose spread its band (Arvesen 1969).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from erosion.experiments.sampling import Sampling
from erosion.shapes import Array, Float
from erosion.stats import Band, random_band, simultaneous_band

__all__ = ["Pair", "cross_curves"]

Pair = tuple[str, str]
_DRAWS = 200  # label swaps behind a grey band
_UNIT = "cosine"


def cross_curves(
    cosines: Mapping[int, Float[Array, "exchange exchange"]],
    groups: Sequence[str],
    questions: Sequence[str],
    *,
    pairs: Sequence[Pair],
    sampling: Sampling,
) -> dict[str, Band]:
    """``"a and b"`` -> the mean cosine across both groups by layer, and where swapped labels would leave it.

    A pair of a group with itself gives the mean within it. The control deals the labels of each question's
    exchanges anew, the same draws at every layer (questions with one label keep it).

    Args:
        cosines: layer -> the cosine of every two exchanges.
        groups: each exchange's group.
        questions: each exchange's cluster id.
        pairs: which groups to compare.
        sampling: resamples and seed.

    Costs layers x (1 + 200) products of the matrix with one column a group; memory: the cosines once more.
    """
    _, cluster = np.unique(np.asarray(questions), return_inverse=True)
    apart = (cluster[:, None] != cluster[None, :]).astype(float)
    stack = np.stack([matrix * apart for matrix in cosines.values()])
    names = tuple(dict.fromkeys(groups))
    kind = np.array([names.index(group) for group in groups])
    dealt = _dealt(kind, cluster, sampling.seed)
    ids = np.unique(np.asarray(questions))
    made = {}
    for a, b in pairs:
        first, second = ((kind == names.index(one)).astype(float) for one in (a, b))
        values, asked = _pseudo_values(stack, apart, cluster, first, second)
        band = _band(values, ids[asked], list(cosines), sampling)
        swapped = _means(stack, apart, (dealt == names.index(a)) * 1.0, (dealt == names.index(b)) * 1.0)
        made[f"{a} and {b}"] = _with_null(band, swapped)
    return made


def _pseudo_values(
    stack: Float[Array, "layer exchange exchange"], apart: Array, cluster: Array, first: Array, second: Array
) -> tuple[Float[Array, "question layer"], Array]:
    """n m - (n - 1) m_(-q) for every question of either group, and which questions those are."""
    n = int(cluster.max()) + 1
    owner = np.zeros((n, len(cluster)))
    owner[cluster, np.arange(len(cluster))] = 1

    def parts(matrices: Array) -> tuple[Array, Array]:
        to_second, to_first = matrices @ second, matrices @ first
        return (to_second * first).sum(-1), (first * to_second + second * to_first) @ owner.T

    (sums, lost_sums), (counts, lost_counts) = parts(stack), parts(apart[None])
    asked = np.flatnonzero(owner @ (first + second))
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = sums / counts
        without = (sums[:, None] - lost_sums[:, asked]) / (counts[:, None] - lost_counts[:, asked])
    values = len(asked) * whole[:, None] - (len(asked) - 1) * without
    return values.T, asked


def _band(values: Array, questions: Array, labels: list[int], sampling: Sampling) -> Band:
    if not np.isfinite(values).all():
        none = np.full(len(labels), math.nan)
        why = ("no two different questions are left when one is taken out",) * len(labels)
        return Band(none, none, none, tuple(labels), _UNIT, len(questions), "jackknife", why=why)
    band = simultaneous_band(
        values,
        list(questions),
        unit=_UNIT,
        labels=labels,
        resamples=sampling.resamples,
        seed=sampling.seed,
    )
    band = replace(band, low=np.maximum(band.low, -1), high=np.minimum(band.high, 1))
    return replace(band, method="jackknife over questions, max-|t| bootstrap")


def _dealt(kind: Array, cluster: Array, seed: int) -> Array:
    """Draws of the groups, dealt anew within each question, ``[draw, exchange]``."""
    generator, slots = np.random.default_rng(seed), np.argsort(cluster, kind="stable")
    dealt = np.empty((_DRAWS, len(kind)), dtype=int)
    for draw in dealt:
        draw[slots] = kind[np.lexsort((generator.random(len(kind)), cluster))]
    return dealt


def _means(stack: Array, apart: Array, first: Array, second: Array) -> Float[Array, "draw layer"]:
    counts = ((first @ apart) * second).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([((first @ matrix) * second).sum(-1) / counts for matrix in stack], axis=1)


def _with_null(band: Band, swapped: Float[Array, "draw layer"]) -> Band:
    if not np.isfinite(swapped).all():
        return band
    null = random_band(swapped, unit=_UNIT, n_questions=band.n_questions, labels=list(band.labels))
    return band.with_control(replace(null, method=f"labels swapped within questions, {_DRAWS} draws"))
