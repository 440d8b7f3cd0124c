"""Do the vectors of two groups point apart? Means of pairwise cosines, within groups and across.

Notable here: a pair of exchanges of one question, and an exchange with itself, never counts (they are alike
whatever the groups are); intervals leave out questions, centring and all made anew each time; and
:func:`pooled_centred` is where a published finding comes from by arithmetic alone. With two equal groups it
forces the mean inner product across them to be minus the one within, *whatever the data*, so that "opposes"
can only be read off raw cosines (:func:`opposes`).
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from einops import rearrange

from erosion.errors import BadInput
from erosion.experiments.sampling import Sampling
from erosion.shapes import Array, Float
from erosion.stats import Control, Estimate
from erosion.stats.clusters import student_t

__all__ = ["Compare", "block_means", "centred_cosines", "cosines", "opposes", "pooled_centred", "summaries"]

Gram = Float[Array, "exchange exchange"]
Compare = Callable[[Array], Array]
_BLOCKS = 50  # of questions, left out one after the other
_CELLS = 4_000_000  # numbers held at once by the null
_DRAWS = 500  # of labels at most: enough for a 95% range
_SMALL = 1e-12
_UNIT, _METHOD = "cosine", "block jackknife over questions, t"


def cosines(gram: Gram) -> Gram:
    """Each pair's cosine from inner products: G_ij / sqrt(G_ii G_jj); a vector of no length has cosine 0.

    >>> cosines(np.array([[4.0, 3.0], [3.0, 9.0]])).round(2)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    norms = np.sqrt(np.clip(np.diagonal(gram), 0, None))
    there = norms > _SMALL * norms.max(initial=0.0)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms, dtype=float), where=there)
    return gram * inverse[:, None] * inverse[None, :]


