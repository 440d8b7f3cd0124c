"""Is the first component shared with harmless data just as much? The published measure and its control.

As published (section 4.4 of arXiv 2507.03662): for each data set R = H_aligned - H_base at the last token,
columns centred, SVD, and |V_1 V_2^T| of the first few right singular vectors. That two harmful sets share a
component (the headline 0.90 of insecure code and toxic answers) is read as one shared dimension. But any two
data sets share it, benign ones too: what alignment did to *every* text is in all of them.

Ours: the direction between two answers to the same question, in one model, where what a text has in common
with every other cancels; its cosine between code and everyday answers is held against its cosine with the
benign contrast (right against wrong answers), and only the difference, with its interval, is called specific.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from erosion.activations import Activations
from erosion.errors import BadContrast
from erosion.experiments.dimensions_domains import MeanDifferences
from erosion.experiments.dimensions_rank import model_angles
from erosion.experiments.dimensions_scores import Pairs, pairs_of
from erosion.experiments.jackknife import AS_IT_IS, jackknife_band
from erosion.experiments.results import Result
from erosion.experiments.sharing_components import (
    FIRST,
    Sets,
    beyond_benign,
    components_of,
    pairwise_bands,
)
from erosion.linalg import in_double
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["sharing"]

_NO_BASE = "aligned - base needs a base model, and there is none: tuned - aligned is used instead"


def sharing(
    last: Mapping[str, Activations],
    *,
    domains: Mapping[str, str],
    trained_domains: Sequence[str] = (),
    benign: Mapping[str, Mapping[str, Activations]] | None = None,
) -> Result:
    """Sharing of components between data sets as published, and of answer directions beyond benign ones.

    Args:
        last: ``aligned``, ``tuned`` and (where there is one) ``base`` -> activations of the contrast at the
            last response token (``read(..., span="last_response")``).
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on (code); all others are everyday.
        benign: name -> model -> activations at the last token of harmless data: neutral texts, or a contrast
            of two labels (right and wrong answers), which then has an answer direction too.

    Returns:
        ``published``: ``difference`` ("aligned - base", or "tuned - aligned" without base, and ``why``),
        ``first components``: pair of data sets -> |cosine| by layer; ``matrices``: layer -> pair -> |V V^T|.
        ``ours``: ``harmful pair``, ``harmful with benign`` and their ``difference`` for the published
        measure; ``mean shift``: cosines of the uncentred mean differences between data sets;
        ``answer directions``: ``cosine``, ``benign ceiling`` and ``difference`` in each model, where
        there is a benign contrast, and ``without noise``;
        ``subspaces between models``: overlap and principal angles of the answers' subspaces. What can not
        be had carries its ``why``.

    Raises:
        BadContrast: no aligned model, or models that were not read on the same exchanges.

    Memory: two float64 copies of one site's activations. Time: data sets x layers x 11 thin singular value
    decompositions, O(min(exchanges, d_model) x exchanges x d_model) each.
    """
    models = {name: last[name] for name in ("base", "aligned", "tuned") if name in last}
    benign = dict(benign or {})
    for group in (models, *benign.values()):
        _check(group)
    one, other = ("aligned", "base") if "base" in models else ("tuned", "aligned")
    if other not in models or one not in models:
        raise BadContrast("Sharing needs two models and aligned among them: read aligned and base, or tuned.")
    sets = _data_sets(models, (one, other), domains, trained_domains, benign)
    harmful, harmless = _roles(sets, benign)
    sites = models["aligned"].sites
    labels = [site.layer for site in sites]
    found = components_of(sets, sites)
    published: dict[str, object] = {
        "difference": f"{one} - {other}",
        "data sets": {name: len(questions) for name, (_, questions) in sets.items()},
        "first components": pairwise_bands(found, sets, labels),
        "matrices": found.matrices,
    }
    if "base" not in models:
        published["why"] = _NO_BASE
    ours = {
        **beyond_benign(found, sets, labels, harmful=harmful, benign=harmless),
        "mean shift": _mean_shift(sets, sites),
        "answer directions": _answer_directions(models, domains, trained_domains, benign),
        "subspaces between models": model_angles({name: pairs_of(one) for name, one in models.items()}),
    }
    inputs = {
        "layers": labels,
        "span": models["aligned"].span,
        "models": list(models),
        "trained domains": list(trained_domains),
        "benign": list(benign),
        "harmful pair": list(harmful),
    }
    return Result("sharing", inputs, published, ours)


def _check(models: Mapping[str, Activations]) -> None:
    reads = list(models.values())
    for other in reads[1:]:
        if (other.questions, other.labels, other.sites) != (
            reads[0].questions,
            reads[0].labels,
            reads[0].sites,
        ):
            raise BadContrast("The models were not read on the same exchanges and sites: read them alike.")


def _difference(acts: Mapping[str, Activations], models: tuple[str, str], rows: Sequence[int]) -> dict:
    index = list(rows)
    first, second = (acts[name] for name in models)
    return {
        site: (in_double(first[site][index]) - in_double(second[site][index])).cpu().numpy()
        for site in first.sites
    }


def _data_sets(
    models: Mapping[str, Activations],
    which: tuple[str, str],
    domains: Mapping[str, str],
    trained: Sequence[str],
    benign: Mapping[str, Mapping[str, Activations]],
) -> Sets:
    """Data set -> difference between the models' activations, and the questions behind its rows."""
    acts = models["aligned"]
    rows: dict[str, list[int]] = {}
    for i, (question, label) in enumerate(zip(acts.questions, acts.labels, strict=True)):
        place = "trained" if domains[question] in trained else "everyday"
        rows.setdefault(f"{place}, {label}", []).append(i)
    found = {
        name: (_difference(models, which, there), [acts.questions[i] for i in there])
        for name, there in sorted(rows.items(), key=lambda item: _order(item[0]))
    }
    for name, read in benign.items():
        if set(which) <= read.keys():
            whole = read[which[0]]
            for label in dict.fromkeys(whole.labels):
                there = [i for i, one in enumerate(whole.labels) if one == label]
                title = name if len(set(whole.labels)) == 1 else f"{name}, {label}"
                found[title] = (_difference(read, which, there), [whole.questions[i] for i in there])
    return {name: one for name, one in found.items() if len(one[1]) >= 2 * FIRST}


