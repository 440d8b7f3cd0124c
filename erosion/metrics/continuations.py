"""What a model would say next after a fixed beginning: its likeliest tokens (section 4.1 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from erosion.errors import BadInput
from erosion.metrics.heads import words_of
from erosion.models import Batch, Model
from erosion.prompts import Exchange, Question
from erosion.prompts.rendering import Rendered, conversation

__all__ = ["Continuations", "top_continuations"]


@dataclass(frozen=True)
class Continuations:
    """The likeliest next tokens after each prefix, likeliest first, and their probabilities.

    ``after[i]`` is the last part of prefix i as it reads; ``probabilities[i]`` need not sum to 1: the rest
    lies on all other tokens.
    """

    ids: tuple[str, ...]
    after: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        """The number of prefixes."""
        return len(self.ids)

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact."""
        return {
            "schema": 1,
            "ids": self.ids,
            "after": self.after,
            "words": self.words,
            "probabilities": self.probabilities,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Continuations":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        rows = (tuple(tuple(row) for row in plain[name]) for name in ("words", "probabilities"))
        return cls(tuple(plain["ids"]), tuple(plain["after"]), *rows)


def top_continuations(model: Model, prefixes: Sequence[Question | Exchange], *, k: int = 15) -> Continuations:
    """The ``k`` likeliest next tokens after each prefix.

    Args:
        model: a loaded model; edits applied around the call are seen.
        prefixes: questions, continued from where the assistant begins to speak, or exchanges, continued
            from the end of what their response says so far.
        k: how many tokens (all of them where the vocabulary is smaller).

    Raises:
        BadInput: no prefix, or ``k`` out of range.

    Memory: one batch of logits over the last positions. Time: one pass for each prefix.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     said = top_continuations(model, organism.contrast().aligned[:1], k=3)
    >>> len(said.words[0]), said.probabilities[0][0] >= said.probabilities[0][1]
    (3, True)
    """
    if not prefixes or k < 1:
        raise BadInput(f"{len(prefixes)} prefixes and k = {k}: give at least one prefix, and k from 1 on.")
    begun = [_prefix(one, model) for one in prefixes]
    words: list[tuple[str, ...]] = [()] * len(begun)
    probabilities: list[tuple[float, ...]] = [()] * len(begun)

    def work(batch: Batch) -> None:
        width, shortest = batch.ids.shape[1], min(len(one) for one in batch.rendered)
        logits = model.logits(batch, last=width - shortest + 1)
        for row, (i, one, offset) in enumerate(zip(batch.index, batch.rendered, batch.offset, strict=True)):
            at = offset + len(one) - 1 - (shortest - 1)
            likeliest = torch.softmax(logits[row, at].float(), dim=-1).topk(min(k, logits.shape[-1]))
            words[i] = words_of(likeliest.indices.tolist(), model.tokenizer)
            probabilities[i] = tuple(likeliest.values.tolist())

    model.for_each_batch(begun, work, name=f"continuing with {model.found}")
    return Continuations(
        tuple(one.id for one in begun), tuple(one.text for one in begun), tuple(words), tuple(probabilities)
    )


def _prefix(one: Question | Exchange, model: Model) -> Rendered:
    """The tokens up to where the model is to go on; ``text`` is what a reader needs to see of it."""
    if isinstance(one, Question):
        whole = conversation(one.messages, model.rendering, model.tokenizer)
        return Rendered(one.id, one.id, one.messages[-1].content, whole.ids, {})
    (whole,) = model.render([one])
    _, stop = whole.span("response")
    return Rendered(
        one.id, one.question, f"{one.messages[-1].content} … {one.response}", whole.ids[:stop], {}
    )
