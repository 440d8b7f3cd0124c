"""Cross-validation with whole questions left out, beside what knowing the question alone would give.

A probe that is tested on questions it was trained on may recognise the question. On written pairs that is
worth nothing, since each question has one answer of either kind; on answers that a model gave itself and a
judge labelled, some questions draw bad answers every time, and then the question is half the label.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import special
from sklearn.model_selection import GroupKFold

from erosion.activations import Activations
from erosion.directions import Direction, Fit, check_unseen
from erosion.errors import BadInput
from erosion.experiments.dimensions_scores import auc_band_of, auc_by_question, widened
from erosion.experiments.sampling import Sampling
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band, Control, Estimate, mean

__all__ = ["cross_validated", "question_identity"]

_CHANCE_DRAWS = 199


def cross_validated(
    acts: Activations,
    fit: Fit,
    *,
    positive: str = "aligned",
    folds: int = 5,
    sampling: Sampling | None = None,
) -> Band:
    """AUC by layer, each question scored by a direction fitted on the other folds of questions.

    AUC is taken within each fold, where one direction scores all, and averaged over questions. Each question
    is scored once and trained on in every other fold, so the folds are not independent: the interval is the
    wider of that over questions and a t interval over folds, both with the variance 1/K + 1/(K - 1) in place
    of 1/K (Nadeau and Bengio 2003).

    Args:
        acts: any labelled activations: several answers to a question, of one label or both.
        fit: ``(positive side, other side, *, at) -> Direction``.
        positive: the label that should lie higher; all others are the other side.
        folds: how many.
        sampling: resamples and seed of the band.

    Raises:
        BadInput: fewer questions than folds, or a fold in which one side is empty.

    Costs ``folds`` fits at each site; memory one copy of the activations at one site.
    """
    sampling = sampling or Sampling()
    high = np.array([label == positive for label in acts.labels])
    parts = _folds(acts.questions, high, folds)
    columns: list[Array] = []
    by_fold: list[list[float]] = []
    ids: list[str] = []
    for site in acts.sites:
        values: list[Array] = []
        ids = []
        for train, test in parts:
            v = _fitted(acts, fit, site, high, train)
            scored = [acts.questions[i] for i in test]
            check_unseen(v, scored)
            found, aucs = auc_by_question(v.project(acts[site][test]).cpu().numpy(), high[test], scored)
            ids += found
            values.append(aucs)
        columns.append(np.concatenate(values))
        by_fold.append([float(one.mean()) for one in values])
    labels = [site.layer for site in acts.sites]
    band = auc_band_of(widened(np.stack(columns, axis=1), folds), ids, labels, sampling)
    reach = _reach(np.array(by_fold).T)
    low = np.minimum(band.low, np.clip(band.values - reach, 0, 1))
    high = np.maximum(band.high, np.clip(band.values + reach, 0, 1))
    method = f"{folds} folds of questions: the wider of {band.method} and corrected t over folds"
    return replace(band, low=low, high=high, method=method)


def _reach(folds: Float[Array, "fold layer"]) -> Float[Array, " layer"]:
    """Half an interval over folds that share training questions: t s sqrt(1/K + 1/(K - 1)), Bonferroni."""
    count, layers = folds.shape
    t = float(special.stdtrit(count - 1, 1 - 0.05 / 2 / layers))
    return t * folds.std(axis=0, ddof=1) * np.sqrt(1 / count + 1 / (count - 1))


def _folds(questions: Sequence[str], high: Array, folds: int) -> list[tuple[Array, Array]]:
    n = len(set(questions))
    if n < folds:
        raise BadInput(f"{folds} folds of {n} question(s) can not be made: give more questions.")
    parts = list(GroupKFold(folds).split(high, groups=np.asarray(questions)))
    for number, (_, test) in enumerate(parts, start=1):
        if high[test].all() or not high[test].any():
            raise BadInput(
                f"Fold {number} of {folds} has answers of one label only: give more questions or fewer folds."
            )
    return parts


def _fitted(acts: Activations, fit: Fit, site: Site, high: Array, train: Array) -> Direction:
    mask = torch.from_numpy(high[train])
    rows = acts[site][torch.from_numpy(train)]
    seen = tuple(dict.fromkeys(acts.questions[i] for i in train))
    return fit(rows[mask], rows[~mask], at=site).stamped(questions=seen)


def question_identity(
    questions: Sequence[str], labels: Sequence[str], *, positive: str = "aligned", seed: int = 0
) -> Estimate:
    """The AUC of a guesser that knows each question's share of positive labels and never reads an answer.

    A ceiling, since the shares are those of the very answers it guesses: 0.5 on written pairs by
    construction; above it where some questions draw one label more often than others. With few answers to a
    question shares differ by chance too: the control shuffles labels over all answers.

    Args:
        questions: each answer's question.
        labels: each answer's label.
        positive: the label to be guessed.
        seed: of the control.

    Raises:
        BadInput: a side is empty.

    >>> question_identity(["a", "a", "b", "b"], ["aligned", "misaligned"] * 2).value
    0.5
    >>> question_identity(["a", "a", "b", "b"], ["aligned"] * 2 + ["misaligned"] * 2).value
    1.0
    """
    high = np.array([label == positive for label in labels])
    _, cluster = np.unique(np.asarray(questions), return_inverse=True)
    counts = np.bincount(cluster)

    def guessed(truth: Array) -> tuple[list[str], Float[Array, " question"]]:
        share = np.bincount(cluster, truth) / counts
        return auc_by_question(share[cluster], truth, questions)

    if counts.max() == 1:
        why = "each question has one answer, so question and label can not be told apart"
        return Estimate(np.nan, np.nan, np.nan, "AUC", len(counts), "cluster t", why=why)
    ids, values = guessed(high)
    found = mean(values, ids, unit="AUC")
    generator = np.random.default_rng(seed)
    null = [float(guessed(generator.permutation(high))[1].mean()) for _ in range(_CHANCE_DRAWS)]
    low, middle, top = np.quantile(null, [0.025, 0.5, 0.975])
    control = Control("labels shuffled over all answers", float(middle), float(low), float(top))
    return Estimate(
        found.value,
        max(0.0, found.low),
        min(1.0, found.high),
        "AUC",
        found.n_questions,
        found.method,
        control=control,
    )
