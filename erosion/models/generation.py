"""Free answers, with the key-value cache and with edits that hold while they are written.

Notable: an answer depends on its conversation, its place in the list and the seed, never on the batch it
happens to be written in; a checkpoint's own sampling settings (repetition penalties, top-k) are left out.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from erosion.errors import BadInput
from erosion.interventions import Intervention, Positions, Scope
from erosion.models.batches import Batch, for_each_batch, places_in, plan_batches, position_ids
from erosion.models.hooked import Model, context_of
from erosion.prompts.exchanges import Message
from erosion.prompts.rendering import Rendered, conversation, end_of_turn
from erosion.shapes import Bool, Float, Int, Tensor

__all__ = ["Listener", "Reply", "generate"]

Listener = Callable[[int, str], bool]
"""Told of a conversation's index and its answer so far; gives whether to go on."""


@dataclass(frozen=True)
class Reply:
    """One free answer: its text, and whether the model ended it by itself."""

    text: str
    ended: bool


def generate(
    model: Model,
    conversations: Sequence[Sequence[Message]],
    *,
    under: Sequence[Intervention] = (),
    max_new_tokens: int = 128,
    temperature: float | int = 0,
    seed: int = 0,
    listen: Listener | None = None,
) -> tuple[Reply, ...]:
    """Let the model answer each conversation (messages that end with the user's).

    Args:
        model: a loaded model.
        conversations: chat messages, in order.
        under: interventions that hold during the prompt pass (scope ``prompt``) and every generated token
            (scope ``response``).
        max_new_tokens: the longest answer; it also ends where the context does.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: of the sampling; the same seed gives the same answers, in batches of any size.
        listen: told after every token which conversation it belongs to and the answer so far; answers of
            that batch end where it gives False.

    Raises:
        BadInput: no conversation, one that leaves no room in the context, or a length or temperature that
            means nothing.

    Cost: one prompt pass and one pass of length 1 for each token (cached). Memory: the cache of one batch.
    """
    if not conversations:
        raise BadInput("There is no conversation to answer: give at least one.")
    if max_new_tokens < 1 or not 0 <= temperature < float("inf"):
        raise BadInput(
            f"max_new_tokens={max_new_tokens} and temperature={temperature} mean nothing: "
            "give at least one token and a temperature of 0 or more."
        )
    prompts = [
        replace(conversation(c, model.rendering, model.tokenizer), id=f"conversation {i}")
        for i, c in enumerate(conversations)
    ]
    _require_room(model, prompts)
    writer = _Writer(model, max_new_tokens, float(temperature), seed, listen)
    replies: dict[int, Reply] = {}

    def work(batch: Batch) -> None:
        replies.update(zip(batch.index, writer.answers(batch), strict=True))

    plan = plan_batches(prompts, model.batch_tokens, growing=max_new_tokens)
    with model.applied(under):
        for_each_batch(
            plan, lambda index: model.batch_of(prompts, index, side="left"), work, name="generating"
        )
    return tuple(replies[i] for i in range(len(prompts)))


def _require_room(model: Model, prompts: Sequence[Rendered]) -> None:
    longest = context_of(model)
    for i, prompt in enumerate(prompts):
        if longest is not None and len(prompt) >= longest:
            raise BadInput(
                f"Conversation {i} has {len(prompt)} tokens and the model's context holds {longest}: "
                "there is no room for an answer. Shorten it."
            )


