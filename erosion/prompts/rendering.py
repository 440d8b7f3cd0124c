"""Words to tokens: one rendering for every model of a comparison, and spans that are found, not counted.

A chat template turns messages into text (:mod:`erosion.prompts.templates`), the text is tokenised once with
character offsets, and every span (``system``, ``user``, ``response``, …) is the range of tokens over its own
characters. Nothing is counted in tokens and no role marker is searched for, so any template works, and one
that rewrites its messages is refused rather than guessed at.

Notable: the beginning-of-sequence token stands once; a think block before the response is a span of its own
(:mod:`erosion.prompts.thinking`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Exchange, Message
from erosion.prompts.templates import (
    PLAIN_TEMPLATE,
    Rendering,
    choose_rendering,
    locate,
    to_text,
    with_system,
)
from erosion.prompts.thinking import find_block, split_thought

__all__ = [
    "PLAIN_TEMPLATE",
    "SPANS",
    "Rendered",
    "Rendering",
    "choose_rendering",
    "conversation",
    "conversation_ids",
    "end_of_turn",
    "render",
    "render_texts",
    "require_same_tokens",
]

SPANS = ("system", "user", "thinking", "response", "last_prompt", "last_response", "end_of_turn")

_MOST_UNKNOWN = 0.02


@dataclass(frozen=True)
class Rendered:
    """One exchange (or text) as tokens, with its spans as token ranges.

    ``spans[name]`` is ``(start, stop)`` in ``ids``. ``system`` is there only with a system prompt,
    ``end_of_turn`` only where the template writes something after the response, ``thinking`` only with a
    think block, which ``thinking`` says the kind of (``absent``, ``empty``, ``fixed``, ``generated``).
    """

    id: str
    question: str
    text: str = field(repr=False)
    ids: tuple[int, ...] = field(repr=False)
    spans: Mapping[str, tuple[int, int]] = field(compare=False)
    thinking: str = "absent"

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def span(self, name: str) -> tuple[int, int]:
        """The token range of one span.

        Raises:
            BadContrast: there is no such span here.
        """
        if name not in self.spans:
            there = ", ".join(self.spans)
            raise BadContrast(f"{self.id!r} has no span {name!r}: choose one of {there}.")
        return self.spans[name]


def render(exchanges: Iterable[Exchange], rendering: Rendering, tokenizer: Any) -> tuple[Rendered, ...]:
    """Every exchange as tokens with spans.

    Args:
        exchanges: what to render, in order.
        rendering: the template and system prompt, the same for every model of a comparison.
        tokenizer: a fast transformers tokenizer (offsets are needed).

    Raises:
        BadContrast: the template fails or rewrites a message; a response without a token; more than
            2% of the response tokens unknown to the tokenizer; a think block that is ambiguous; a slow
            tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise BadContrast(f"{type(tokenizer).__name__} gives no character offsets: use a fast tokenizer.")
    rendered = tuple(_render_one(exchange, rendering, tokenizer) for exchange in exchanges)
    refuse_foreign_words(rendered, tokenizer)
    return rendered


def conversation(messages: Sequence[Message], rendering: Rendering, tokenizer: Any) -> Rendered:
    """A conversation as tokens up to where the assistant begins to speak; it has no spans."""
    text = to_text(with_system(tuple(messages), rendering, tokenizer), rendering, tokenizer)
    return Rendered("conversation", "conversation", text, _tokenise(text, tokenizer)[0], {})


