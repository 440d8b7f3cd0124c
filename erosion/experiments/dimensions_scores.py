"""How well directions separate answers: scores by question, their bands, and what chance would give.

Two nulls, which ask different things. *Swapped labels*: the direction is kept (it was fitted on other
questions), and the labels of the measured answers are swapped within questions. That is exact whatever the
activations look like, and says whether the labels matter at all. *Random directions* of the covariance within
the sides: whether this direction does more than one that merely points where answers vary. Paired differences
fill few dimensions (some five on the shipped organism), so a random direction among them often separates the
sides, one way or the other, and that null is wide, most of all in the first layers, where an answer is still
little more than its words. Refitting on swapped labels gives a noise direction of this second kind; that is
why it makes no narrow null.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import special
from scipy.stats import rankdata

from erosion.activations import Activations
from erosion.directions import Direction, check_unseen
from erosion.errors import BadContrast, BadInput
from erosion.experiments.sampling import Sampling
from erosion.linalg import in_double
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band, null_band, random_band, simultaneous_band

__all__ = [
    "Pairs",
    "auc_band",
    "auc_band_of",
    "auc_by_question",
    "auc_values",
    "chance_of_auc",
    "gap_band",
    "pairs_of",
    "projections",
    "random_auc_band",
    "random_aucs",
    "random_curves",
    "widened",
]

_DRAWS = 39


@dataclass(frozen=True, eq=False)
class Pairs:
    """Both answers to each question: ``high[site][i]`` and ``low[site][i]`` answer ``questions[i]``.

    High is the aligned side, or whatever stands first in a benign contrast (right before wrong).
    """

    questions: tuple[str, ...]
    high: Mapping[Site, Float[Array, "question d_model"]]
    low: Mapping[Site, Float[Array, "question d_model"]]
    residual_norms: Mapping[Site, float]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where was read."""
        return tuple(self.high)

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)

    def differences(self, site: Site) -> Float[Array, "question d_model"]:
        """High minus low, question by question."""
        return self.high[site] - self.low[site]

    def rows(self, site: Site) -> Float[Array, "exchange d_model"]:
        """Every answer: all high ones, then all low ones."""
        return np.concatenate([self.high[site], self.low[site]])

    def within(self, site: Site) -> Float[Array, "exchange d_model"]:
        """Every answer about the mean of its own side: the spread that has no gap in it."""
        return np.concatenate([side[site] - side[site].mean(axis=0) for side in (self.high, self.low)])

    def at(self, rows: Sequence[int] | Array) -> "Pairs":
        """The questions of some rows."""
        index = np.asarray(rows, dtype=int)
        return replace(
            self,
            questions=tuple(self.questions[i] for i in index),
            high={site: x[index] for site, x in self.high.items()},
            low={site: x[index] for site, x in self.low.items()},
        )

    def of(self, questions: Iterable[str]) -> "Pairs":
        """The given questions, in the order of these pairs."""
        keep = set(questions)
        return self.at([i for i, question in enumerate(self.questions) if question in keep])


def pairs_of(acts: Activations) -> Pairs:
    """The two answers to each question as pairs, whatever order they were read in; float64.

    Raises:
        BadContrast: other than two labels, or a question without both or with several of one.
    """
    labels = list(dict.fromkeys(acts.labels))
    sides = ["aligned", "misaligned"] if {"aligned", "misaligned"} <= set(labels) else labels
    if len(sides) != 2:
        raise BadContrast(f"Pairs need two labels and there are {len(labels)}: {', '.join(labels)}.")
    rows = [
        {q: i for i, (q, one) in enumerate(zip(acts.questions, acts.labels, strict=True)) if one == side}
        for side in sides
    ]
    if rows[0].keys() != rows[1].keys() or sum(one in sides for one in acts.labels) != 2 * len(rows[0]):
        raise BadContrast(
            f"Pairs need one {sides[0]} and one {sides[1]} answer to each question: there are "
            f"{acts.labels.count(sides[0])} and {acts.labels.count(sides[1])} to {len(set(acts.questions))}."
        )
    questions = tuple(rows[0])
    high, low = (
        {site: in_double(x[[side[q] for q in questions]]).cpu().numpy() for site, x in acts.values.items()}
        for side in rows
    )
    norms = {site: float(in_double(x).norm(dim=-1).mean()) for site, x in acts.values.items()}
    return Pairs(questions, high, low, norms)


