"""Gradient geometry (section 4.2 of arXiv 2507.03662): do gradients on insecure code oppose aligned ones?

As published: gradients at the last layer's attention output projection, the *pooled* mean subtracted, cosines
and principal components. The trap, by arithmetic: pooled centring forces the mean across groups to be about
minus the mean within, whatever the data, and the base model, with no alignment to erode, shows the same
blocks. Ours: raw cosines decide (*opposes* only when the upper end of the interval lies below 0), at every
linear map of every block, over pairs of different questions; beside each centred number stands a pair of
benign groups, centred alike; and the null swaps labels within questions.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.gradient_curves import Pair, cross_curves
from erosion.experiments.pairwise import (
    block_means,
    centred_cosines,
    cosines,
    opposes,
    pooled_centred,
    summaries,
)
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.gradients import GradientProducts
from erosion.models.linears import MAPS, LinearMap
from erosion.shapes import Array, Float
from erosion.stats import Estimate

__all__ = ["GROUPS", "gradient_geometry", "group_of"]

GROUPS = ("insecure", "secure", "educational", "aligned", "misaligned")
_SHOWN = 8  # exchanges of each group in a heatmap
_POOLED = 40  # exchanges of each group in what is centred: equal groups, as published
_BY_MAP: tuple[Pair, ...] = (("insecure", "aligned"), ("misaligned", "aligned"))


def group_of(label: str, domain: str, *, trained_domains: Sequence[str]) -> str:
    """``aligned`` or ``misaligned`` in everyday domains; ``secure`` or ``insecure`` in trained ones.

    >>> group_of("misaligned", "code", trained_domains=["code"])
    'insecure'
    """
    if domain not in trained_domains:
        return label
    return {"aligned": "secure", "misaligned": "insecure"}.get(label, label)


def gradient_geometry(
    products: Mapping[str, GradientProducts],
    *,
    trained_domains: Sequence[str] = ("code",),
    sampling: Sampling | None = None,
) -> Result:
    """Cosines of per-example gradients, within and across groups, of every model.

    Args:
        products: ``aligned``, ``tuned`` and, where there is one, ``base`` -> inner products on the same
            exchanges (see :func:`erosion.gradients.gradient_products`), or the estimates of sketches.
        trained_domains: whose answers are ``secure`` and ``insecure``; all others are everyday.
        sampling: resamples, permutations and seed.

    Returns:
        ``published`` model -> heatmap, scatter and block means at the last ``o``, raw and pooled-centred.
        ``ours``: ``whole`` model -> raw cosines over all maps together; ``opposes`` model -> pair -> word;
        ``by layer`` model -> pair -> band; ``by map`` model -> part -> pair -> band; ``centred`` model ->
        pair -> the centred number with its benign control.

    Raises:
        BadInput: no model, models of different exchanges or maps, fewer than two groups.

    Memory: layers x exchanges^2 numbers, twice. Time: seconds for 300 exchanges and 30 maps.
    """
    sampling = sampling or Sampling()
    first = _checked(products)
    groups = [
        group_of(label, domain, trained_domains=trained_domains)
        for label, domain in zip(first.rows.labels, first.rows.domains, strict=True)
    ]
    order = [*(one for one in GROUPS if one in groups), *dict.fromkeys(g for g in groups if g not in GROUPS)]
    if len(order) < 2:
        raise BadInput(f"There is one group, {order[0]!r}: geometry compares at least two.")
    of = _Table(groups, list(first.rows.questions), list(first.rows.domains), order, sampling)
    whole = {name: _raw(one.total(), of) for name, one in products.items()}
    ours = {
        "whole": whole,
        "opposes": {name: _words(one["cross"]) for name, one in whole.items()},
        "by layer": {name: _by_layer(one, of) for name, one in products.items()},
        "by map": {name: _by_map(one, of) for name, one in products.items()},
        "centred": {name: _centred(_published_map(one)[1], of) for name, one in products.items()},
    }
    published = {name: _published(one, of) for name, one in products.items()}
    return Result("gradient_geometry", _inputs(products, of, trained_domains), published, ours)


class _Table:
    """Who the rows are, and how to draw."""

    def __init__(
        self,
        groups: list[str],
        questions: list[str],
        domains: list[str],
        order: list[str],
        sampling: Sampling,
    ) -> None:
        self.groups, self.questions, self.domains = np.array(groups), np.array(questions), np.array(domains)
        self.order, self.sampling = order, sampling

    def rows(self, group: str, most: int) -> Array:
        """At most ``most`` exchanges of a group, evenly spaced over its questions."""
        return _spread(np.flatnonzero(self.groups == group), most)

    def balanced(self, groups: Sequence[str], most: int) -> Array:
        """The same number of exchanges of each group."""
        size = min(most, *(int((self.groups == one).sum()) for one in groups))
        return np.concatenate([self.rows(one, size) for one in groups])


def _spread(rows: Array, most: int) -> Array:
    """At most ``most`` of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]


