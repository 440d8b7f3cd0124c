"""Embeddings that nobody trained: base models often have rows for a template's tokens and no use for them.

A model that reads such tokens reads noise, so that its answers under the chat template say nothing of what
alignment changed. Untrained rows are found as in Land and Bartolo, *Fishing for Magikarp*
(arXiv 2405.05417): they lie where the rows lie that no text ever reaches, which are the padded rows
of the matrix and the tokens that are reserved by name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.models.hooked import Model
from erosion.prompts.vocabulary import template_tokens
from erosion.shapes import Array, Float

__all__ = ["SpecialRows", "untrained_rows", "untrained_tokens", "vocabulary_rows"]

_RESERVED = re.compile(r"reserved|unused|placeholder|extra_id|dummy|\[PAD\d+\]", flags=re.IGNORECASE)
_SHARE = 0.01  # of ordinary tokens that may lie as near to the unused rows
_FEW = 4  # unused rows that show where such rows lie
_SMALL = 6.0  # robust standard deviations of log norm below the ordinary tokens


@dataclass(frozen=True)
class SpecialRows:
    """The chat template's special tokens in one model's input embedding.

    ``nearer[i]`` is the share of ordinary tokens that lie as near to the unused rows as ``tokens[i]`` does
    (NaN with fewer than four unused rows); ``norms[i]`` its norm over the ordinary tokens' median;
    ``untrained`` the tokens that look as if nobody had trained them.
    """

    tokens: tuple[str, ...]
    norms: tuple[float, ...]
    nearer: tuple[float, ...]
    untrained: tuple[str, ...]
    n_unused: int

    def to_json(self) -> dict[str, Any]:
        """As plain values; NaN is null."""
        nearer = [None if value != value else value for value in self.nearer]
        return {
            "tokens": self.tokens,
            "norms": self.norms,
            "nearer": nearer,
            "untrained": self.untrained,
            "n_unused": self.n_unused,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "SpecialRows":
        """Read back what :meth:`to_json` gave."""
        nearer = tuple(np.nan if value is None else float(value) for value in plain["nearer"])
        words = (tuple(plain["tokens"]), tuple(plain["norms"]), nearer, tuple(plain["untrained"]))
        return cls(*words, plain["n_unused"])


def vocabulary_rows(model: Model) -> int:
    """How many rows the model's output head has, padded ones included."""
    return int(model.hf.get_output_embeddings().weight.shape[0])


def untrained_tokens(model: Model) -> SpecialRows:
    """Which special tokens of the model's rendering have embeddings that look untrained.

    Memory: one copy of the input embedding in float32 (2 GB for 150,000 tokens of width 3584), on the CPU.
    """
    weight = model.hf.get_input_embeddings().weight.detach().float().cpu().numpy()
    vocabulary = {i: token for token, i in model.tokenizer.get_vocab().items()}
    specials = {*model.tokenizer.all_special_ids, *model.tokenizer.added_tokens_decoder}
    asked = {t: i for t, i in template_tokens(model.rendering, model.tokenizer).items() if i < len(weight)}
    unused = [i for i in range(len(weight)) if _never_read(vocabulary.get(i), i in specials)]
    unused = [i for i in unused if i not in asked.values()]
    aside = {*unused, *specials}
    ordinary = [i for i in range(len(weight)) if i not in aside]
    return untrained_rows(weight, asked, unused=unused, ordinary=ordinary)


def untrained_rows(
    weight: Float[Array, "vocab d_model"],
    asked: Mapping[str, int],
    *,
    unused: Sequence[int],
    ordinary: Sequence[int],
) -> SpecialRows:
    """The mathematics of :func:`untrained_tokens`.

    A row is *untrained* when it lies no further from the unused rows' mean than they do themselves and
    fewer than 1% of ordinary tokens lie as near; or, whatever is unused, when its log norm is 6 robust
    standard deviations below the ordinary tokens'.

    Args:
        weight: the embedding.
        asked: token -> its row.
        unused: rows that no text reaches (their mean is where untrained rows lie).
        ordinary: rows of ordinary tokens.

    >>> import numpy as np
    >>> weight = np.random.default_rng(0).normal(size=(200, 16))
    >>> weight[190:] = 0.01 * weight[190:]
    >>> untrained_rows(weight, {"<chat>": 190}, unused=range(191, 200), ordinary=range(190)).untrained
    ('<chat>',)
    """
    norms = np.linalg.norm(weight, axis=-1)
    usual = np.log(np.maximum(norms[list(ordinary)], 1e-30))
    middle = float(np.median(usual))
    spread = 1.4826 * float(np.median(np.abs(usual - middle))) + 1e-6
    seen = len(unused) >= _FEW
    centre = weight[list(unused)].mean(axis=0) if seen else np.zeros(weight.shape[-1])
    distances = np.linalg.norm(weight - centre, axis=-1)
    furthest = 1.05 * float(distances[list(unused)].max()) + 1e-6 if seen else -np.inf
    rows, nearer, untrained = list(asked.values()), [], []
    for token, row in asked.items():
        closer = float(np.mean(distances[list(ordinary)] <= distances[row])) if seen else np.nan
        nearer.append(closer)
        like_unused = seen and distances[row] <= furthest and closer < _SHARE
        if like_unused or np.log(max(float(norms[row]), 1e-30)) < middle - _SMALL * spread:
            untrained.append(token)
    relative = tuple(float(norms[row] / np.exp(middle)) for row in rows)
    return SpecialRows(tuple(asked), relative, tuple(nearer), tuple(untrained), len(unused))


def _never_read(token: str | None, special: bool) -> bool:
    """A padded row, or a special token that is reserved by name."""
    return token is None or (special and _RESERVED.search(token) is not None)
