"""The paper's own numbers for output distributions, and the control that decides what they mean.

As published: the mean summed log-likelihood of an answer, its eroded fraction, and the mean next-token
entropy. The trap: the likelihood rises as much on harmless answers as on harmful ones, so that most of it is
the loss of the aligned model's peaked style. Hence the same numbers on right and wrong answers to harmless
questions (or, where there are none, on the aligned answers) stand beside every one of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from erosion.metrics import Responses
from erosion.shapes import Array
from erosion.stats import Estimate, eroded_fraction, erosion, mean, ratio

__all__ = ["NAMES", "benign_control", "published"]

NAMES = {"aligned": "right", "misaligned": "wrong"}
"""What the two sides are called where the question is harmless."""

_RISE, _PER_TOKEN, _FRACTION = "change of summed log-likelihood", "change per token", "eroded fraction [95%]"
_NATS = "nats per token"


def published(
    scored: Mapping[str, Responses], benign: Mapping[str, Responses] | None = None
) -> dict[str, dict[str, Any]]:
    """Mean summed log p, its eroded fraction and next-token entropy, by kind of answer.

    Args:
        scored: ``aligned`` and ``tuned`` (``base`` where there is one) -> a contrast, scored.
        benign: the same of a competence contrast (its aligned side right, its misaligned side wrong).

    Returns:
        ``aligned answers`` and ``misaligned answers`` (``right answers`` and ``wrong answers`` of ``benign``)
        to the paper's numbers, and with intervals the change from aligned to tuned and the eroded fraction,
        each beside the same on harmless answers.
    """
    found = {f"{side} answers": _of(scored, side) for side in NAMES}
    harmless = {f"{NAMES[side]} answers": _of(benign, side) for side in NAMES} if benign else {}
    control = harmless.get("right answers", found["aligned answers"])
    name = "right answers to harmless questions" if harmless else "aligned answers"
    for kind, numbers in found.items():
        for what in (_RISE, _PER_TOKEN, _FRACTION):
            if what in numbers and not (kind == "aligned answers" and not harmless):
                numbers[what] = numbers[what].with_control(control[what], name=name)
    return {**found, **harmless}


def benign_control(
    scored: Mapping[str, Responses], margin_of: Callable[[Responses], Any]
) -> dict[str, Estimate]:
    """Style drift and the change of the competence margin on answers that have nothing to do with harm.

    Args:
        scored: model -> right and wrong answers to harmless questions, scored.
        margin_of: right minus wrong, question by question (:func:`erosion.metrics.harm_margin_of`).
    """
    level = {name: level_of(responses) for name, responses in scored.items()}
    margin = {name: margin_of(responses) for name, responses in scored.items()}
    questions = list(margin["aligned"].questions)
    change = margin["tuned"].values - margin["aligned"].values
    drift, asked = level["tuned"][0] - level["aligned"][0], level["aligned"][1]
    found = {
        "style drift": mean(drift, asked, unit=_NATS),
        "competence-specific change": mean(change, questions, unit=_NATS),
    }
    if "base" in scored:
        aligned, tuned, base = (level[model][0] for model in ("aligned", "tuned", "base"))
        found["style erosion"] = erosion(aligned, tuned, base, asked)
        aligned, tuned, base = (margin[model].values for model in ("aligned", "tuned", "base"))
        found["erosion of competence"] = erosion(aligned, tuned, base, questions)
    return found


def level_of(responses: Responses) -> tuple[Array, list[str]]:
    """Mean log p of a token in each of the two answers, and their questions."""
    rows = [i for i, label in enumerate(responses.labels) if label in NAMES]
    values = np.array([float(responses.log_likelihood[i].mean()) for i in rows])
    return values, [responses.questions[i] for i in rows]


def _of(scored: Mapping[str, Responses], side: str) -> dict[str, Any]:
    """One kind of answer under every model."""
    rows = [i for i, label in enumerate(scored["aligned"].labels) if label == side]
    questions = [scored["aligned"].questions[i] for i in rows]

    def each(values: Callable[[Responses], Sequence[Array]], reduce: Callable[..., Any]) -> dict[str, Array]:
        return {model: np.array([float(reduce(values(r)[i])) for i in rows]) for model, r in scored.items()}

    joint = each(lambda r: r.log_likelihood, np.sum)
    per_token = each(lambda r: r.log_likelihood, np.mean)
    spread = {model: float(one.mean()) for model, one in each(lambda r: r.entropy, np.mean).items()}
    means = {model: float(one.mean()) for model, one in joint.items()}
    numbers: dict[str, Any] = {
        "mean summed log-likelihood": means,
        "eroded fraction": _fraction(means),
        "mean next-token entropy": spread,
        "eroded fraction of entropy": _fraction(spread),
        _RISE: mean(joint["tuned"] - joint["aligned"], questions, unit="nats"),
        _PER_TOKEN: mean(per_token["tuned"] - per_token["aligned"], questions, unit=_NATS),
    }
    if "base" in joint:
        lost, gained = joint["aligned"] - joint["tuned"], joint["aligned"] - joint["base"]
        numbers[_FRACTION] = ratio(lost, gained, questions)
    return numbers


def _fraction(means: Mapping[str, float]) -> float | None:
    if "base" not in means or means["aligned"] == means["base"]:
        return None
    return eroded_fraction(means["aligned"], means["tuned"], means["base"])