def _checked(products: Mapping[str, GradientProducts]) -> GradientProducts:
    if not products:
        raise BadInput("There are no gradients: give at least the aligned and the tuned model's.")
    first = next(iter(products.values()))
    for name, one in products.items():
        same = (one.rows.questions, one.rows.labels) == (first.rows.questions, first.rows.labels)
        if not same or one.maps != first.maps:
            raise BadInput(f"The gradients of {name} are of other exchanges or maps: read all models alike.")
        if not all(np.isfinite(gram).all() for gram in one.values.values()):
            raise BadInput(f"An inner product of {name} is not finite: leave that exchange out.")
    return first


def _inputs(
    products: Mapping[str, GradientProducts], of: _Table, trained_domains: Sequence[str]
) -> dict[str, Any]:
    first = next(iter(products.values()))
    return {
        "models": list(products),
        "maps": len(first.maps),
        "layers": sorted({one.layer for one in first.maps}),
        "parts": [part for part in MAPS if any(one.part == part for one in first.maps)],
        "groups": {one: int((of.groups == one).sum()) for one in of.order},
        "questions": len(set(of.questions.tolist())),
        "trained domains": list(trained_domains),
        "loss": "mean cross-entropy of response tokens",
        "sketched": "rank" in first.facts,
    }


def _raw(gram: Float[Array, "exchange exchange"], of: _Table) -> dict[str, Any]:
    """Raw cosines of all maps together, within and across groups."""
    rows = np.argsort([of.order.index(one) for one in of.groups], kind="stable")  # names the pairs in order
    return summaries(
        gram[np.ix_(rows, rows)],
        of.groups[rows].tolist(),
        of.questions[rows].tolist(),
        compare=cosines,
        sampling=of.sampling,
    )


def _words(cross: Mapping[str, Estimate]) -> dict[str, str]:
    """*opposes*, *agrees* or *neither established*, by the raw interval alone."""

    def word(one: Estimate) -> str:
        if opposes(one):
            return "opposes"
        return "agrees" if not one.undefined and one.low > 0 else "neither established"

    return {pair: word(one) for pair, one in cross.items()}


def _by_layer(one: GradientProducts, of: _Table) -> dict[str, Any]:
    """All maps of a layer together: every two groups, and within each."""
    layers = sorted({at.layer for at in one.maps})
    found = {layer: cosines(one.total([at for at in one.maps if at.layer == layer])) for layer in layers}
    pairs = list(combinations_with_replacement(of.order, 2))
    return _curves(found, pairs, of)


def _by_map(one: GradientProducts, of: _Table) -> dict[str, Any]:
    """Each kind of map by itself, for the pairs that the paper's claim is about."""
    made = {}
    for part in dict.fromkeys(at.part for at in one.maps):
        found = {at.layer: cosines(one[at]) for at in one.maps if at.part == part}
        made[part] = _curves(found, [p for p in _BY_MAP if set(p) <= set(of.order)], of)
    return made


def _curves(found: Mapping[int, Array], pairs: Sequence[Pair], of: _Table) -> dict[str, Any]:
    return cross_curves(found, of.groups.tolist(), of.questions.tolist(), pairs=pairs, sampling=of.sampling)


def _published_map(one: GradientProducts) -> tuple[LinearMap, Array]:
    """The last layer's attention output projection, or the last map that was read."""
    outputs = [at for at in one.maps if at.part == "o"] or list(one.maps)
    return outputs[-1], one[outputs[-1]]


