"""Is it one direction for all domains? Fitted on all but one and tested there; and domain against domain.

Two noisy directions never have a cosine of 1, even if both estimate the same one. What they could reach is
the *noise ceiling*: with m a domain's mean difference over n questions and S the differences' covariance,
|m|^2 - tr S / n estimates the squared length without noise, its share of |m|^2 is the reliability (what all
split halves give on average, brought to full length), and the ceiling of a cosine is the root of both
reliabilities' product. Raw cosine over ceiling is the cosine without noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from erosion.directions import Direction, Fit
from erosion.experiments.dimensions_scores import (
    Pairs,
    auc_band,
    auc_band_of,
    auc_values,
    gap_band,
    projections,
    random_auc_band,
    random_curves,
    widened,
)
from erosion.experiments.jackknife import AS_IT_IS, COSINE, jackknife_band, jackknife_ends
from erosion.experiments.sampling import Sampling
from erosion.shapes import Array, Bool, Float
from erosion.sites import Site
from erosion.stats import Band, random_band

__all__ = ["MeanDifferences", "domain_cosines", "fit_pairs", "leave_one_domain_out", "of_domains"]

GROUPS = 20
_SWAPS = 99


def of_domains(pairs: Pairs, domains: Mapping[str, str]) -> dict[str, Pairs]:
    """Domain -> its questions, for domains with at least four of them."""
    rows: dict[str, list[int]] = {}
    for i, question in enumerate(pairs.questions):
        rows.setdefault(domains[question], []).append(i)
    return {name: pairs.at(there) for name, there in rows.items() if len(there) >= 4}


def fit_pairs(pairs: Pairs, fit: Fit) -> dict[Site, Direction]:
    """One direction at each site, which knows the questions that it has seen."""
    return {
        site: fit(torch.from_numpy(pairs.high[site]), torch.from_numpy(pairs.low[site]), at=site).stamped(
            questions=pairs.questions, residual_norm=pairs.residual_norms[site]
        )
        for site in pairs.sites
    }


def leave_one_domain_out(
    training: Pairs, tested: Pairs, domains: Mapping[str, str], *, fit: Fit, sampling: Sampling
) -> dict[str, object]:
    """Each domain scored by directions fitted on the others: AUC and paired gap by layer, with controls.

    Within one domain answers may differ in a few words only, and a random direction then separates them
    nearly as well, one way or the other. That one direction puts the aligned side higher in *every* domain is
    what chance does not give: hence the mean over domains, held against the same random directions' mean.

    Args:
        training: questions to fit on; those of the domain that is tested are left out.
        tested: questions to test on, all of a domain at once.
        domains: question -> domain.
        fit: what is fitted.
        sampling: draws and seed.

    Returns:
        ``mean AUC over domains`` (control: random directions) and ``by domain``: domain -> ``held-out AUC``,
        ``held-out gap`` (control: swapped labels), ``AUC of random directions``; these intervals hold for
        all layers and all domains at once (Bonferroni over the domains). Empty with one domain.

    Raises:
        BadDirection: a domain's direction can not be fitted.

    Costs one fit for each domain and site.
    """
    there = of_domains(tested, domains)
    others = {domain: training.of(q for q in training.questions if domains[q] != domain) for domain in there}
    others = {domain: rest for domain, rest in others.items() if len(rest) >= 4}
    if not others:
        return {}
    labels, level = [site.layer for site in tested.sites], 1 - 0.05 / len(others)
    found: dict[str, dict[str, Band]] = {}
    values, ids, curves = [], [], []
    for domain, rest in others.items():
        test, directions = there[domain], fit_pairs(rest, fit)
        random = random_curves(rest, test, sampling=sampling)
        found[domain] = {
            "held-out AUC": auc_band(directions, test, sampling=sampling, confidence=level),
            "held-out gap": gap_band(directions, test, sampling=sampling, confidence=level),
            "AUC of random directions": random_auc_band(random, n_questions=len(test), labels=labels),
        }
        asked, aucs = auc_values([projections(v, test) for v in directions.values()], test)
        centre = aucs.mean(axis=0)
        ids.append(asked)
        values.append((centre, aucs - centre))
        curves.append(random)
    n = sum(len(one) for one in ids)
    middle = np.mean([centre for centre, _ in values], axis=0)
    parts = [middle + about * n / len(about) / len(values) for _, about in values]
    spread = widened(np.concatenate(parts), max(2, len(parts)))
    mean = auc_band_of(spread, [q for one in ids for q in one], labels, sampling)
    chance = random_auc_band(np.mean(curves, axis=0), n_questions=n, labels=labels)
    return {"mean AUC over domains": mean.with_control(chance), "by domain": found}


@dataclass(frozen=True, eq=False)
class MeanDifferences:
    """Sums over questions from which every mean difference, with any group left out, follows at once.

    Memory: sets x groups x d_model float64, whatever the number of questions.
    """

    names: tuple[str, ...]
    sums: Float[Array, "set group d_model"]
    squares: Float[Array, "set group"]
    counts: Float[Array, "set group"]

    @classmethod
    def of(
        cls,
        sets: Mapping[str, tuple[Float[Array, "question d_model"], Sequence[str]]],
        *,
        groups: int = GROUPS,
    ) -> "MeanDifferences":
        """From named sets of differences with their questions' ids; a question is in one group everywhere."""
        ids = list(dict.fromkeys(q for _, questions in sets.values() for q in sorted(questions)))
        group = {q: i % groups for i, q in enumerate(ids)}
        width = next(iter(sets.values()))[0].shape[1]
        sums = np.zeros((len(sets), groups, width))
        squares, counts = np.zeros((len(sets), groups)), np.zeros((len(sets), groups))
        for i, (rows, questions) in enumerate(sets.values()):
            place = np.array([group[q] for q in questions])
            np.add.at(sums[i], place, rows)
            np.add.at(squares[i], place, (rows**2).sum(axis=1))
            np.add.at(counts[i], place, 1.0)
        return cls(tuple(sets), sums, squares, counts)

    def cosines(
        self, keep: Bool[Array, " group"] | None = None
    ) -> tuple[Float[Array, "set other"], Float[Array, "set other"]]:
        """Raw cosines between the sets' mean differences, and their noise ceilings."""
        chosen = slice(None) if keep is None else keep
        n = self.counts[:, chosen].sum(axis=1)
        means = self.sums[:, chosen].sum(axis=1) / n[:, None]
        lengths = (means**2).sum(axis=1)
        noise = (self.squares[:, chosen].sum(axis=1) / n - lengths) / (n - 1)
        reliable = np.sqrt(np.clip(1 - noise / lengths, 0, 1))
        units = means / np.sqrt(lengths)[:, None]
        return np.clip(units @ units.T, -1, 1), reliable[:, None] * reliable[None, :]

    def each_left_out(self, of: Callable[[Array, Array], Array]) -> Array:
        """``of(cosines, ceilings)`` with each group of questions left out, stacked."""
        groups = self.counts.shape[1]
        kept = [np.arange(groups) != g for g in range(groups) if self.counts[:, g].any()]
        return np.stack([of(*self.cosines(keep)) for keep in kept])