def _order(name: str) -> tuple[bool, bool, str]:
    place, label = name.split(", ", 1)
    return label != "misaligned", place != "trained", name


def _roles(sets: Sets, benign: Mapping[str, object]) -> tuple[tuple[str, str], list[str]]:
    """The pair of harmful sets whose sharing is the claim, and the benign sets that it is held against."""
    names = list(sets)
    harmful = [name for name in names if name.endswith(", misaligned") and not _of(name, benign)]
    harmless = [name for name in names if _of(name, benign)]
    if len(harmful) < 2:  # nothing was trained on: misaligned answers of one kind alone
        harmful = [*harmful, *[name for name in names if name not in harmful + harmless]][:2]
    return (harmful[0], harmful[1]), harmless


def _of(name: str, benign: Mapping[str, object]) -> bool:
    return any(name == one or name.startswith(f"{one}, ") for one in benign)


def _mean_shift(sets: Sets, sites: Sequence[Site]) -> dict[str, Band]:
    """Cosines between data sets' mean changes: how much of the change is the same on any text."""
    curves, left = [], []
    upper = np.triu_indices(len(sets), 1)
    for site in sites:
        means = MeanDifferences.of({name: (rows[site], asked) for name, (rows, asked) in sets.items()})
        curves.append(means.cosines()[0][upper])
        left.append(means.each_left_out(lambda c, _: c[upper]))
    whole, without = np.array(curves), np.stack(left, axis=1)
    labels = [site.layer for site in sites]
    return {
        f"{one} / {other}": jackknife_band(
            whole[:, i],
            without[:, :, i],
            unit="cosine",
            labels=labels,
            n_questions=min(len(sets[one][1]), len(sets[other][1])),
        )
        for i, (one, other) in enumerate(combinations(sets, 2))
    }


def _answer_directions(
    models: Mapping[str, Activations],
    domains: Mapping[str, str],
    trained: Sequence[str],
    benign: Mapping[str, Mapping[str, Activations]],
) -> dict[str, object]:
    """In each model: the answer direction's cosine between two kinds of harm, beyond benign answers."""
    contrasts = [name for name, one in benign.items() if all(len(set(a.labels)) == 2 for a in one.values())]
    found: dict[str, object] = {}
    for model in models:
        pairs = pairs_of(models[model])
        one, other = _two_kinds(pairs, domains, trained)
        others = {name: pairs_of(benign[name][model]) for name in contrasts if model in benign[name]}
        if not others or min(len(one), len(other)) < 4:
            missing = "a benign contrast" if not others else "four questions of two kinds"
            found[model] = {"why": f"needs {missing}: read right and wrong answers to harmless questions"}
        else:
            found[model] = _specific(one, other, others)
    return found


def _two_kinds(pairs: Pairs, domains: Mapping[str, str], trained: Sequence[str]) -> tuple[Pairs, Pairs]:
    """Trained domains and the rest; where nothing was trained on (or all), the domains in turn."""
    kinds = sorted({domains[q] for q in pairs.questions})
    one = {d for d in kinds if d in trained}
    if not one or len(one) == len(kinds):
        one = set(kinds[::2])
    inside = [i for i, q in enumerate(pairs.questions) if domains[q] in one]
    outside = [i for i, q in enumerate(pairs.questions) if domains[q] not in one]
    return pairs.at(inside), pairs.at(outside)


def _specific(one: Pairs, other: Pairs, benign: Mapping[str, Pairs]) -> dict[str, object]:
    """cos(one, other), the mean cosine of both with the benign contrasts, and their difference, by layer."""
    parts = {
        "cosine": lambda c, n: c[0, 1],
        "benign ceiling": lambda c, n: np.abs(c[:2, 2:]).mean(),
        "difference": lambda c, n: c[0, 1] - np.abs(c[:2, 2:]).mean(),
        "without noise": lambda c, n: c[0, 1] / max(n[0, 1], 1e-9),
    }
    curves: dict[str, list] = {name: [] for name in parts}
    left: dict[str, list] = {name: [] for name in parts}
    for site in one.sites:
        sets = {"one": one, "other": other, **benign}
        means = MeanDifferences.of({name: (p.differences(site), p.questions) for name, p in sets.items()})
        for name, of in parts.items():
            curves[name].append(float(of(*means.cosines())))
            left[name].append(means.each_left_out(of))
    labels, n = [site.layer for site in one.sites], min(len(one), len(other))
    return {
        name: jackknife_band(
            np.array(curves[name]),
            np.stack(left[name], axis=1),
            unit="cosine",
            labels=labels,
            n_questions=n,
            scale=AS_IT_IS,
        )
        for name in parts
    }