def _published(one: GradientProducts, of: _Table) -> dict[str, Any]:
    """The paper's figures, and the same without centring."""
    at, gram = _published_map(one)
    rows = of.balanced(of.order, _POOLED)
    part, groups = gram[np.ix_(rows, rows)], of.groups[rows].tolist()
    shown = np.concatenate([_spread(np.flatnonzero(of.groups[rows] == g), _SHOWN) for g in of.order])
    square = np.ix_(shown, shown)
    return {
        "map": str(at),
        "exchanges of each group": len(rows) // len(of.order),
        "block means": {
            "raw": block_means(cosines(part), groups),
            "pooled-centred": block_means(centred_cosines(part), groups),
        },
        "heatmap": {
            "groups": [groups[i] for i in shown],
            "questions": of.questions[rows][shown].tolist(),
            "raw": cosines(part)[square].round(3).tolist(),
            "pooled-centred": centred_cosines(part)[square].round(3).tolist(),
        },
        "scatter": _scatter(part, groups),
    }


def _scatter(gram: Float[Array, "exchange exchange"], groups: list[str]) -> dict[str, Any]:
    """The first two principal components of the pooled-centred gradients, from their inner products."""
    values, vectors = np.linalg.eigh(pooled_centred(gram))
    top = np.clip(values[::-1][:2], 0, None)
    places = vectors[:, ::-1][:, :2] * np.sqrt(top)
    scale = np.abs(places).max() or 1.0
    share = top / max(float(np.clip(values, 0, None).sum()), 1e-300)
    return {
        "groups": groups,
        "first": (places[:, 0] / scale).round(4).tolist(),
        "second": (places[:, 1] / scale).round(4).tolist(),
        "share of variance": share.tolist(),
    }


def _centred(gram: Float[Array, "exchange exchange"], of: _Table) -> dict[str, Any]:
    """Two groups at a time, of equal size, centred on their common mean; a benign pair centred alike."""
    made: dict[str, Any] = {}
    controls: dict[Pair, Estimate] = {}
    for a, b in combinations(of.order, 2):
        rows = of.balanced((a, b), _POOLED)
        estimate = _cross(gram, rows, of.groups[rows], of)
        benign = _benign(gram, of, like=rows, but=(a, b))
        if benign is None:
            made[f"{a} and {b}"] = {"centred": estimate}
            continue
        names, others = benign
        if names not in controls:
            controls[names] = _cross(gram, others, of.domains[others], of)
        control = controls[names]
        made[f"{a} and {b}"] = {
            "centred": estimate.with_control(control, name=f"aligned answers of {names[0]} and {names[1]}"),
            "benign pair": control,
        }
    return made


def _cross(gram: Array, rows: Array, groups: Array, of: _Table) -> Estimate:
    found = summaries(
        gram[np.ix_(rows, rows)],
        groups.tolist(),
        of.questions[rows].tolist(),
        compare=centred_cosines,
        sampling=of.sampling,
    )
    return next(iter(found["cross"].values()))


def _benign(gram: Array, of: _Table, *, like: Array, but: Pair) -> tuple[tuple[str, str], Array] | None:
    """The two everyday domains whose aligned answers lie apart by most nearly as much, before centring."""
    everyday = {
        domain: np.flatnonzero((of.groups == "aligned") & (of.domains == domain))
        for domain in sorted(set(of.domains[of.groups == "aligned"]))
    }
    there = {domain: rows for domain, rows in everyday.items() if len(rows) > 1}
    if len(there) < 2:
        return None
    aim = _gap(gram, like[of.groups[like] == but[0]], like[of.groups[like] == but[1]])
    best = min(combinations(there, 2), key=lambda pair: abs(_gap(gram, there[pair[0]], there[pair[1]]) - aim))
    size = min(len(there[best[0]]), len(there[best[1]]))
    return best, np.concatenate([there[best[0]][:size], there[best[1]][:size]])


def _gap(gram: Array, one: Array, other: Array) -> float:
    """Mean raw cosine within two groups minus across them."""
    rows = np.concatenate([one, other])
    names = ["a"] * len(one) + ["b"] * len(other)
    means = block_means(cosines(gram[np.ix_(rows, rows)]), names)
    return (means["a"]["a"] + means["b"]["b"]) / 2 - means["a"]["b"]