def domain_cosines(pairs: Pairs, domains: Mapping[str, str], *, sampling: Sampling) -> dict[str, object]:
    """How alike the domains' answer directions are (difference of means), raw, and against the noise ceiling.

    Returns:
        ``domains``; ``by layer``: layer -> matrices ``cosine``, ``low``, ``high`` (each entry by itself) and
        ``noise ceiling``; and over all pairs of domains, by layer with intervals: ``mean cosine`` (control:
        labels swapped within questions), ``mean noise ceiling``, ``mean cosine without noise``. Empty for
        fewer than two domains.

    Costs groups x domains^2 x d_model at each layer.
    """
    sets = of_domains(pairs, domains)
    if len(sets) < 2:
        return {}
    upper = np.triu_indices(len(sets), 1)
    matrices: dict[str, dict[str, object]] = {}
    curves: dict[str, list[float]] = {name: [] for name in _MEANS}
    left: dict[str, list[Array]] = {name: [] for name in _MEANS}
    null = np.empty((_SWAPS, len(pairs.sites)))
    for layer, site in enumerate(pairs.sites):
        rows = {name: (part.differences(site), part.questions) for name, part in sets.items()}
        means = MeanDifferences.of(rows)
        cosines, ceilings = means.cosines()
        low, high = jackknife_ends(cosines, means.each_left_out(lambda c, _: c))
        matrices[str(site.layer)] = {
            "cosine": cosines.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "noise ceiling": ceilings.tolist(),
        }
        for name, of in _MEANS.items():
            curves[name].append(float(of(cosines, ceilings, upper)))
            left[name].append(means.each_left_out(lambda c, n, of=of: of(c, n, upper)))
        null[:, layer] = _swapped([one for one, _ in rows.values()], upper, sampling.seed)
    labels, n = [site.layer for site in pairs.sites], len(pairs)
    bands = {
        name: jackknife_band(
            np.array(curves[name]),
            np.stack(left[name], axis=1),
            unit="cosine",
            labels=labels,
            n_questions=n,
            scale=AS_IT_IS if name.endswith("noise") else COSINE,
        )
        for name in _MEANS
    }
    chance = random_band(null, unit="cosine", n_questions=n, labels=labels)
    bands["mean cosine"] = bands["mean cosine"].with_control(
        Band(
            chance.values,
            chance.low,
            chance.high,
            chance.labels,
            "cosine",
            n,
            f"labels swapped within questions, {_SWAPS} draws",
        )
    )
    return {"domains": list(sets), "by layer": matrices, **bands}


_MEANS: Mapping[str, Callable[..., Array]] = {
    "mean cosine": lambda cosines, _, upper: cosines[upper].mean(),
    "mean noise ceiling": lambda _, ceilings, upper: ceilings[upper].mean(),
    "mean cosine without noise": lambda cosines, ceilings, upper: (
        cosines[upper].sum() / max(ceilings[upper].sum(), 1e-12)
    ),
}


def _swapped(sets: Sequence[Array], upper: tuple[Array, Array], seed: int) -> Array:
    """The mean cosine between domains when labels are swapped within questions, draw by draw."""
    generator = np.random.default_rng((seed, 6))
    means = np.stack(
        [(generator.integers(2, size=(_SWAPS, len(rows))) * 2.0 - 1.0) @ rows for rows in sets], axis=1
    )
    units = means / np.linalg.norm(means, axis=2, keepdims=True)
    return np.array([(one @ one.T)[upper].mean() for one in units])
