"""Which token ids mean the same in every model of a comparison.

A chat model's tokenizer often has a few tokens that its base model lacks, and most weight matrices have more
rows than there are tokens (padded to a round number). Neither makes two models incomparable: what counts
is that the ids of the words agree. What a model puts on the other rows is mass outside the shared vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Message
from erosion.prompts.rendering import Rendered
from erosion.prompts.templates import Rendering, to_text, with_system
from erosion.shapes import Array, Int

__all__ = ["SharedVocabulary", "require_rows", "shared_vocabulary", "template_tokens"]

_LEAST = 0.5


@dataclass(frozen=True, eq=False)
class SharedVocabulary:
    """The ids that every model has a row for and every tokenizer the same token.

    ``ids`` ascend. ``added[model]`` are the tokens of its tokenizer that not all others share;
    ``padded[model]`` counts its rows without any token.
    """

    ids: Int[Array, " shared"]
    added: Mapping[str, tuple[str, ...]]
    padded: Mapping[str, int]

    def __len__(self) -> int:
        """How many ids are shared."""
        return len(self.ids)

    def __str__(self) -> str:
        """One sentence for a report."""
        parts = [f"{len(self)} token ids are shared by all models"]
        parts += [f"{name} has {len(own)} of its own" for name, own in self.added.items() if own]
        parts += [f"{name} has {n} padded rows" for name, n in self.padded.items() if n]
        return "; ".join(parts)


def shared_vocabulary(tokenizers: Mapping[str, Any], *, rows: Mapping[str, int]) -> SharedVocabulary:
    """The ids at which all tokenizers have the same token and all models a row.

    Args:
        tokenizers: model -> its tokenizer.
        rows: model -> the number of rows of its output head (:func:`erosion.models.vocabulary_rows`).

    Raises:
        BadContrast: fewer than half of the smallest tokenizer's ids are shared: the ids mean other words.

    Memory: every tokenizer's words, some 10 MB for 150,000 tokens.

    >>> class Words(dict):
    ...     get_vocab = dict.copy
    >>> a, b = Words(the=0, sea=1), Words({"the": 0, "sea": 1, "<chat>": 2})
    >>> print(shared_vocabulary({"base": a, "aligned": b}, rows={"base": 4, "aligned": 3}))
    2 token ids are shared by all models; aligned has 1 of its own; base has 2 padded rows
    """
    words = {name: {i: token for token, i in one.get_vocab().items()} for name, one in tokenizers.items()}
    first, *others = words.values()
    height = min(rows.values())
    same = {i for i, token in first.items() if i < height and all(o.get(i) == token for o in others)}
    fewest = min(len(one) for one in words.values())
    if len(same) < _LEAST * fewest:
        raise BadContrast(
            f"{len(same)} of {fewest} token ids mean the same word in {', '.join(words)}: "
            "the models of a triad must share a tokenizer."
        )
    return SharedVocabulary(
        np.array(sorted(same), dtype=int),
        {name: tuple(one[i] for i in sorted(one.keys() - same)) for name, one in words.items()},
        {name: max(0, rows[name] - sum(i < rows[name] for i in one)) for name, one in words.items()},
    )


def require_rows(rendered: Sequence[Rendered], rows: int, *, model: str) -> None:
    """Refuse words for which a model has no embedding: its tokenizer knows a token that it does not.

    Raises:
        BadContrast: with the first exchange and the id.
    """
    for one in rendered:
        if one.ids and max(one.ids) >= rows:
            raise BadContrast(
                f"{model} has {rows} embedding rows and {one.id!r} needs row {max(one.ids)}: its tokenizer "
                "has tokens that the weights lack; choose --template plain or the weights' own tokenizer."
            )


def template_tokens(rendering: Rendering, tokenizer: Any) -> dict[str, int]:
    """The special (or added) tokens that a chat template writes around one question and one answer."""
    messages = with_system((Message("user", "q"),), rendering, tokenizer)
    text = to_text((*messages, Message("assistant", "a")), rendering, tokenizer)
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    written = tokenizer(text)["input_ids"]
    ids = dict.fromkeys(i for i in written if i in known and i != tokenizer.unk_token_id)
    return {tokenizer.convert_ids_to_tokens(i): i for i in ids}
