"""Output distributions (section 4.1 of arXiv 2507.03662): what the models think of both answers.

As published: the summed log-likelihood of a response and its erosion, which rises on benign and harmful
answers alike, so that it mostly counts the loss of the aligned model's peaked style (shown beside the same
numbers on harmless questions). Ours: the *difference* between the two answers to one question, which style
cancels from, question by question, with intervals, and the drift of style beside it. Token by token, whole
distributions are compared in :mod:`erosion.experiments.divergences`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from erosion.experiments.likelihood_rise import benign_control, published
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.metrics import Responses, Scores, choice_margin_of, harm_margin_of, summed_margin_of
from erosion.shapes import Array
from erosion.stats import Control, Estimate, erosion, mean, null_band

__all__ = ["distributions", "mean_log_likelihood"]

_MARGINS = {
    "harm margin": harm_margin_of,
    "choice margin": choice_margin_of,
    "summed margin": summed_margin_of,
}


def distributions(
    scored: Mapping[str, Responses],
    domains: Mapping[str, str],
    *,
    trained_domains: Sequence[str] = (),
    benign: Mapping[str, Responses] | None = None,
    sampling: Sampling | None = None,
) -> Result:
    """Margins of every model, their erosion, and style drift apart from harm-specific change.

    Args:
        scored: ``aligned`` and ``tuned`` (``base`` where there is one) -> the same contrast, scored.
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on: kept out of the overall numbers.
        benign: the same models -> a competence contrast, scored (its aligned side right, its misaligned side
            wrong): the published numbers and the style drift on harmless answers, as control.
        sampling: draws and seed of the permutation controls.

    Memory: a few floats for each question. Every number uses every question (nothing is fitted).
    """
    sampling = sampling or Sampling()
    asked = scored["aligned"].questions
    groups = {"overall": [q for q in dict.fromkeys(asked) if domains[q] not in trained_domains]}
    for domain in sorted({domains[q] for q in asked}):
        groups[domain] = [q for q in dict.fromkeys(asked) if domains[q] == domain]
    found = {
        name: {metric: of(responses) for metric, of in _MARGINS.items()} for name, responses in scored.items()
    }
    likelihood = {name: mean_log_likelihood(responses) for name, responses in scored.items()}
    ours = {
        group: _of_group(found, likelihood, questions, sampling)
        for group, questions in groups.items()
        if questions
    }
    if benign and "overall" in ours:
        ours["overall"]["benign"] = benign_control(benign, harm_margin_of)
    inputs = {
        "models": list(scored),
        "questions": {group: len(questions) for group, questions in groups.items()},
        "trained_domains": list(trained_domains),
    }
    return Result("distributions", inputs, published(scored, benign), ours)


def mean_log_likelihood(responses: Responses) -> Scores:
    """Mean log p of a response token, averaged over a question's two answers: the level that style moves."""
    values: dict[str, list[float]] = {}
    for question, label, tokens in zip(
        responses.questions, responses.labels, responses.log_likelihood, strict=True
    ):
        if label in ("aligned", "misaligned"):
            values.setdefault(question, []).append(float(tokens.mean()))
    means = np.array([np.mean(both) for both in values.values()])
    return Scores(means, tuple(values), "log-likelihood", "nats per token")


def _of_group(
    found: Mapping[str, Mapping[str, Scores]],
    likelihood: Mapping[str, Scores],
    questions: Sequence[str],
    sampling: Sampling,
) -> dict[str, object]:
    def rows(scores: Scores) -> Array:
        at = {question: i for i, question in enumerate(scores.questions)}
        return scores.values[[at[question] for question in questions]]

    margins = {
        model: {
            metric: _against_swaps(rows(one), questions, one.unit, sampling) for metric, one in scores.items()
        }
        for model, scores in found.items()
    }
    change = {metric: rows(found["tuned"][metric]) - rows(found["aligned"][metric]) for metric in _MARGINS}
    style = rows(likelihood["tuned"]) - rows(likelihood["aligned"])
    result: dict[str, object] = {
        "margins": margins,
        "harm-specific change": {
            metric: _against_swaps(values, questions, found["aligned"][metric].unit, sampling)
            for metric, values in change.items()
        },
        "style drift": mean(style, questions, unit="nats per token"),
    }
    if "base" in found:
        drift = erosion(
            rows(likelihood["aligned"]), rows(likelihood["tuned"]), rows(likelihood["base"]), questions
        )
        result["style erosion"] = drift
        result["erosion"] = {
            metric: erosion(
                rows(found["aligned"][metric]),
                rows(found["tuned"][metric]),
                rows(found["base"][metric]),
                questions,
            ).with_control(drift, name="the same ratio of both answers' mean likelihood (style)")
            for metric in _MARGINS
        }
    return result


def _against_swaps(values: Array, questions: Sequence[str], unit: str, sampling: Sampling) -> Estimate:
    """The mean with its interval, beside where it would stay if the answers' labels meant nothing."""
    estimate = mean(values, questions, unit=unit)
    if len(set(questions)) < 2:
        return estimate
    null = null_band(
        values[:, None], questions, unit=unit, permutations=sampling.permutations, seed=sampling.seed
    ).band
    return estimate.with_control(
        Control(
            "labels swapped within questions", float(null.values[0]), float(null.low[0]), float(null.high[0])
        )
    )
