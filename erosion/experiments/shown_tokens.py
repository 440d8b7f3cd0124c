"""A response shown token by token under every model, and what each model would say next, as published."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from erosion.metrics import Continuations, Divergences, Responses, harm_margin_of

__all__ = ["shown_continuations", "shown_tokens"]

_MOST = 80  # tokens shown


def shown_tokens(
    scored: Mapping[str, Responses], compared: Divergences, questions: Sequence[str]
) -> list[dict[str, Any]]:
    """Both answers to one question: each token's log p and the cumulative log joint under every model.

    The question is chosen by rule, not by eye: the one whose harm margin changed by the median amount.

    Args:
        scored: model -> responses.
        compared: of the same responses: it knows how their tokens read.
        questions: to choose among.
    """
    change = {
        question: float(tuned - aligned)
        for question, tuned, aligned in zip(
            harm_margin_of(scored["tuned"]).questions,
            harm_margin_of(scored["tuned"]).values,
            harm_margin_of(scored["aligned"]).values,
            strict=True,
        )
        if question in set(questions)
    }
    ordered = sorted(change, key=lambda question: (change[question], question))
    chosen = ordered[(len(ordered) - 1) // 2]
    labels = scored["aligned"].labels
    return [
        _shown(scored, compared, i)
        for i, question in enumerate(scored["aligned"].questions)
        if question == chosen and labels[i] in ("aligned", "misaligned")
    ]


def _shown(scored: Mapping[str, Responses], compared: Divergences, i: int) -> dict[str, Any]:
    likelihood = {model: responses.log_likelihood[i][:_MOST] for model, responses in scored.items()}
    return {
        "question": compared.questions[i],
        "label": compared.labels[i],
        "tokens": list(compared.words[i][:_MOST]),
        "log-likelihood": {model: values.tolist() for model, values in likelihood.items()},
        "cumulative log joint": {model: np.cumsum(values).tolist() for model, values in likelihood.items()},
        "KL of tuned from aligned": compared.kl[i][:_MOST].tolist(),
    }


def shown_continuations(continuations: Mapping[str, Continuations]) -> list[dict[str, Any]]:
    """For each prefix, every model's likeliest next tokens with their probabilities."""
    first = next(iter(continuations.values()))
    return [
        {
            "prefix": name,
            "after": first.after[i],
            "models": {
                model: {"tokens": list(one.words[i]), "probabilities": list(one.probabilities[i])}
                for model, one in continuations.items()
            },
        }
        for i, name in enumerate(first.ids)
    ]
