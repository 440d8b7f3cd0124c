"""|V_1 V_2^T|: how alike the first components of data sets are, as published, and beyond benign data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from erosion.directions import right_singular
from erosion.experiments.jackknife import AS_IT_IS, COSINE, Scale, jackknife_band
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["FIRST", "Components", "Sets", "beyond_benign", "components_of", "pairwise_bands"]

FIRST = 3
_GROUPS = 10

Sets = Mapping[str, tuple[Mapping[Site, Float[Array, "exchange d_model"]], Sequence[str]]]
"""Data set -> its rows at each site, and the question behind each row."""


@dataclass(frozen=True, eq=False)
class Components:
    """|cosine| of first components for every pair of data sets, whole and without each group of questions."""

    pairs: tuple[tuple[str, str], ...]
    whole: Float[Array, "layer pair"]
    without: Float[Array, "group layer pair"]
    matrices: Mapping[str, Mapping[str, list[list[float]]]]


def components_of(sets: Sets, sites: Sequence[Site]) -> Components:
    """The first right singular vectors of each column-centred data set, crossed with those of every other.

    Costs data sets x layers x 11 thin singular value decompositions.
    """
    groups, pairs = _groups(sets), list(combinations(sets, 2))
    whole = np.empty((len(sites), len(pairs)))
    without = np.empty((_GROUPS, len(sites), len(pairs)))
    matrices: dict[str, dict[str, list[list[float]]]] = {}
    for layer, site in enumerate(sites):
        full = {name: _first(rows[site]) for name, (rows, _) in sets.items()}
        crossed = [np.abs(full[one] @ full[other].T) for one, other in pairs]
        matrices[str(site.layer)] = {
            f"{one} / {other}": matrix.tolist() for (one, other), matrix in zip(pairs, crossed, strict=True)
        }
        whole[layer] = [matrix[0, 0] for matrix in crossed]
        for g in range(_GROUPS):
            left = {name: _first(rows[site][groups[name] != g])[0] for name, (rows, _) in sets.items()}
            without[g, layer] = [abs(left[one] @ left[other]) for one, other in pairs]
    return Components(tuple(pairs), whole, without, matrices)


def _first(rows: Float[Array, "exchange d_model"]) -> Float[Array, "k d_model"]:
    return right_singular(torch.from_numpy(rows - rows.mean(axis=0)))[1][:FIRST].numpy()


def _groups(sets: Sets) -> dict[str, Array]:
    """Each row's group: a question is in one group in every data set."""
    ids = list(dict.fromkeys(q for _, questions in sets.values() for q in sorted(questions)))
    place = {q: i % _GROUPS for i, q in enumerate(ids)}
    return {name: np.array([place[q] for q in questions]) for name, (_, questions) in sets.items()}


def pairwise_bands(found: Components, sets: Sets, labels: Sequence[int]) -> dict[str, Band]:
    """``one / other`` -> |cosine| of the first components by layer."""
    return {
        f"{one} / {other}": _band(
            found.whole[:, i], found.without[:, :, i], labels, _smaller(sets, one, other), unit="|cosine|"
        )
        for i, (one, other) in enumerate(found.pairs)
    }


def beyond_benign(
    found: Components, sets: Sets, labels: Sequence[int], *, harmful: tuple[str, str], benign: Sequence[str]
) -> dict[str, object]:
    """The published measure against its control: what the harmful pair shares beyond benign data.

    Returns:
        ``harmful pair``, ``harmful with benign`` (mean over pairs of one of both and a benign set) and their
        ``difference``; without benign data a ``why``.
    """
    if not benign:
        why = "no benign data was read for these models: give neutral texts or a competence contrast"
        return {"harmful with benign": {"why": why}, "difference": {"why": why}}
    harm = next(i for i, pair in enumerate(found.pairs) if {*pair} == {*harmful})
    mixed = [i for i, pair in enumerate(found.pairs) if {*pair} & {*harmful} and {*pair} & {*benign}]
    whole, without = found.whole[:, harm], found.without[:, :, harm]
    control, left = found.whole[:, mixed].mean(axis=1), found.without[:, :, mixed].mean(axis=2)
    n = min(len(asked) for _, asked in sets.values())
    return {
        "harmful pair": _band(whole, without, labels, n, unit="|cosine|"),
        "harmful with benign": _band(control, left, labels, n, unit="|cosine|"),
        "difference": _band(
            whole - control, without - left, labels, n, unit="difference of |cosines|", scale=AS_IT_IS
        ),
    }


def _band(
    whole: Array, without: Array, labels: Sequence[int], n: int, *, unit: str, scale: Scale = COSINE
) -> Band:
    band = jackknife_band(whole, without, unit=unit, labels=labels, n_questions=n, scale=scale)
    return band if scale is AS_IT_IS else replace(band, low=np.clip(band.low, 0, 1))


def _smaller(sets: Sets, one: str, other: str) -> int:
    return min(len(set(sets[name][1])) for name in (one, other))
