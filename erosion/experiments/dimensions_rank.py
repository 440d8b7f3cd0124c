"""How many directions the contrast fills: a rank chosen on questions left out, and what it explains.

Variance explained grows with every direction added, on held-out questions too, so it can choose no rank. The
held-out log-likelihood of the Gaussian that the first k directions imply does (probabilistic PCA, Tipping and
Bishop 1999, about zero rather than the mean, which is the signal): it falls when a direction is noise.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from erosion.directions import Subspace, paired_subspace, random_subspace, right_singular
from erosion.experiments.dimensions_domains import of_domains
from erosion.experiments.dimensions_scores import Pairs
from erosion.experiments.jackknife import jackknife_band, left_out_groups
from erosion.experiments.sampling import Sampling
from erosion.linalg import in_double, principal_angles
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band, random_band, ratio_band

__all__ = [
    "chosen_rank",
    "domain_angles",
    "held_out_likelihood",
    "model_angles",
    "overlap",
    "rank",
    "variance_by_rank",
]

MOST = 16  # directions that are tried
_DRAWS = 39
_GROUPS = 10
_FEW = 5  # directions in a subspace of one domain, at most


def rank(training: Pairs, test: Pairs, *, sampling: Sampling) -> dict[str, object]:
    """The rank at each layer, chosen inside the fit questions, and variance explained on the test questions.

    Returns:
        ``k``: layer -> the rank chosen; ``held-out log-likelihood``: layer -> values for k = 1, 2, …;
        ``variance explained``: layer -> a band over k, its control random subspaces of the same k.

    Raises:
        BadDirection: a test question is one that was fitted on.

    Costs six singular value decompositions and 39 random subspaces at each layer.
    """
    chosen: dict[str, int] = {}
    likelihoods: dict[str, list[float]] = {}
    explained: dict[str, Band] = {}
    for site in training.sites:
        values = held_out_likelihood(training, site)
        likelihoods[str(site.layer)] = values.mean(axis=0).tolist()
        chosen[str(site.layer)] = chosen_rank(values)
        explained[str(site.layer)] = variance_by_rank(training, test, at=site, sampling=sampling)
    return {"k": chosen, "held-out log-likelihood": likelihoods, "variance explained": explained}


def held_out_likelihood(pairs: Pairs, site: Site, *, folds: int = 5) -> Float[Array, "question k"]:
    """Each question's log-likelihood per dimension under rank k = 1, 2, … fitted on the other folds.

    With l_i the mean squares along the first k directions and s the mean of the rest, a difference x has
    -1/2 [sum_i (ln l_i + x_i^2 / l_i) + (d - k) ln s + |x_rest|^2 / s], up to a constant.
    """
    rows = pairs.differences(site)
    width, most = rows.shape[1], min(MOST, len(rows) // 2, rows.shape[1] - 1)
    found = np.empty((len(rows), most))
    for train, test in GroupKFold(min(folds, len(rows))).split(rows, groups=np.asarray(pairs.questions)):
        strengths, basis = right_singular(torch.from_numpy(rows[train]))
        squares = (strengths**2 / len(train)).numpy()
        total, floor = squares.sum(), 1e-9 * squares.sum() / width
        along = ((rows[test] @ basis.numpy()[:most].T) ** 2).cumsum(axis=1)
        whole = (rows[test] ** 2).sum(axis=1)
        ratio = np.zeros(len(test))
        logs = 0.0
        for k in range(1, most + 1):
            one = max(squares[k - 1], floor)
            rest = max((total - squares[:k].sum()) / (width - k), floor)
            ratio = ratio + (along[:, k - 1] - (along[:, k - 2] if k > 1 else 0.0)) / one
            logs += float(np.log(one))
            beyond = (whole - along[:, k - 1]) / rest
            found[test, k - 1] = -0.5 * (logs + ratio + (width - k) * np.log(rest) + beyond) / width
    return found


def chosen_rank(values: Float[Array, "question k"]) -> int:
    """The smallest k whose likelihood is within one standard error (of the paired difference) of the best."""
    best = int(values.mean(axis=0).argmax())
    behind = values[:, [best]] - values
    error = behind.std(axis=0, ddof=1) / np.sqrt(len(values))
    return 1 + int(np.argmax(behind.mean(axis=0) <= error))


def variance_by_rank(training: Pairs, test: Pairs, *, at: Site, sampling: Sampling) -> Band:
    """The share of held-out differences' squared length in the first k directions, for k = 1, 2, …

    Its control is a random subspace of the same k of the covariance within the sides.

    Raises:
        BadDirection: a test question is one that was fitted on.
    """
    strengths, _ = right_singular(torch.from_numpy(training.differences(at)))
    most = min(MOST, int((strengths > 1e-7 * strengths[0]).sum()))
    high, low = (torch.from_numpy(side[at]) for side in (training.high, training.low))
    space = paired_subspace(high, low, at=at, k=most, questions=training.questions)
    space.check_unseen(test.questions)
    rows = torch.from_numpy(test.differences(at))
    inside = space.energy(rows).cumsum(dim=1).numpy()
    whole = np.repeat(rows.square().sum(dim=1).numpy()[:, None], most, axis=1)
    labels = list(range(1, most + 1))
    band = ratio_band(
        inside,
        whole,
        test.questions,
        unit="share of squared length",
        labels=labels,
        resamples=sampling.resamples,
        seed=sampling.seed,
    )
    drawn = np.stack(
        [
            random.energy(rows).sum(dim=0).cumsum(dim=0).numpy() / whole[:, 0].sum()
            for random in _random_spaces(training, at, most, sampling.seed)
        ]
    )
    chance = random_band(drawn, unit=band.unit, n_questions=len(test), labels=labels)
    method = f"{_DRAWS} random subspaces of the covariance within the sides"
    return band.with_control(
        Band(
            chance.values,
            np.clip(chance.low, 0, 1),
            np.clip(chance.high, 0, 1),
            chance.labels,
            band.unit,
            chance.n_questions,
            method,
        )
    )


def _random_spaces(pairs: Pairs, at: Site, k: int, seed: int) -> list[Subspace]:
    cloud = torch.from_numpy(pairs.within(at))
    white = np.random.default_rng((seed, 5)).standard_normal((_DRAWS, k, len(cloud)))
    return [random_subspace(cloud, at=at, k=k, white=torch.from_numpy(one)) for one in white]


def overlap(left: Subspace, right: Subspace) -> float:
    """The mean squared cosine of the principal angles: 1 = the same subspace, 0 = at right angles.

    For orthonormal rows that is ||A B^T||_F^2 over the smaller number of rows.

    >>> overlap(Subspace(torch.eye(3)[:2], Site(0)), Subspace(torch.eye(3)[1:2], Site(0)))
    1.0
    """
    crossed = in_double(left.basis) @ in_double(right.basis).T
    return float(crossed.square().sum()) / min(left.k, right.k)


def _degrees(left: Subspace, right: Subspace) -> list[float]:
    return np.degrees(principal_angles(left.basis, right.basis).numpy()).tolist()


def domain_angles(
    pairs: Pairs, domains: Mapping[str, str], k: Mapping[str, int], *, sampling: Sampling
) -> dict[str, object]:
    """How far the domains' subspaces share directions: angles, overlap, what chance and noise allow.

    Args:
        pairs: questions of all domains.
        domains: question -> domain.
        k: layer -> the rank of the subspaces (at most 5, and a quarter of the smallest domain).
        sampling: the seed of the random subspaces.

    Returns:
        ``angles``: layer -> pair -> principal angles in degrees; ``mean overlap`` by layer (control: random
        subspaces of the covariance within the sides); ``overlap of halves``: two halves of one domain,
        which noise alone keeps below 1. Empty for fewer than two domains.
    """
    sets = of_domains(pairs, domains)
    if len(sets) < 2:
        return {}
    labels, few = [site.layer for site in pairs.sites], min(len(part) for part in sets.values()) // 4
    angles: dict[str, dict[str, list[float]]] = {}
    whole, without, halves, chance = [], [], [], []
    for site in pairs.sites:
        size = max(1, min(k[str(site.layer)], _FEW, few))
        spaces = {name: _space(part, site, size) for name, part in sets.items()}
        angles[str(site.layer)] = {
            f"{one} / {other}": _degrees(spaces[one], spaces[other]) for one, other in combinations(sets, 2)
        }
        whole.append(_mean_overlap(list(spaces.values())))
        without.append(
            [
                _mean_overlap([_space(part.at(np.flatnonzero(keep)), site, size) for part, keep in one])
                for one in _kept(sets)
            ]
        )
        halves.append(np.mean([_halves(part, site, size) for part in sets.values()]))
        drawn = _random_spaces(pairs, site, size, sampling.seed)
        chance.append([overlap(drawn[i], drawn[i - 1]) for i in range(_DRAWS)])
    band = jackknife_band(
        np.array(whole), np.array(without).T, unit="overlap", labels=labels, n_questions=len(pairs)
    )
    control = random_band(np.array(chance).T, unit="overlap", n_questions=len(pairs), labels=labels)
    method = f"{_DRAWS} pairs of random subspaces of the covariance within the sides"
    control = Band(control.values, control.low, control.high, control.labels, "overlap", len(pairs), method)
    return {
        "angles": angles,
        "mean overlap": band.with_control(control),
        "overlap of halves": [float(one) for one in halves],
    }


def model_angles(models: Mapping[str, Pairs], *, k: int = 3, seed: int = 0) -> dict[str, object]:
    """How far the same contrast fills the same subspace in two models: overlap and principal angles by layer.

    Args:
        models: model -> pairs on the same questions.
        k: the rank of the subspaces.
        seed: of the random subspaces, whose pairs are the control (the first model's covariance against
            the second's, drawn apart).

    Returns:
        ``one / other`` -> ``overlap`` by layer and ``angles``: layer -> degrees. Both models were read on
        the same questions, whose accidents they share: an overlap is that of this contrast, not of all
        questions.
    """
    found: dict[str, object] = {}
    for one, other in combinations(models, 2):
        left, right = models[one], models[other]
        whole, without, chance, degrees = [], [], [], {}
        for site in left.sites:
            spaces = _space(left, site, k), _space(right, site, k)
            whole.append(overlap(*spaces))
            degrees[str(site.layer)] = _degrees(*spaces)
            kept = [np.flatnonzero(keep) for keep in left_out_groups(left.questions, _GROUPS)]
            without.append(
                [overlap(_space(left.at(rows), site, k), _space(right.at(rows), site, k)) for rows in kept]
            )
            drawn = _random_spaces(left, site, k, seed), _random_spaces(right, site, k, seed + 1)
            chance.append([overlap(a, b) for a, b in zip(*drawn, strict=True)])
        labels, n = [site.layer for site in left.sites], len(left)
        band = jackknife_band(
            np.array(whole), np.array(without).T, unit="overlap", labels=labels, n_questions=n
        )
        control = random_band(np.array(chance).T, unit="overlap", n_questions=n, labels=labels)
        found[f"{one} / {other}"] = {"overlap": band.with_control(control), "angles": degrees}
    return found


def _space(pairs: Pairs, site: Site, k: int) -> Subspace:
    high, low = (torch.from_numpy(side[site]) for side in (pairs.high, pairs.low))
    return paired_subspace(high, low, at=site, k=k, questions=pairs.questions)


def _mean_overlap(spaces: list[Subspace]) -> float:
    return float(np.mean([overlap(one, other) for one, other in combinations(spaces, 2)]))


def _kept(sets: Mapping[str, Pairs]) -> list[list[tuple[Pairs, Array]]]:
    """For each group of questions left out, what remains of every domain."""
    each = [list(left_out_groups(part.questions, _GROUPS)) for part in sets.values()]
    groups = min(len(one) for one in each)
    return [
        [(part, keeps[g]) for part, keeps in zip(sets.values(), each, strict=True)] for g in range(groups)
    ]


def _halves(pairs: Pairs, site: Site, k: int) -> float:
    every = np.arange(len(pairs))
    return overlap(_space(pairs.at(every[::2]), site, k), _space(pairs.at(every[1::2]), site, k))
