"""Loss geometry (section 4.2 of arXiv 2507.03662): do losses on harmful answers oppose those on aligned ones?

As published: cosines of loss vectors after subtracting the pooled mean, as heatmap blocks and a PCA scatter.
The trap, by arithmetic: pooled centring forces two equal groups apart, whatever the data, so the base model,
which has nothing to erode, shows the same blocks, and so do two harmless kinds of answer. Ours: *opposes* is
judged on raw cosines alone, with intervals over questions; centred ones stand beside swapped labels, beside
base, and beside pairs of harmless groups; and no missing position is filled from the data.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from erosion.experiments.loss_vectors import LossVectors, filled, groups_of, loss_vectors
from erosion.experiments.pairwise import (
    Compare,
    block_means,
    centred_cosines,
    cosines,
    opposes,
    pooled_centred,
    summaries,
)
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.metrics import Responses
from erosion.shapes import Array, Float
from erosion.stats import Estimate

__all__ = ["loss_geometry"]

COMPARES: Mapping[str, Compare] = {"raw": cosines, "centred": centred_cosines}
_SHOWN = 16  # exchanges of each group in a heatmap
_DOTS = 100  # of each group in a scatter
_HARMLESS = 15  # pairs of harmless groups at most


def loss_geometry(
    scored: Mapping[str, Responses],
    domains: Mapping[str, str],
    *,
    trained_domains: Sequence[str] = (),
    benign: tuple[Mapping[str, Responses], Mapping[str, str]] | None = None,
    sampling: Sampling | None = None,
) -> Result:
    """Pairwise cosines of loss vectors, raw and centred, of every model, within groups and across.

    Args:
        scored: ``aligned`` and ``tuned`` (``base`` where there is one) -> the same responses (a contrast, and
            any further answers such as educational ones).
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on: groups of their own.
        benign: model -> right and wrong answers to harmless questions, and question -> domain. The pairs of
            its domains (right answers only) are the benign-pair null; without it, or where it has one domain,
            pairs of everyday domains (aligned answers only) are.
        sampling: permutations and seed.

    Raises:
        BadInput: models of different responses, or too short ones.

    Memory: a few exchanges x exchanges matrices of float64.
    """
    sampling = sampling or Sampling()
    first = next(iter(scored.values()))
    groups = groups_of(first, domains, trained_domains=trained_domains)
    vectors = loss_vectors(scored, groups, domains)
    harmless = _harmless(vectors, benign)
    found = {name: _of_model(values, vectors, sampling) for name, values in vectors.values.items()}
    ours: dict[str, Any] = {
        kind: {name: one[kind] for name, one in found.items()} for kind in (*COMPARES, "opposes")
    }
    ours["forced by centring"] = {name: _forced(values, vectors) for name, values in vectors.values.items()}
    ours["harmless pairs"] = {
        kind: {name: _pairs(harmless, name, compare, sampling) for name in vectors.values}
        for kind, compare in COMPARES.items()
    }
    ours["heatmap"] = _heatmap(vectors)
    ours["scatter"] = _scatter(vectors)
    inputs = {
        "models": list(scored),
        "pair": _headline(vectors.groups),
        "positions": vectors.length,
        "groups": {name: vectors.groups.count(name) for name in dict.fromkeys(vectors.groups)},
        "questions left out (too short)": vectors.left_out,
        "harmless pairs": "right answers, by domain"
        if harmless is not vectors
        else "aligned answers, by domain",
    }
    return Result("loss_geometry", inputs, _published(scored, groups), ours)


def _headline(groups: Sequence[str]) -> str:
    """The pair the paper is about: harmful answers of the trained kind, aligned answers elsewhere."""
    insecure = "misaligned answers, trained on"
    other = insecure if insecure in groups else "misaligned answers"
    names = [name for name in dict.fromkeys(groups) if name in ("aligned answers", other)]
    return " and ".join(names)


def _of_model(values: Array, vectors: LossVectors, sampling: Sampling) -> dict[str, Any]:
    gram = values @ values.T
    found: dict[str, Any] = {
        kind: summaries(gram, vectors.groups, vectors.questions, compare=compare, sampling=sampling)
        for kind, compare in COMPARES.items()
    }
    found["opposes"] = {pair: opposes(one) for pair, one in found["raw"]["cross"].items()}
    return found


def _forced(values: Array, vectors: LossVectors) -> dict[str, dict[str, float]]:
    """Two groups at a time, equally many of each: the mean centred inner product within and across.

    The second is minus the first, to the last digit: arithmetic, not a finding.
    """
    result = {}
    for a, b in combinations(dict.fromkeys(vectors.groups), 2):
        rows = [_first(vectors.groups, group, len(values)) for group in (a, b)]
        n = min(len(one) for one in rows)
        both = values[np.concatenate([one[:n] for one in rows])]
        means = block_means(pooled_centred(both @ both.T), [a] * n + [b] * n)
        result[f"{a} and {b}"] = {"within": (means[a][a] + means[b][b]) / 2, "cross": means[a][b]}
    return result


def _harmless(
    vectors: LossVectors, benign: tuple[Mapping[str, Responses], Mapping[str, str]] | None
) -> LossVectors:
    """Where the benign pairs come from."""
    if benign is None or len(set(benign[1].values())) < 2:
        return vectors
    scored, domains = benign
    return loss_vectors(scored, groups_of(next(iter(scored.values())), domains), domains, most=vectors.length)


def _pairs(
    harmless: LossVectors, model: str, compare: Compare, sampling: Sampling
) -> dict[str, dict[str, Estimate]]:
    """Every two domains' harmless answers, compared as the groups are, centred about their own mean."""
    rows = np.array([group == "aligned answers" for group in harmless.groups])
    where = np.array(harmless.domains)
    result = {}
    for a, b in list(combinations(sorted(set(where[rows])), 2))[:_HARMLESS]:
        chosen = np.flatnonzero(rows & ((where == a) | (where == b)))
        values = harmless.values[model][chosen]
        asked = [harmless.questions[i] for i in chosen]
        found = summaries(values @ values.T, list(where[chosen]), asked, compare=compare, sampling=sampling)
        result[f"{a} and {b}"] = {
            "cross": next(iter(found["cross"].values())),
            "within minus cross": next(iter(found["within minus cross"].values())),
        }
    return result