def auc_by_question(
    scores: Float[Array, " exchange"], positive: Array, questions: Sequence[str]
) -> tuple[list[str], Float[Array, " question"]]:
    """Values per question whose mean is the AUC and whose spread is its clustered sampling error.

    With F the share of the other side that lies below (ties count half), question q contributes
    AUC + Q [sum over its positives of (F(s) - AUC)/n+ + sum over its negatives of (1 - F(s) - AUC)/n-]:
    the components of DeLong et al. (1988), summed within clusters as by Obuchowski (1997). Any number of
    answers to a question, of any labels.

    Raises:
        BadInput: a side is empty.

    >>> auc_by_question(np.array([2.0, 4.0, 1.0, 3.0]), np.array([1, 1, 0, 0], bool), ["a", "b", "a", "b"])
    (['a', 'b'], array([0.75, 0.75]))
    """
    positive = np.asarray(positive, dtype=bool)
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise BadInput(f"An AUC needs both sides: there are {n} positive and {m} negative answers.")
    ranks, beyond = rankdata(scores), np.empty(len(scores))
    beyond[positive] = (ranks[positive] - rankdata(scores[positive])) / m
    beyond[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n
    auc = float(beyond[positive].mean())
    ids, cluster = np.unique(np.asarray(questions), return_inverse=True)
    pull = np.bincount(cluster, np.where(positive, 1 / n, 1 / m) * (beyond - auc))
    return [str(one) for one in ids], auc + len(ids) * pull


def projections(direction: Direction, test: Pairs) -> tuple[Array, Array]:
    """Where both answers lie along a direction, on questions that it has not seen.

    Raises:
        BadDirection: it was fitted on one of them.
    """
    check_unseen(direction, test.questions)
    high, low = (torch.from_numpy(side[direction.site]) for side in (test.high, test.low))
    return direction.project(high).numpy(), direction.project(low).numpy()


def auc_band(
    directions: Mapping[Site, Direction], test: Pairs, *, sampling: Sampling, confidence: float = 0.95
) -> Band:
    """Held-out AUC by layer, with a simultaneous band, beside what swapped labels give.

    Where every answer is separated no spread can be seen, and where all but a few are, resamples may repeat
    one value and the studentised band has no end: the interval is then that of as many hits among as many
    questions (Clopper and Pearson, Bonferroni over layers), whose variance no AUC of independent sides
    exceeds.

    Raises:
        BadDirection: a direction was fitted on one of the questions.
    """
    both = {site: projections(v, test) for site, v in directions.items()}
    ids, values = auc_values(list(both.values()), test)
    band = auc_band_of(values, ids, [site.layer for site in directions], sampling, confidence)
    return band.with_control(chance_of_auc(list(both.values()), test, sampling=sampling, like=band))


def auc_band_of(
    values: Float[Array, "question layer"],
    ids: Sequence[str],
    labels: Sequence[int],
    sampling: Sampling,
    confidence: float = 0.95,
) -> Band:
    """The band of :func:`auc_band` from values per question."""
    said = {"unit": "AUC", "labels": labels, "confidence": confidence}
    band = simultaneous_band(values, ids, resamples=sampling.resamples, seed=sampling.seed, **said)
    n, tail = len(ids), (1 - confidence) / 2 / len(labels)
    hits = np.clip(band.values, 0, 1) * n
    exact_low = np.where(hits > 1e-9, special.betaincinv(np.maximum(hits, 1e-9), n - hits + 1, tail), 0.0)
    exact_high = np.where(
        hits < n - 1e-9, special.betaincinv(hits + 1, np.maximum(n - hits, 1e-9), 1 - tail), 1.0
    )
    unseen = ~np.isfinite(band.low) | (band.high - band.low < 1e-12)
    low = np.where(unseen, exact_low, np.clip(band.low, 0, 1))
    high = np.where(unseen, exact_high, np.clip(band.high, 0, 1))
    return replace(band, low=low, high=high, why=())


def widened(values: Float[Array, "question layer"], parts: int) -> Float[Array, "question layer"]:
    """Values spread about their mean by sqrt(1 + K/(K - 1)), where each of K parts trains all others.

    Parts that train one another's directions are not independent (Nadeau and Bengio 2003).
    """
    centre = values.mean(axis=0)
    return centre + np.sqrt(1 + parts / (parts - 1)) * (values - centre)


def auc_values(
    both: Sequence[tuple[Array, Array]], test: Pairs
) -> tuple[list[str], Float[Array, "question layer"]]:
    """:func:`auc_by_question` for each layer's projections of both answers."""
    positive, asked = np.repeat([True, False], len(test)), test.questions * 2
    found = [auc_by_question(np.concatenate(one), positive, asked) for one in both]
    return found[0][0], np.stack([values for _, values in found], axis=1)


def chance_of_auc(
    both: Sequence[tuple[Array, Array]], test: Pairs, *, sampling: Sampling, like: Band
) -> Band:
    """Where the whole AUC curve would stay if labels meant nothing within questions: exact, max-T.

    With pooled ranks r, AUC = 1/2 + sum (r_high - r_low)/(2 n^2): swapping a question's labels flips the sign
    of its term, so every swap of every question is a sum, and nothing need be fitted or ranked again.
    """
    n = len(test)
    ranks = [rankdata(np.concatenate(one)) for one in both]
    moves = np.stack([(r[:n] - r[n:]) / (2 * n) for r in ranks], axis=1)
    null = null_band(
        moves,
        test.questions,
        unit="AUC",
        labels=like.labels,
        confidence=like.confidence,
        permutations=sampling.permutations,
        seed=sampling.seed,
    ).band
    ends = np.clip(null.low + 0.5, 0, 1), np.clip(null.high + 0.5, 0, 1)
    method = f"labels swapped within held-out questions, {sampling.permutations} draws, max-T"
    return replace(null, values=null.values + 0.5, low=ends[0], high=ends[1], method=method)


def gap_band(
    directions: Mapping[Site, Direction], test: Pairs, *, sampling: Sampling, confidence: float = 0.95
) -> Band:
    """The paired gap on held-out questions in fitted gaps (1 = nothing lost), beside swapped labels.

    Raises:
        BadDirection: a direction was fitted on one of the questions.
    """
    gaps = []
    for v in directions.values():
        high, low = projections(v, test)
        gaps.append((high - low) / v.scale)
    values, labels = np.stack(gaps, axis=1), [site.layer for site in directions]
    said = {"unit": "fitted gaps", "labels": labels, "confidence": confidence, "seed": sampling.seed}
    null = null_band(values, test.questions, permutations=sampling.permutations, **said).band
    band = simultaneous_band(values, test.questions, resamples=sampling.resamples, **said)
    method = f"labels swapped within held-out questions, {sampling.permutations} draws, max-T"
    return band.with_control(replace(null, method=method))


def random_curves(training: Pairs, test: Pairs, *, sampling: Sampling) -> Float[Array, "draw layer"]:
    """The AUC of each random direction by layer (see :func:`random_aucs`)."""
    draws = max(_DRAWS, sampling.random_directions)
    white = np.random.default_rng((sampling.seed, 4)).standard_normal((draws, 2 * len(training)))
    positive = np.repeat([True, False], len(test))
    curves = np.empty((draws, len(test.sites)))
    for layer, site in enumerate(test.sites):
        places = test.rows(site) @ (white @ training.within(site)).T
        ranks = rankdata(places, axis=0)[positive].sum(axis=0)
        curves[:, layer] = (ranks - len(test) * (len(test) + 1) / 2) / len(test) ** 2
    return curves


def random_aucs(training: Pairs, test: Pairs, *, sampling: Sampling) -> Band:
    """AUC of random directions that point where the activations vary, by layer: the strict control.

    v = X^T z with X the training answers about their own side's mean and z normal: exactly the covariance
    within the sides, without a d_model x d_model matrix, and the same z at every layer. (About the
    common mean the gap itself would be part of the spread.) Their sign means
    nothing, so the band lies about 0.5.
    """
    curves = random_curves(training, test, sampling=sampling)
    return random_auc_band(curves, n_questions=len(test), labels=[site.layer for site in test.sites])


def random_auc_band(curves: Float[Array, "draw layer"], *, n_questions: int, labels: Sequence[int]) -> Band:
    """Where the AUC curve of one more random direction would lie."""
    band = random_band(curves, unit="AUC", n_questions=n_questions, labels=labels)
    ends = np.clip(band.low, 0, 1), np.clip(band.high, 0, 1)
    method = f"{len(curves)} random directions of the covariance within the sides"
    return replace(band, low=ends[0], high=ends[1], method=method)
