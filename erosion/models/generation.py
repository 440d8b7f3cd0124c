"""Free answers, with the key-value cache and with edits that hold while they are written."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from erosion.errors import BadInput
from erosion.interventions import Intervention
from erosion.models.hooked import Model
from erosion.progress import tracked
from erosion.prompts.exchanges import Message
from erosion.prompts.rendering import conversation_ids

__all__ = ["Reply", "generate"]


@dataclass(frozen=True)
class Reply:
    """One free answer: its text, and whether the model ended it by itself."""

    text: str
    ended: bool


@torch.no_grad()
def generate(
    model: Model,
    conversations: Sequence[Sequence[Message]],
    *,
    under: Sequence[Intervention] = (),
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[Reply, ...]:
    """Let the model answer each conversation (messages that end with the user's).

    Args:
        model: a loaded model.
        conversations: chat messages, in order.
        under: interventions that hold during the prompt pass and every generated token.
        max_new_tokens: the longest answer.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: of the sampling; the same seed gives the same answers.

    Raises:
        BadInput: no conversation, or one that leaves no room in the context.

    Cost: one prompt pass and one pass of length 1 for each token (cached).
    """
    if not conversations:
        raise BadInput("There is no conversation to answer: give at least one.")
    prompts = [conversation_ids(c, model.rendering, model.tokenizer) for c in conversations]
    size = max(1, model.batch_tokens // (max(map(len, prompts)) + max_new_tokens))
    replies: list[Reply] = []
    torch.manual_seed(seed)
    starts = range(0, len(prompts), size)
    for start in tracked(starts, name="generating", total=len(starts)):
        with model.applied(under):
            replies += _answer(model, prompts[start : start + size], max_new_tokens, temperature)
    return tuple(replies)


def _answer(model: Model, prompts: list[tuple[int, ...]], longest: int, temperature: float) -> list[Reply]:
    width = max(map(len, prompts))
    pad = model.tokenizer.pad_token_id or 0
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}
    ends = stop_ids(model)
    written = model.hf.generate(
        input_ids=ids.to(model.hf.device),
        attention_mask=mask.to(model.hf.device),
        max_new_tokens=longest,
        pad_token_id=pad,
        eos_token_id=ends,
        **sampling,
    )[:, width:].tolist()
    replies = []
    for row in written:
        stop = next((i for i, token in enumerate(row) if token in ends), None)
        text = model.tokenizer.decode(row[:stop], skip_special_tokens=True)
        replies.append(Reply(text.strip(), stop is not None))
    return replies


def stop_ids(model: Model) -> list[int]:
    """The ids that end an answer: the configuration's, and the one that the template writes after a response."""
    named = model.hf.generation_config.eos_token_id
    ids = [] if named is None else [named] if isinstance(named, int) else list(named)
    if model.tokenizer.eos_token_id is not None:
        ids.append(model.tokenizer.eos_token_id)
    return sorted(set(ids))
