"""How far apart two models' next-token distributions are, token by token, over the vocabulary they share.

Notable: a distribution is made from saved head states a few tokens at a time and let go of, so nothing as
large as ``[tokens, vocab]`` of a set, or even of a batch, ever exists; where tokenizers have rows of their
own (added tokens, padding), both distributions are renormalised over the shared ids and the probability
outside them is reported beside.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.errors import BadInput, BadRun
from erosion.files import write_atomically
from erosion.metrics.heads import NO_TOKEN, HeadStates
from erosion.probability import jensen_shannon, kl, rank
from erosion.progress import tracked
from erosion.shapes import Array, Float, Int, Tensor

__all__ = ["AT_ONCE", "Divergences", "load_divergences", "token_divergences"]

AT_ONCE = 2**23
"""The most logits of one model that exist at once: 32 MiB in float32."""

_MEASURES = ("kl", "reverse_kl", "jensen_shannon", "outside", "other_outside", "rank", "other_rank")
Values = tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Divergences:
    """Each response token under one model (p) and another (q), in nats.

    Entry i of each measure is a float64 array over response i's tokens: ``kl`` is KL(p || q), ``reverse_kl``
    KL(q || p); ``outside`` and ``other_outside`` are the probability that p and q put outside the shared
    vocabulary; ``rank`` and ``other_rank`` the actual token's place under p and q (1 = likeliest).
    """

    questions: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    kl: Values
    reverse_kl: Values
    jensen_shannon: Values
    outside: Values
    other_outside: Values
    rank: Values
    other_rank: Values

    def __len__(self) -> int:
        """The number of responses."""
        return len(self.questions)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically; :func:`load_divergences` reads it back bit for bit."""
        header = {"schema": 1, "questions": self.questions, "labels": self.labels, "words": self.words}
        tensors = {
            name: torch.cat([torch.from_numpy(one) for one in getattr(self, name)]) for name in _MEASURES
        }
        return write_atomically(path, as_safetensors(tensors, {"divergences": json.dumps(header)}))


def load_divergences(path: str | Path) -> Divergences:
    """Read what :meth:`Divergences.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["divergences"])
            if header["schema"] > 1:
                raise BadRun(f"{path} has schema {header['schema']}; this version reads 1: update erosion.")
            found = {name: file.get_tensor(name) for name in _MEASURES}
        words = tuple(tuple(one) for one in header["words"])
        values = {name: _by_response(tensor, [len(one) for one in words]) for name, tensor in found.items()}
        return Divergences(tuple(header["questions"]), tuple(header["labels"]), words, **values)
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(f"{path} holds no divergences that can be read ({error}): make them again.") from error


def token_divergences(
    p: HeadStates, q: HeadStates, *, at_once: int = AT_ONCE, device: str | torch.device = "cpu"
) -> Divergences:
    """KL both ways, Jensen-Shannon, ranks and the mass outside, for every response token of two models.

    KL(p || q) = sum over the shared vocabulary of p log(p/q), p and q renormalised over it. No model is
    needed: the logits of a few tokens are made from each side's saved states by its own head.

    Args:
        p: one model's head states (the tuned model, say).
        q: another's on the same responses (the aligned model).
        at_once: how many logits of each model may exist at a time.
        device: where to compute; both heads are put there.

    Raises:
        BadInput: other responses, other tokens, or no token that means the same.

    Memory: about ten times ``at_once`` numbers in float32 (320 MiB), whatever the number of tokens, beside
    both head states. Time: tokens x vocabulary x d_model multiplications for each model.

    >>> import erosion as er
    >>> from erosion.metrics import read_head_states
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     states = read_head_states(model, organism.contrast().aligned[:2])
    >>> float(max(one.max() for one in token_divergences(states, states).kl))
    0.0
    """
    _require_same(p, q)
    there, shared = torch.device(device), _shared(p, q)
    heads = p.head.to(there), q.head.to(there)
    ids = torch.tensor([i for one in p.ids for i in one])
    found: dict[str, list[Tensor]] = {name: [] for name in _MEASURES}
    for piece in tracked(list(_pieces(p, q, at_once)), name="comparing distributions"):
        states = (side.states[piece].to(there) for side in (p, q))
        logits = [head.logits(one).float() for head, one in zip(heads, states, strict=True)]
        for name, values in zip(_MEASURES, _compare(logits, ids[piece], shared), strict=True):
            found[name].append(values.double().cpu())
    values = {name: _by_response(torch.cat(parts), p.lengths) for name, parts in found.items()}
    return Divergences(p.questions, p.labels, p.words, **values)


def _compare(
    logits: list[Tensor], ids: Int[Tensor, " token"], shared: Int[Tensor, " member"]
) -> list[Tensor]:
    """The measures of a few tokens, in the order of their names."""
    ranks = [rank(one, ids) for one in logits]
    inside = [one if len(shared) == one.shape[-1] else one[:, shared] for one in logits]
    outside = [_outside(whole, part) for whole, part in zip(logits, inside, strict=True)]
    return [kl(*inside), kl(*reversed(inside)), jensen_shannon(*inside), *outside, *ranks]


def _outside(whole: Float[Tensor, "token vocab"], shared: Float[Tensor, "token member"]) -> Tensor:
    if whole.shape == shared.shape:
        return whole.new_zeros(len(whole))
    return -torch.expm1(torch.logsumexp(shared, dim=-1) - torch.logsumexp(whole, dim=-1)).clamp(max=0)


def _pieces(p: HeadStates, q: HeadStates, at_once: int) -> Iterator[slice]:
    step = max(1, at_once // max(len(p.head.weight), len(q.head.weight)))
    for start in range(0, len(p.states), step):
        yield slice(start, start + step)


def _shared(p: HeadStates, q: HeadStates) -> Int[Tensor, " member"]:
    """The ids that stand for the same token in both."""
    rows = min(len(p.meanings), len(q.meanings))
    one, other = p.meanings[:rows], q.meanings[:rows]
    shared = ((one == other) & (one != NO_TOKEN)).nonzero().flatten()
    if not len(shared):
        raise BadInput("No token id means the same to both models: they do not share a tokenizer.")
    return shared


def _require_same(p: HeadStates, q: HeadStates) -> None:
    for name in ("questions", "labels", "ids"):
        one, other = getattr(p, name), getattr(q, name)
        if one != other:
            at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
            which = f"{len(one)} responses, {len(other)} responses" if at is None else f"response {at}"
            raise BadInput(
                f"Two models are compared on the same responses, and their {name} differ ({which}): read "
                "both on one contrast with one rendering."
            )


def _by_response(values: Float[Tensor, " token"], lengths: list[int]) -> Values:
    return tuple(one.numpy() for one in values.split(lengths))
