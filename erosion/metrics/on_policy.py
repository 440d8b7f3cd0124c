"""Written answers against a model's own: how far off its own distribution a contrast lies.

A contrast is written by somebody. Where every model finds both answers far less likely than what it would say
itself, directions and margins measured on them describe text that no model writes. So each model
answers the questions freely, and its own answers are scored as the written ones are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.errors import BadContrast, BadInput
from erosion.metrics.scoring import score_choices
from erosion.models import Model, Reply, generate
from erosion.prompts import Contrast, Exchange, split_thought
from erosion.shapes import Array, Float

__all__ = ["OnPolicy", "on_policy"]


@dataclass(frozen=True, eq=False)
class OnPolicy:
    """Surprise at each answer under one model, in nats per token: mean of -log p over its tokens.

    ``own`` and ``again`` are two answers sampled from the model itself (``again`` is the control: what two
    draws differ by), ``aligned`` and ``misaligned`` the written ones. ``replies`` are the texts of ``own``,
    ``ended`` whether they came to an end. ``left_out`` are the questions with an empty answer.
    """

    questions: tuple[str, ...]
    own: Float[Array, " question"]
    again: Float[Array, " question"]
    aligned: Float[Array, " question"]
    misaligned: Float[Array, " question"]
    replies: tuple[str, ...]
    ended: tuple[bool, ...]
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact."""
        numbers = {name: getattr(self, name).tolist() for name in ("own", "again", "aligned", "misaligned")}
        words = {name: getattr(self, name) for name in ("questions", "replies", "ended", "left_out")}
        return {"schema": 1, **words, **numbers}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "OnPolicy":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        own, again, aligned, misaligned = (
            np.array(plain[name], dtype=float) for name in ("own", "again", "aligned", "misaligned")
        )
        return cls(
            tuple(plain["questions"]),
            own,
            again,
            aligned,
            misaligned,
            tuple(plain["replies"]),
            tuple(plain["ended"]),
            tuple(plain["left_out"]),
        )


def on_policy(model: Model, contrast: Contrast, *, n_tokens: int = 64, seed: int = 0) -> OnPolicy:
    """Score a model's own answers, sampled at temperature 1, beside the written ones.

    An own answer is read back as words, so that all answers are scored alike; one that stopped at
    ``n_tokens`` counts as far as it goes, and a think block before it does not count.

    Args:
        model: a loaded model.
        contrast: the questions with both written answers.
        n_tokens: the longest own answer.
        seed: of the sampling.

    Raises:
        BadInput: fewer than two questions got an answer with words.

    Cost: two sampled answers and four scored ones a question. Memory: one batch of logits or its cache.
    """
    asked = [exchange.messages for exchange in contrast.aligned]
    replies = generate(model, [*asked, *asked], max_new_tokens=n_tokens, temperature=1.0, seed=seed)
    first, second = replies[: len(asked)], replies[len(asked) :]
    kept = [i for i, pair in enumerate(zip(first, second, strict=True)) if all(map(_says_something, pair))]
    if len(kept) < 2:
        raise BadInput(
            f"{len(kept)} of {len(asked)} questions got an answer with words: let the model say more "
            f"(n_tokens is {n_tokens}) or look at what it writes."
        )
    ours = [_answered(contrast.aligned[i], first[i], "own") for i in kept]
    ours += [_answered(contrast.aligned[i], second[i], "again") for i in kept]
    written = [side[i] for side in (contrast.aligned, contrast.misaligned) for i in kept]
    own, again, aligned, misaligned = np.split(_surprise(model, [*ours, *written]), 4)
    chosen = set(kept)
    return OnPolicy(
        tuple(contrast.questions[i] for i in kept),
        own,
        again,
        aligned,
        misaligned,
        tuple(first[i].text for i in kept),
        tuple(first[i].ended for i in kept),
        tuple(q for i, q in enumerate(contrast.questions) if i not in chosen),
    )


def _answered(question: Exchange, reply: Reply, label: str) -> Exchange:
    return Exchange(question.question, question.messages, reply.text, question.domain, label)


def _says_something(reply: Reply) -> bool:
    """Whether there is an answer after any think block."""
    try:
        return bool(split_thought(reply.text)[1].strip())
    except BadContrast:
        return False


def _surprise(model: Model, exchanges: list[Exchange]) -> Float[Array, " exchange"]:
    scored = score_choices(model, model.render(exchanges), exchanges)
    return np.array([-float(tokens.mean()) for tokens in scored.log_likelihood])
