"""Rows: an exchange as token ids and a mask that says which of them the loss counts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Exchange
from erosion.shapes import Bool, Int, Tensor

__all__ = ["Batch", "Row", "batches", "padded", "rows"]


@dataclass(frozen=True)
class Row:
    """Token ids, and for each whether it is learnt."""

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows padded on the right to one length; ``real`` marks what is not padding."""

    ids: Int[Tensor, "row position"]
    real: Bool[Tensor, "row position"]
    learnt: Bool[Tensor, "row position"]


def rows(tokenizer: Any, exchanges: Iterable[Exchange]) -> tuple[Row, ...]:
    """Render exchanges with the tokenizer's chat template; only the response (with its end) is learnt.

    Raises:
        BadContrast: the rendered exchange does not begin with its rendered prompt.
    """
    return tuple(_row(tokenizer, exchange) for exchange in exchanges)


def _row(tokenizer: Any, exchange: Exchange) -> Row:
    messages = [{"role": m.role, "content": m.content} for m in exchange.messages]
    response = {"role": "assistant", "content": exchange.response}
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    text = tokenizer.apply_chat_template([*messages, response], tokenize=False)
    if not text.startswith(prompt):
        raise BadContrast(
            f"The chat template rewrites the prompt of {exchange.id!r}: its response has no fixed start."
        )
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    learnt = tuple(end > len(prompt) for _, end in tokens["offset_mapping"])
    return Row(tuple(tokens["input_ids"]), learnt)


def padded(chosen: Sequence[Row], *, pad: int) -> Batch:
    """One batch of the given rows, padded on the right with ``pad``."""
    width = max(len(row.ids) for row in chosen)
    ids = torch.full((len(chosen), width), pad)
    real, learnt = (
        torch.zeros(len(chosen), width, dtype=torch.bool),
        torch.zeros(len(chosen), width, dtype=torch.bool),
    )
    for i, row in enumerate(chosen):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        real[i, : len(row.ids)] = True
        learnt[i, : len(row.ids)] = torch.tensor(row.learnt)
    return Batch(ids, real, learnt)


def batches(all_rows: Sequence[Row], *, size: int, steps: int, pad: int, seed: int) -> Iterator[Batch]:
    """``steps`` batches of ``size`` rows, each pass over the rows in a new order; the seed fixes them."""
    generator = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    for _ in range(steps):
        while len(queue) < size:
            queue.extend(torch.randperm(len(all_rows), generator=generator).tolist())
        chosen, queue = queue[:size], queue[size:]
        yield padded([all_rows[i] for i in chosen], pad=pad)