def pooled_centred(gram: Gram) -> Gram:
    """Inner products after the mean of *all* vectors was subtracted from each: H G H, H = 1 - 11'/n.

    As published; and the trap: the sum over all pairs becomes 0, so with two equal groups the mean across
    (the pairs of a vector with itself among those within) is exactly minus the mean within.

    >>> pooled_centred(np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    rows = gram.mean(axis=0)
    return gram - rows[None, :] - rows[:, None] + rows.mean()


def centred_cosines(gram: Gram) -> Gram:
    """Cosines of the pooled-centred vectors: the published heatmap."""
    return cosines(pooled_centred(gram))


def block_means(matrix: Gram, groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """The mean of every block of a heatmap, all pairs counted, as the eye does.

    >>> block_means(pooled_centred(np.array([[2.0, 1.0], [1.0, 2.0]])), ["a", "b"])["a"]
    {'a': 0.5, 'b': -0.5}
    """
    names, member = _members(groups)
    means = _pair_means(matrix, member, np.ones_like(matrix))
    return {a: {b: float(means[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)}


def opposes(cross: Estimate) -> bool:
    """Whether two groups point apart: the upper end of their mean **raw** cosine lies below 0.

    >>> opposes(Estimate(0.05, -0.02, 0.12, "cosine", 40, "jackknife"))
    False
    """
    return not cross.undefined and cross.high < 0


def summaries(
    gram: Gram,
    groups: Sequence[str],
    questions: Sequence[str],
    *,
    compare: Compare = cosines,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """Mean pairwise cosine within each group and across each two, over pairs of different questions.

    The interval is a block jackknife over questions (leaving out one of at most 50 blocks, ``compare`` made
    anew; Busing, Meijer and van der Leeden 1999) with Student's t. It also takes the bias out, which raw
    cosines do not have and centring brings: unrelated vectors get the cosine -1/(n - 1). The control of each
    number is its 95% range when labels are swapped within questions; questions of one label swap it between
    them.

    Args:
        gram: inner products of every two exchanges' vectors.
        groups: each exchange's group.
        questions: each exchange's cluster id.
        compare: inner products to what is averaged: :func:`cosines` or :func:`centred_cosines`.
        sampling: permutations (at most 500 are drawn) and seed.

    Returns:
        ``within`` group -> estimate; ``cross`` and ``within minus cross``: ``"a and b"`` -> estimate.

    Raises:
        BadInput: lengths that differ, a number that is not finite.

    Costs 50 + permutations x groups / 50 passes over the matrix; memory: three of them and 32 MB.

    >>> rows = np.random.default_rng(0).normal(size=(80, 8)) + np.repeat([[1.0], [-1.0]], 40, axis=0)
    >>> found = summaries(rows @ rows.T, ["a"] * 40 + ["b"] * 40, [f"q{i}" for i in range(40)] * 2)
    >>> opposes(found["cross"]["a and b"])
    True
    """
    sampling = sampling or Sampling()
    _check(gram, groups, questions)
    names, member = _members(groups)
    _, cluster = np.unique(np.asarray(questions), return_inverse=True)
    apart = (cluster[:, None] != cluster[None, :]).astype(float)
    matrix = compare(gram)
    value = _listed(_pair_means(matrix, member, apart))
    pieces = _blocks(cluster, member, sampling.seed)
    without = [_listed(_without(gram, member, apart, compare, ~out)) for out in pieces]
    centre, reach = _jackknife(value, np.array(without), pieces, cluster)
    null, method = _null(matrix * apart, apart, member, cluster, sampling)
    asked = [set(cluster[column > 0]) for column in member.T]
    counts = [len(one) for one in asked] + 2 * [len(a | b) for a, b in combinations(asked, 2)]
    made = [
        _estimate(float(c), float(r), draws, n_questions=n, control=method)
        for c, r, draws, n in zip(centre, reach, (null + centre - value).T, counts, strict=True)
    ]
    pairs = [f"{a} and {b}" for a, b in combinations(names, 2)]
    within, others = made[: len(names)], made[len(names) :]
    return {
        "within": dict(zip(names, within, strict=True)),
        "cross": dict(zip(pairs, others[: len(pairs)], strict=True)),
        "within minus cross": dict(zip(pairs, others[len(pairs) :], strict=True)),
    }


def _check(gram: Array, groups: Sequence[str], questions: Sequence[str]) -> None:
    if not len(gram) == len(groups) == len(questions) > 0:
        raise BadInput(
            f"{len(gram)} vectors, {len(groups)} groups and {len(questions)} question ids: give every vector "
            "its group and its question."
        )
    if not np.isfinite(gram).all():
        first = questions[int(np.argmin(np.isfinite(gram).all(axis=1)))]
        raise BadInput(
            f"An inner product is not finite (first at question {first!r}): leave that question out."
        )


def _members(groups: Sequence[str]) -> tuple[tuple[str, ...], Float[Array, "exchange group"]]:
    names = tuple(dict.fromkeys(groups))
    return names, np.array([[group == name for name in names] for group in groups], dtype=float)


def _pair_means(matrix: Array, member: Array, apart: Array) -> Float[Array, "group group"]:
    """The mean over the pairs that count, for every two groups; NaN where there is no pair."""
    sums, counts = member.T @ (matrix * apart) @ member, member.T @ apart @ member
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _listed(means: Float[Array, "*draw group group"]) -> Float[Array, "*draw number"]:
    """Within each group, across each two, and the mean of both withins minus the cross."""
    within = np.diagonal(means, axis1=-2, axis2=-1)
    one, other = np.triu_indices(means.shape[-1], k=1)
    cross = means[..., one, other]
    gap = (within[..., one] + within[..., other]) / 2 - cross
    return np.concatenate([within, cross, gap], axis=-1)


def _without(
    gram: Array, member: Array, apart: Array, compare: Compare, rows: Array
) -> Float[Array, "group group"]:
    square = np.ix_(rows, rows)
    return _pair_means(compare(gram[square]), member[rows], apart[square])


def _blocks(cluster: Array, member: Array, seed: int) -> list[Array]:
    """Which exchanges to leave out together: questions dealt round, those of the same groups evenly."""
    n = int(cluster.max()) + 1
    kinds = np.zeros((n, member.shape[1]))
    np.add.at(kinds, cluster, member)
    _, kind = np.unique(kinds > 0, axis=0, return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).random(n), kind.ravel()))
    block = np.empty(n, dtype=int)
    block[order] = np.arange(n) % _BLOCKS
    return [block[cluster] == i for i in range(min(n, _BLOCKS))]


def _jackknife(value: Array, without: Array, pieces: Sequence[Array], cluster: Array) -> tuple[Array, Array]:
    """The value without its bias, and the half-width of a 95% interval, blocks of unequal size."""
    n = int(cluster.max()) + 1
    if n == 1:
        return value, np.full_like(value, np.inf)
    size = np.array([len(np.unique(cluster[piece])) for piece in pieces])
    h = (n / size)[:, None]
    pseudo = h * value - (h - 1) * without
    centre = (len(pieces) * value) - ((1 - 1 / h) * without).sum(axis=0)
    variance = ((pseudo - centre) ** 2 / (h - 1)).mean(axis=0)
    known = np.isfinite(centre)  # too few questions to leave one out give a value and no interval
    reach = student_t(len(pieces), 0.95) * np.sqrt(variance)
    return np.where(known, centre, value), np.where(known, reach, np.inf)


def _null(
    counted: Array, apart: Array, member: Array, cluster: Array, sampling: Sampling
) -> tuple[Float[Array, "draw number"], str]:
    """Every number again, each time the labels are dealt anew among those that may swap them."""
    kind = member.argmax(axis=1)
    taken, stratum, slot, method = _slots(kind, cluster)
    generator, (n, k) = np.random.default_rng(sampling.seed), member.shape
    step = max(1, _CELLS // (2 * n * k))
    draws, wanted = [], min(sampling.permutations, _DRAWS)
    for start in range(0, wanted, step):
        size = min(step, wanted - start)
        dealt = np.argsort(stratum + generator.random((size, len(stratum))), axis=1)
        one_hot = np.eye(k)[taken[dealt][:, slot]]
        sums, counts = (_sums(m, one_hot) for m in (counted, apart))
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        draws.append(_listed(means))
    return np.concatenate(draws), method


def _slots(kind: Array, cluster: Array) -> tuple[Array, Array, Array, str]:
    """The labels to deal, the stratum of each (ascending), the slot of each exchange, and what it is called.

    Exchanges of a question of several labels are slots of a stratum of their own; a question of one label
    is one slot among all such questions.
    """
    n = int(cluster.max()) + 1
    seen = np.zeros((n, int(kind.max()) + 1), dtype=bool)
    seen[cluster, kind] = True
    mixed = seen.sum(axis=1) > 1
    place = np.where(mixed[cluster], cluster, n)
    own = np.where(mixed[cluster], np.arange(len(kind)), -1 - cluster)  # what moves as one
    _, first, slot = np.unique(own, return_index=True, return_inverse=True)
    order = np.lexsort((kind[first], place[first]))
    rank = np.argsort(order)
    inside, between = "labels swapped within questions", "labels shuffled between questions"
    method = inside if mixed.all() else between if not mixed.any() else f"{inside} or between them"
    return kind[first][order], place[first][order].astype(float), rank[slot], method


def _sums(matrix: Array, one_hot: Float[Array, "draw exchange group"]) -> Float[Array, "draw group group"]:
    flat = rearrange(one_hot, "draw exchange group -> exchange (draw group)")
    moved = rearrange(matrix @ flat, "exchange (draw group) -> draw exchange group", draw=len(one_hot))
    return np.matmul(rearrange(one_hot, "draw exchange group -> draw group exchange"), moved)


def _estimate(value: float, reach: float, null: Array, *, n_questions: int, control: str) -> Estimate:
    if not math.isfinite(value):
        why = "no two different questions have such a pair"
        return Estimate(math.nan, math.nan, math.nan, _UNIT, n_questions, _METHOD, why=why)
    reach = reach if math.isfinite(reach) else math.inf
    why = "too few questions: none can be left out" if math.isinf(reach) else None
    one = Estimate(value, value - reach, value + reach, _UNIT, n_questions, _METHOD, why=why)
    middle, low, high = np.quantile(null, [0.5, 0.025, 0.975]) if np.isfinite(null).all() else [math.nan] * 3
    return one.with_control(Control(control, float(middle), float(low), float(high)))