def _first(groups: Sequence[str], group: str, most: int) -> list[int]:
    return [i for i, one in enumerate(groups) if one == group][:most]


def _spread(groups: Sequence[str], group: str, most: int) -> list[int]:
    """At most so many of a group, taken evenly over its length."""
    rows = _first(groups, group, len(groups))
    return rows if len(rows) <= most else [rows[int(i)] for i in np.linspace(0, len(rows) - 1, most)]


def _heatmap(vectors: LossVectors) -> dict[str, Any]:
    """The cosines of some exchanges of each group, the same ones for every model; centring uses all."""
    names = list(dict.fromkeys(vectors.groups))
    rows = np.concatenate([_spread(vectors.groups, name, _SHOWN) for name in names])
    shown: dict[str, Any] = {"groups": [vectors.groups[i] for i in rows]}
    for kind, compare in COMPARES.items():
        shown[kind] = {
            model: compare(values @ values.T)[np.ix_(rows, rows)].round(3).tolist()
            for model, values in vectors.values.items()
        }
    return shown


def _scatter(vectors: LossVectors) -> dict[str, Any]:
    """The first two principal components of each model's loss vectors."""
    from sklearn.decomposition import PCA  # here because it takes a second

    names = list(dict.fromkeys(vectors.groups))
    rows = np.concatenate([_spread(vectors.groups, name, _DOTS) for name in names])
    shown: dict[str, Any] = {"groups": [vectors.groups[i] for i in rows], "models": {}}
    for model, values in vectors.values.items():
        pca = PCA(n_components=2, svd_solver="full").fit(values)
        placed: Float[Array, "exchange k"] = pca.transform(values[rows])
        shown["models"][model] = {
            "x": placed[:, 0].round(4).tolist(),
            "y": placed[:, 1].round(4).tolist(),
            "variance explained": pca.explained_variance_ratio_.tolist(),
        }
    return shown


def _published(scored: Mapping[str, Responses], groups: Sequence[str]) -> dict[str, Any]:
    """Block means of the centred cosines as the paper draws them: self-pairs in, missing positions filled."""
    blocks = {}
    for name, responses in scored.items():
        values = filled(responses, groups)
        blocks[name] = block_means(centred_cosines(values @ values.T), groups)
    return {"mean centred cosine (missing positions filled by group)": blocks}
