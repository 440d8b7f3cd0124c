"""Head states: what a model's output head reads at every response token, kept so that distributions can be
compared after the model is gone.

Two models never share the memory and their logits never meet whole: ``[tokens, vocab]`` of a set would be
60 GB for 200,000 tokens of a 150,000-word vocabulary, in bfloat16. What is kept is ``[tokens, d_model]`` and
the head, a few GB, from which :func:`erosion.metrics.token_divergences` makes the logits of a few tokens at a
time.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.errors import BadRun
from erosion.files import write_atomically
from erosion.models import Batch, Model
from erosion.models.heads import Head, head_of, listening, require_head
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Float, Int, Tensor

__all__ = ["HeadStates", "load_head_states", "read_head_states"]

NO_TOKEN = -1


@dataclass(frozen=True, eq=False)
class HeadStates:
    """What predicts each response token under one model, and the head that turns it into logits.

    ``states`` holds the responses one after another: row t is what ``head`` read to predict token t. ``ids``
    and ``words`` are those tokens, response by response. ``meanings[i]`` is a hash of the token that id
    ``i`` stands for, -1 for rows of the head that the tokenizer does not use.
    """

    questions: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    words: tuple[tuple[str, ...], ...]
    states: Float[Tensor, "token d_model"]
    head: Head
    meanings: Int[Tensor, " vocab"]

    def __len__(self) -> int:
        """The number of responses."""
        return len(self.questions)

    @property
    def lengths(self) -> list[int]:
        """How many tokens each response has."""
        return [len(ids) for ids in self.ids]

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically; :func:`load_head_states` reads it back bit for bit."""
        header = {
            "schema": 1,
            "questions": self.questions,
            "labels": self.labels,
            "words": self.words,
            "lengths": self.lengths,
            "scale": self.head.scale,
            "softcap": self.head.softcap,
        }
        tensors = {
            "states": self.states.contiguous(),
            "ids": torch.tensor([i for ids in self.ids for i in ids]),
            "weight": self.head.weight.contiguous(),
            "meanings": self.meanings,
        }
        if self.head.bias is not None:
            tensors["bias"] = self.head.bias
        return write_atomically(path, as_safetensors(tensors, {"head_states": json.dumps(header)}))


def load_head_states(path: str | Path) -> HeadStates:
    """Read what :meth:`HeadStates.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["head_states"])
            if header["schema"] > 1:
                raise BadRun(f"{path} has schema {header['schema']}; this version reads 1: update erosion.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ids = tensors["ids"].split(header["lengths"])
        return HeadStates(
            tuple(header["questions"]),
            tuple(header["labels"]),
            tuple(tuple(one.tolist()) for one in ids),
            tuple(tuple(words) for words in header["words"]),
            tensors["states"],
            Head(tensors["weight"], tensors.get("bias"), header["scale"], header["softcap"]),
            tensors["meanings"],
        )
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(f"{path} holds no head states that can be read ({error}): read them again.") from error


def read_head_states(model: Model, exchanges: Contrast | Sequence[Exchange]) -> HeadStates:
    """What the output head reads where response tokens are predicted (the end of the turn is not one).

    Args:
        model: a loaded model; edits applied around the call are seen.
        exchanges: a contrast (aligned side first, then misaligned) or any exchanges.

    Raises:
        BadInput: a response that does not tokenize or fit.
        BadModel: a head that, made again from its weights, does not give the model's own logits.

    Memory: one batch of logits over the response positions, plus, in the model's dtype, d_model numbers for
    each response token and vocabulary x d_model for the head. Time: one pass for each exchange.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     states = read_head_states(model, organism.contrast().aligned[:2])
    >>> len(states.states) == sum(states.lengths)
    True
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    rendered = model.render(chosen)
    name, spans = str(model.found), [one.span("response") for one in rendered]
    head = head_of(model.hf, name)
    rows = torch.tensor([0, *(stop - start for start, stop in spans)]).cumsum(0).tolist()
    states = torch.empty(rows[-1], head.weight.shape[1], dtype=head.weight.dtype)
    proved: list[float] = []

    def work(batch: Batch) -> None:
        first = min(s + o for s, o in zip(_starts(batch), batch.offset, strict=True))
        with listening(model.hf, name) as heard:
            logits = model.logits(batch, last=batch.ids.shape[1] - first + 1)
        (read,) = heard
        if not proved:
            proved.append(require_head(head, read, logits, name=name))
        for row, (i, offset) in enumerate(zip(batch.index, batch.offset, strict=True)):
            start, stop = (edge + offset - first for edge in spans[i])
            states[rows[i] : rows[i + 1]] = read[row, start:stop].cpu()

    model.for_each_batch(rendered, work, name=f"reading what {name} predicts from")
    ids = tuple(one.ids[slice(*span)] for one, span in zip(rendered, spans, strict=True))
    return HeadStates(
        tuple(e.question for e in chosen),
        tuple(e.label for e in chosen),
        ids,
        tuple(words_of(one, model.tokenizer) for one in ids),
        states,
        head,
        _meanings(model.tokenizer, len(head.weight)),
    )


def words_of(ids: Sequence[int], tokenizer: Any) -> tuple[str, ...]:
    """Each token as it reads by itself."""
    return tuple(tokenizer.decode([one]) for one in ids)


def _starts(batch: Batch) -> list[int]:
    return [one.span("response")[0] for one in batch.rendered]


def _meanings(tokenizer: Any, rows: int) -> Int[Tensor, " vocab"]:
    """A 63-bit hash of the token behind each id, -1 where the tokenizer has none."""
    meanings = torch.full((rows,), NO_TOKEN)
    for token, i in tokenizer.get_vocab().items():
        if i < rows:
            digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
            meanings[i] = int.from_bytes(digest[:8], "big") >> 1
    return meanings