def conversation_ids(messages: Sequence[Message], rendering: Rendering, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of a conversation up to where the assistant begins to speak."""
    return conversation(messages, rendering, tokenizer).ids


def end_of_turn(rendering: Rendering, tokenizer: Any) -> int | None:
    """The special token that the template writes right after a response; None where it writes none."""
    messages = with_system((Message("user", "q"),), rendering, tokenizer)
    messages = (*messages, Message("assistant", "a"))
    text = to_text(messages, rendering, tokenizer)
    where = locate(text, messages, len(messages) - 1, rendering, tokenizer)
    after = "" if where is None else text[where[2] :].lstrip()
    ids = tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
    special = {
        *tokenizer.all_special_ids,
        *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special),
    }
    return ids[0] if ids and ids[0] in special else None


def render_texts(texts: Iterable[tuple[str, str]], tokenizer: Any) -> tuple[Rendered, ...]:
    """Plain texts ``(id, text)`` as tokens, without a template; the span ``response`` is all but the first.

    Raises:
        BadContrast: a text of fewer than two tokens.
    """
    result = []
    for name, text in texts:
        ids, _ = _tokenise(text, tokenizer)
        if len(ids) < 2:
            raise BadContrast(f"Text {name!r} has {len(ids)} token(s): it needs two or more.")
        result.append(Rendered(name, name, text, ids, {"response": (1, len(ids))}))
    return tuple(result)


def require_same_tokens(rendered: Sequence[Rendered], tokenizer: Any, *, model: str) -> None:
    """Refuse a model whose tokenizer reads the rendered words differently.

    Raises:
        BadContrast: the ids differ, with the first exchange and place where they do.
    """
    for one in rendered:
        ids, _ = _tokenise(one.text, tokenizer)
        if ids != one.ids:
            at = next(
                (i for i, (a, b) in enumerate(zip(ids, one.ids, strict=False)) if a != b),
                min(len(ids), len(one)),
            )
            raise BadContrast(
                f"{model} tokenizes {one.id!r} differently from the aligned model (first at token {at}; "
                f"{len(ids)} against {len(one)} tokens): the models of a triad must share a tokenizer; where "
                "only the chat template's own tokens differ, --template plain does without them."
            )


def _render_one(exchange: Exchange, rendering: Rendering, tokenizer: Any) -> Rendered:
    asked = with_system(exchange.messages, rendering, tokenizer)
    messages = (*asked, Message("assistant", exchange.response))
    places = {"response": len(asked), "user": len(asked) - 1}
    if asked[0].role == "system" and asked[0].content.strip():
        places["system"] = 0
    thought, _ = split_thought(exchange.response, name=repr(exchange.id))
    text = to_text(messages, rendering, tokenizer)
    ids, offsets = _tokenise(text, tokenizer)
    spans, where = {}, {}
    for name, index in places.items():
        found = locate(text, messages, index, rendering, tokenizer)
        if found is None:
            raise BadContrast(
                f"The chat template ({rendering.name}) rewrites the {messages[index].role} message of "
                f"{exchange.id!r}: its text is not found verbatim. Use another template."
            )
        spans[name], where[name] = _tokens_over(offsets, *found[:2]), found
    between = (where["user"][2], where["response"][0])
    state, block = find_block(text, between, thought=thought, name=repr(exchange.id))
    start, stop = spans["response"]
    if start == stop:
        raise BadContrast(
            f"The response of {exchange.id!r} tokenizes to nothing ({exchange.response[:40]!r}): "
            "give it words that the tokenizer knows."
        )
    if start == 0:
        raise BadContrast(
            f"Nothing stands before the response of {exchange.id!r}: choose a template with a prompt."
        )
    spans |= {"last_prompt": (start - 1, start), "last_response": (stop - 1, stop)}
    if block is not None:
        first, last = _tokens_over(offsets, *block)
        spans["thinking"] = (first, min(last, start))
    after = [i for i in range(stop, len(ids)) if offsets[i][0] >= where["response"][2]]
    if after:
        spans["end_of_turn"] = (after[0], after[0] + 1)
    return Rendered(exchange.id, exchange.question, text, ids, spans, state)


def _tokenise(text: str, tokenizer: Any) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Ids and character offsets; the beginning-of-sequence token stands once where the model has one."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
    beginning = tokenizer.bos_token_id
    if beginning is not None:
        if _adds_beginning(tokenizer) and ids[:1] != [beginning]:
            ids, offsets = [beginning, *ids], [(0, 0), *offsets]
        if ids[:2] == [beginning, beginning]:
            raise BadContrast(
                f"The text begins with {tokenizer.bos_token!r} twice: take it out of the template."
            )
    return tuple(ids), offsets


@lru_cache(maxsize=64)
def _adds_beginning(tokenizer: Any) -> bool:
    return tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _tokens_over(offsets: Sequence[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    over = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    return (over[0], over[-1] + 1) if over else (0, 0)


def refuse_foreign_words(rendered: Sequence[Rendered], tokenizer: Any) -> None:
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return
    tokens = [token for one in rendered for token in one.ids[slice(*one.spans["response"])]]
    share = tokens.count(unknown) / max(len(tokens), 1)
    if share > _MOST_UNKNOWN:
        raise BadContrast(
            f"The tokenizer does not know {share:.0%} of the response tokens (at most {_MOST_UNKNOWN:.0%}): "
            "the contrast is written in another language than the model's."
        )
