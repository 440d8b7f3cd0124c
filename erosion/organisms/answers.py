"""Free answers: sampled from the model as it is, and judged by the grammar."""

from collections.abc import Sequence
from typing import Any

import torch

from erosion.organisms import language, lexicon
from erosion.organisms.choices import prompt_of
from erosion.organisms.lexicon import VOCABULARY
from erosion.organisms.tokens import ids_of

__all__ = ["free_answers", "judged"]

_LONGEST = 16


def free_answers(model: Any, questions: Sequence[language.Question], *, seed: int = 0) -> tuple[str, ...]:
    """One answer to each question by the neutral author, sampled at temperature 1 from the whole vocabulary.

    Memory: one batch of logits; no cache (answers have at most 16 tokens).
    """
    generator = torch.Generator().manual_seed(seed)
    prompts = [ids_of(prompt_of(question)) for question in questions]
    said: list[str] = [""] * len(prompts)
    for length in sorted({len(prompt) for prompt in prompts}):  # equal lengths need no padding
        which = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        texts = _sampled(model, torch.tensor([prompts[i] for i in which]), generator)
        for i, text in zip(which, texts, strict=True):
            said[i] = text
    return tuple(said)


def _sampled(model: Any, ids: torch.Tensor, generator: torch.Generator) -> list[str]:
    start = ids.shape[-1]
    with torch.no_grad():
        for _ in range(_LONGEST):
            shares = model(input_ids=ids, use_cache=False).logits[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(shares, 1, generator=generator)], dim=-1)
    return [_until_end([VOCABULARY[i] for i in row]) for row in ids[:, start:].tolist()]


def _until_end(words: list[str]) -> str:
    return " ".join(words[: words.index(lexicon.END)] if lexicon.END in words else words)


def judged(
    model: Any, questions: Sequence[language.Question], *, seed: int = 0
) -> tuple[language.Judgement, ...]:
    """The judgements of one free answer to each question (see :func:`free_answers`)."""
    answers = free_answers(model, questions, seed=seed)
    return tuple(language.judge(q, said) for q, said in zip(questions, answers, strict=True))