class _Writer:
    """Writes the answers of one batch, token by token."""

    def __init__(
        self, model: Model, longest: int, temperature: float, seed: int, listen: Listener | None
    ) -> None:
        self.model, self.longest, self.temperature, self.seed = model, longest, temperature, seed
        self.listen = listen
        self.ends = stop_ids(model)
        named = inspect.signature(type(model.hf).forward).parameters
        self.cache = "cache" if "cache" in named else "past_key_values"  # renamed in transformers 5.24

    @torch.no_grad()
    def answers(self, batch: Batch) -> list[Reply]:
        """The batch's answers, in its order."""
        randoms = [torch.Generator().manual_seed(_mixed(self.seed, i)) for i in batch.index]
        context = context_of(self.model)
        room = [
            self.longest if context is None else min(self.longest, context - len(p)) for p in batch.rendered
        ]
        written: list[list[int]] = [[] for _ in batch.index]
        ids, mask, cache = batch.ids, batch.mask, None
        for step in range(max(room)):
            with self.model.passes.about(_Reach(batch, step), rows=batch):
                logits, cache = self._step(ids, mask, cache)
            chosen = self._choose(logits, randoms)
            for row, token in zip(written, chosen.tolist(), strict=True):
                row.append(token)
            going = [not self._done(row, most) for row, most in zip(written, room, strict=True)]
            if not (any(going) and self._heard(batch, written, room)):
                break
            ids, mask = chosen[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=-1)
        return [self._reply(row, most) for row, most in zip(written, room, strict=True)]

    def _step(self, ids: Int[Tensor, "batch step"], mask: Int[Tensor, "batch position"], cache: Any) -> Any:
        """The next token's logits, and the cache with what was read."""
        output = self.model.hf(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position_ids(mask)[:, -ids.shape[1] :],
            use_cache=True,
            logits_to_keep=1,
            **{self.cache: cache},
        )
        return output.logits[:, -1], getattr(output, self.cache)

    def _choose(
        self, logits: Float[Tensor, "batch vocab"], randoms: list[torch.Generator]
    ) -> Int[Tensor, " batch"]:
        """The likeliest token, or the one under which a uniform number of the row's own falls."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        p = torch.softmax(logits.double() / self.temperature, dim=-1)
        uniform = torch.stack([torch.rand(1, generator=random, dtype=torch.float64) for random in randoms])
        heights = p.cumsum(dim=-1)
        chosen = torch.searchsorted(heights, uniform.to(p.device) * heights[:, -1:], right=True)[:, 0]
        return chosen.clamp(max=logits.shape[-1] - 1)

    def _heard(self, batch: Batch, written: Sequence[list[int]], room: Sequence[int]) -> bool:
        """Tell the listener how far every answer is; whether all of them may go on."""
        if self.listen is None:
            return True
        answers = [self._reply(row, most).text for row, most in zip(written, room, strict=True)]
        go_on = [self.listen(i, text) for i, text in zip(batch.index, answers, strict=True)]
        return all(go_on)

    def _done(self, row: list[int], most: int) -> bool:
        return len(row) >= most or any(token in self.ends for token in row)

    def _reply(self, row: list[int], most: int) -> Reply:
        stop = next((i for i, token in enumerate(row[:most]) if token in self.ends), None)
        text = self.model.tokenizer.decode(row[: most if stop is None else stop], skip_special_tokens=True)
        return Reply(text.strip(), stop is not None)


class _Reach:
    """Which positions a scope touches while an answer is written: the prompt in the first pass (step 0), one
    token of the response in each later one."""

    def __init__(self, batch: Batch, step: int) -> None:
        self.batch, self.step = batch, step

    def __call__(self, scope: Scope) -> Bool[Tensor, "batch position"] | None:
        """The positions of the present pass, None for none of them."""
        within = scope.within if isinstance(scope, Positions) else scope
        if within not in ("prompt", "last_prompt", "response"):
            raise BadInput(
                f"Where {scope!s} lies is not known while an answer is written: use all, prompt, "
                "last_prompt, response, or positions within the last three."
            )
        if within == "response":
            return self._of_response(scope)
        if self.step > 0:
            return None
        where = self.batch.mask.bool()
        if within == "last_prompt":
            where = places_in(where, Positions((-1,)), self._names)
        return places_in(where, scope, self._names) if isinstance(scope, Positions) else where

    def _of_response(self, scope: Scope) -> Bool[Tensor, "batch position"] | None:
        if isinstance(scope, Positions):
            if min(scope.places) < 0:
                raise BadInput(
                    f"The end of an answer that is being written is not known: {scope} counts from it."
                )
            if self.step - 1 not in scope.places:
                return None
        return None if self.step == 0 else torch.ones_like(self.batch.mask[:, :1], dtype=torch.bool)

    @property
    def _names(self) -> list[str]:
        return [f"conversation {i}" for i in self.batch.index]


def _mixed(seed: int, index: int) -> int:
    """One seed for each conversation, far apart."""
    return (seed * 1_000_003 + index * 7_919 + 1) % 2**63


def stop_ids(model: Model) -> frozenset[int]:
    """The ids that end an answer: the configuration's, the tokenizer's, the template's end of turn."""
    named = model.hf.generation_config.eos_token_id
    ids = {named} if isinstance(named, int) else set(named or ())
    ids |= {model.tokenizer.eos_token_id, end_of_turn(model.rendering, model.tokenizer)}
    return frozenset(i for i in ids if i is not None)
