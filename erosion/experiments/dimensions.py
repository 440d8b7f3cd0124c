"""Shared dimension (section 4.4 of arXiv 2507.03662): one direction per layer, fitted here and tested there.

The answer direction v_l points from misaligned to aligned answers in the residual stream of the aligned
model. It is fitted on one split of questions by four fits and scored on another, against swapped labels and
random directions; in folds of questions beside what knowing the question gives; on each domain from all
others; and as a subspace whose rank is chosen on questions left out. The score on its own training questions
stands beside, as published practice. What the published sharing of components shows, and does not, is in
:mod:`erosion.experiments.sharing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from erosion.activations import Activations
from erosion.directions import (
    Direction,
    Fit,
    check_unseen,
    difference_of_means,
    logistic_probe,
    principal_component,
    whitened,
)
from erosion.errors import BadDirection
from erosion.experiments.dimensions_domains import domain_cosines, leave_one_domain_out
from erosion.experiments.dimensions_folds import cross_validated, question_identity
from erosion.experiments.dimensions_rank import domain_angles, rank
from erosion.experiments.dimensions_scores import (
    Pairs,
    auc_band,
    auc_by_question,
    gap_band,
    pairs_of,
    random_aucs,
)
from erosion.experiments.jackknife import jackknife_band, left_out_groups
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.progress import tracked
from erosion.shapes import Array
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["FITS", "Selection", "dimensions", "select", "separations"]

FITS: Mapping[str, Fit] = {
    "difference of means": difference_of_means,
    "principal component": principal_component,
    "whitened": whitened,
    "logistic probe": logistic_probe,
}
_MAIN = "difference of means"
_GROUPS = 10

Fitted = dict[str, dict[Site, Direction]]


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


def separations(directions: Mapping[Site, Direction], *, on: Activations) -> dict[Site, float]:
    """Site -> how far the direction separates the sides: the paired gap divided by its standard deviation.

    Raises:
        BadDirection: a direction has seen one of the questions.
    """
    table, pairs = {}, pairs_of(on)
    for site, direction in directions.items():
        check_unseen(direction, on.questions)
        high, low = (torch.from_numpy(side[site]) for side in (pairs.high, pairs.low))
        gaps = (direction.project(high) - direction.project(low)).numpy()
        table[site] = float(gaps.mean() / max(gaps.std(ddof=1), 1e-12))
    return table


def select(directions: Mapping[Site, Direction], *, on: Activations) -> Selection:
    """Choose among layers on questions that were neither fitted nor will be reported on.

    Raises:
        BadDirection: a direction has seen one of the questions, or none separates the sides.
    """
    table = separations(directions, on=on)
    best = max(table, key=lambda site: table[site])
    if table[best] <= 0:
        raise BadDirection(
            f"No layer separates the sides on the select split (best {table[best]:.2f} at {best})."
        )
    return Selection(directions[best], table)


def dimensions(
    acts: Activations,
    *,
    fit: Sequence[str],
    held_out: Sequence[str],
    sampling: Sampling | None = None,
    domains: Mapping[str, str] | None = None,
) -> tuple[Result, Fitted]:
    """Directions by every fit at every layer, with their held-out scores, across domains, and their rank.

    Args:
        acts: the aligned model's activations on the whole contrast.
        fit: the questions to fit on.
        held_out: the questions to score on.
        sampling: draws and seed of bands and nulls.
        domains: question -> domain, of every question that was read; without it no domain is set apart.

    Returns:
        The result, and fit name -> site -> direction (passports filled in, held-out AUC included).

    Raises:
        BadDirection: a question is in both parts.
        BadContrast: questions without both answers.

    Memory: a float64 copy of the activations. Time: each fit is made 16 times at each layer (once, without
    each of 10 groups of questions, in 5 folds). Difference of means, component and probe cost
    O(questions x d_model) to O(questions^2 x d_model) a fit, whitening the same while answers are fewer than
    dimensions and O(d_model^3) beyond; nulls refit nothing.
    """
    sampling = sampling or Sampling()
    _refuse_shared(fit, held_out)
    pairs = pairs_of(acts)
    training, test = pairs.of(fit), pairs.of(held_out)
    fitted, unfitted = _fitted(training, acts)
    curves, published = {}, {}
    random = random_aucs(training, test, sampling=sampling)
    for name, directions in fitted.items():
        band = auc_band(directions, test, sampling=sampling)
        curves[name] = {
            "held-out AUC": band,
            "held-out gap": gap_band(directions, test, sampling=sampling),
        }
        published[name] = {"AUC on the questions fitted on": _seen_aucs(directions, training)}
        fitted[name] = {
            site: v.stamped(held_out={"metric": "AUC", **band.at(site.layer).to_json()})
            for site, v in directions.items()
        }
    main = fitted[_MAIN]
    ours: dict[str, object] = {
        "by fit": curves,
        "AUC of random directions": random,
        "cosine with difference of means": {
            name: [v.cosine(one[site]) if site in one else float("nan") for site, v in main.items()]
            for name, one in fitted.items()
            if name != _MAIN
        },
        "cosines between fits": _cosines(fitted, training),
        "cross-validated": _folds(acts, pairs.of([*fit, *held_out]), list(fitted), sampling),
        "rank": rank(training, test, sampling=sampling),
        "fitted gap / residual norm": [
            v.scale / (v.passport.residual_norm or float("nan")) for v in main.values()
        ],
    }
    if unfitted:
        ours["not fitted"] = unfitted
    if domains is not None:
        ours["domains"] = _across(pairs, (fit, held_out), domains, ours["rank"]["k"], sampling)  # type: ignore[index]
    inputs = {
        "layers": [site.layer for site in acts.sites],
        "fit questions": len(set(fit)),
        "held-out questions": len(set(held_out)),
        "span": acts.span,
        "domains": sorted(set(domains.values())) if domains else [],
    }
    return Result("dimensions", inputs, published, ours), fitted


def _refuse_shared(fit: Sequence[str], held_out: Sequence[str]) -> None:
    shared = sorted(set(fit) & set(held_out))
    if shared:
        raise BadDirection(
            f"{len(shared)} question(s) are both fitted and measured on (first {shared[0]!r}): "
            f"give two parts of a split."
        )


def _fitted(training: Pairs, acts: Activations) -> tuple[Fitted, dict[str, dict[str, str]]]:
    """Every fit at every layer, passports filled in; and in words, where a fit could not be made.

    The difference of means must be there everywhere: without it there is nothing to look for.
    """
    facts = {**acts.facts, "span": acts.span, "questions": training.questions}
    fitted: Fitted = {}
    unfitted: dict[str, dict[str, str]] = {}
    for name, one in FITS.items():
        for site in training.sites:
            try:
                v = _one(one, training, site)
            except BadDirection as error:
                if name == _MAIN:
                    raise
                unfitted.setdefault(name, {})[str(site.layer)] = str(error)
            else:
                fitted.setdefault(name, {})[site] = v.stamped(**facts)
    return fitted, unfitted


def _one(fit: Fit, pairs: Pairs, site: Site) -> Direction:
    return fit(torch.from_numpy(pairs.high[site]), torch.from_numpy(pairs.low[site]), at=site)


def _seen_aucs(directions: Mapping[Site, Direction], training: Pairs) -> list[float]:
    """AUC on the very questions that were fitted on: published practice, nowhere else."""
    positive, asked = np.repeat([True, False], len(training)), training.questions * 2
    scores = [v.project(torch.from_numpy(training.rows(site))).numpy() for site, v in directions.items()]
    return [float(auc_by_question(one, positive, asked)[1].mean()) for one in scores]


def _cosines(fitted: Fitted, training: Pairs) -> dict[str, Band]:
    """Pairs of fits -> their cosine by layer, intervals from refitting without each group of questions."""
    vectors = [_vectors(fitted)]
    for keep in tracked(list(left_out_groups(training.questions, _GROUPS)), name="refitting directions"):
        rest = training.at(np.flatnonzero(keep))
        again = {
            name: {site: _one(FITS[name], rest, site) for site in found} for name, found in fitted.items()
        }
        vectors.append(_vectors(again))
    bands = {}
    for one, other in combinations(fitted, 2):
        sites = [site for site in fitted[one] if site in fitted[other]]
        if sites:
            curves = np.array([[float(v[one][s] @ v[other][s]) for s in sites] for v in vectors])
            bands[f"{one} / {other}"] = jackknife_band(
                curves[0],
                curves[1:],
                unit="cosine",
                labels=[site.layer for site in sites],
                n_questions=len(training),
            )
    return bands


def _vectors(fitted: Fitted) -> dict[str, dict[Site, Array]]:
    return {
        name: {site: v.vector.double().numpy() for site, v in one.items()} for name, one in fitted.items()
    }


def _folds(acts: Activations, pairs: Pairs, names: Sequence[str], sampling: Sampling) -> dict[str, object]:
    """Each fit's AUC over folds of questions, beside what question identity alone would give."""
    both = replace(
        acts,
        values={site: torch.from_numpy(pairs.rows(site)) for site in pairs.sites},
        questions=pairs.questions * 2,
        labels=("aligned",) * len(pairs) + ("misaligned",) * len(pairs),
    )
    found: dict[str, object] = {}
    for name in tracked(names, name="cross-validating directions"):
        try:
            found[name] = cross_validated(both, FITS[name], sampling=sampling)
        except BadDirection as error:
            found[name] = {"why": str(error)}
    found["question identity"] = question_identity(both.questions, both.labels, seed=sampling.seed)
    return found


def _across(
    pairs: Pairs,
    parts: tuple[Sequence[str], Sequence[str]],
    domains: Mapping[str, str],
    k: Mapping[str, int],
    sampling: Sampling,
) -> dict[str, object]:
    """Leave-one-domain-out from the fitted and held-out questions, and domain against domain on all."""
    fit, held_out = parts
    left_out = leave_one_domain_out(
        pairs.of([*fit, *held_out]), pairs, domains, fit=FITS[_MAIN], sampling=sampling
    )
    return {
        "left out": left_out,
        "cosines": domain_cosines(pairs, domains, sampling=sampling),
        "angles": domain_angles(pairs, domains, k, sampling=sampling),
    }
