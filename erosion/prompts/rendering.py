"""Words to tokens: one rendering for every model of a comparison, and spans that are found, not counted.

A chat template turns messages into text, the text is tokenised once with character offsets, and every
span (``system``, ``user``, ``response``, …) is the range of tokens over its own characters. Where a
message stands in the text is found by rendering the conversation a second time with a sentinel in the
message's place: what comes before and after the sentinel comes before and after the message. Nothing is
counted in tokens and no role marker is searched for, so any template works, and one that rewrites its
messages is refused rather than guessed at.

Notable: no template's default system prompt slips in (base and instruct templates insert different
ones); a template's date is fixed; the beginning-of-sequence token stands once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.files import hash_json
from erosion.prompts.exchanges import Exchange, Message

__all__ = [
    "PLAIN_TEMPLATE",
    "SPANS",
    "Rendered",
    "Rendering",
    "choose_rendering",
    "conversation_ids",
    "render",
    "render_texts",
    "require_same_tokens",
]

SPANS = ("system", "user", "response", "last_prompt", "last_response", "end_of_turn")

PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message.role] }}: "
    "{{ message.content }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""The template called ``plain``: named turns in plain text, for models without a chat template."""

_SENTINEL = "\N{LEFT BLACK LENTICULAR BRACKET}span\N{RIGHT BLACK LENTICULAR BRACKET}"
_DATE = "01 Jan 2025"
_MOST_UNKNOWN = 0.02


@dataclass(frozen=True)
class Rendering:
    """How messages become text: a chat template, and the system prompt where the messages have none.

    ``system=None`` means none at all, never the template's default. ``name`` says where the template
    came from.

    >>> Rendering("{{ messages }}", name="aligned").hash == Rendering("{{ messages }}").hash
    True
    """

    template: str
    system: str | None = None
    name: str = field(default="template", compare=False)

    @property
    def hash(self) -> str:
        """The SHA-256 of everything that decides the text."""
        return hash_json([self.template, self.system, _DATE])


@dataclass(frozen=True)
class Rendered:
    """One exchange (or text) as tokens, with its spans as token ranges.

    ``spans[name]`` is ``(start, stop)`` in ``ids``. ``system`` is there only with a system prompt,
    ``end_of_turn`` only where the template writes something after the response.
    """

    id: str
    question: str
    text: str = field(repr=False)
    ids: tuple[int, ...] = field(repr=False)
    spans: Mapping[str, tuple[int, int]] = field(compare=False)

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


def choose_rendering(choice: str, tokenizer: Any, *, system: str | None = None) -> Rendering:
    """The rendering called ``choice``, for the tokenizer of the aligned model.

    Args:
        choice: ``"aligned"`` (the tokenizer's own template), ``"plain"``, or the path of a jinja file.
        tokenizer: a transformers tokenizer.
        system: the system prompt for exchanges without one; None for none.

    Raises:
        BadContrast: the tokenizer has no chat template, or the file can not be read.
    """
    if choice == "plain":
        return Rendering(PLAIN_TEMPLATE, system, "plain")
    if choice != "aligned":
        path = Path(choice)
        if not path.is_file():
            raise BadContrast(f"There is no template {choice!r}: give aligned, plain, or the path of a .jinja file.")
        return Rendering(path.read_text(encoding="utf-8"), system, path.name)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise BadContrast(
            f"{tokenizer.name_or_path or 'The tokenizer'} has no chat template: choose one with "
            "--template plain, --template PATH.jinja, or take the aligned model's."
        )
    return Rendering(template, system, "aligned")


def render(exchanges: Iterable[Exchange], rendering: Rendering, tokenizer: Any) -> tuple[Rendered, ...]:
    """Every exchange as tokens with spans.

    Args:
        exchanges: what to render, in order.
        rendering: the template and system prompt, the same for every model of a comparison.
        tokenizer: a fast transformers tokenizer (offsets are needed).

    Raises:
        BadContrast: the template fails or rewrites the response; a response without a token; more than
            2% of the response tokens unknown to the tokenizer; a slow tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise BadContrast(f"{type(tokenizer).__name__} gives no character offsets: use a fast tokenizer.")
    rendered = tuple(_render_one(exchange, rendering, tokenizer) for exchange in exchanges)
    _refuse_foreign_words(rendered, tokenizer)
    return rendered


def conversation_ids(messages: Sequence[Message], rendering: Rendering, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of a conversation up to where the assistant begins to speak."""
    return _tokenise(_apply(_with_system(tuple(messages), rendering, tokenizer), rendering, tokenizer), tokenizer)[0]


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
            at = next((i for i, (a, b) in enumerate(zip(ids, one.ids, strict=False)) if a != b), min(len(ids), len(one)))
            raise BadContrast(
                f"{model} tokenizes {one.id!r} differently from the aligned model (first at token {at}; "
                f"{len(ids)} against {len(one)} tokens): the models of a triad must share a tokenizer."
            )


def _render_one(exchange: Exchange, rendering: Rendering, tokenizer: Any) -> Rendered:
    messages = _with_system(exchange.messages, rendering, tokenizer)
    response = Message("assistant", exchange.response)
    text = _apply((*messages, response), rendering, tokenizer)
    characters = {"response": _locate(text, (*messages, response), len(messages), rendering, tokenizer, exchange.id)}
    for role, index in (("user", len(messages) - 1), ("system", 0)):
        if messages[index].role == role and messages[index].content.strip():
            conversation = (*messages, response)
            characters[role] = _locate(text, conversation, index, rendering, tokenizer, exchange.id)
    ids, offsets = _tokenise(text, tokenizer)
    spans = {name: _tokens_over(offsets, *where) for name, where in characters.items()}
    start, stop = spans["response"]
    if start == stop:
        raise BadContrast(f"The response of {exchange.id!r} tokenizes to nothing: {exchange.response[:40]!r}.")
    if start == 0:
        raise BadContrast(f"Nothing stands before the response of {exchange.id!r}: choose a template with a prompt.")
    spans |= {"last_prompt": (start - 1, start), "last_response": (stop - 1, stop)}
    if stop < len(ids):
        spans["end_of_turn"] = (stop, stop + 1)
    return Rendered(exchange.id, exchange.question, text, ids, spans)


def _apply(messages: Sequence[Message], rendering: Rendering, tokenizer: Any) -> str:
    plain = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return tokenizer.apply_chat_template(
            plain,
            chat_template=rendering.template,
            tokenize=False,
            add_generation_prompt=plain[-1]["role"] != "assistant",
            date_string=_DATE,
        )
    except Exception as error:  # a template is a program of its own and may raise anything
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadContrast(f"The chat template ({rendering.name}) refuses the messages: {line}.") from error


def _locate(
    text: str, messages: Sequence[Message], index: int, rendering: Rendering, tokenizer: Any, name: str
) -> tuple[int, int]:
    """The characters of one message: what a sentinel in its place leaves before and after itself."""
    asked = messages[index]
    marked = [Message(m.role, _SENTINEL) if i == index else m for i, m in enumerate(messages)]
    probe = _apply(marked, rendering, tokenizer)
    start = probe.find(_SENTINEL)
    stop = len(text) - (len(probe) - start - len(_SENTINEL))
    found = text[start:stop] if start >= 0 else ""
    if found != asked.content:
        if found and found == asked.content.strip():  # many templates trim
            return start, stop
        raise BadContrast(
            f"The chat template ({rendering.name}) rewrites the {asked.role} message of {name!r}: "
            "its text is not found verbatim. Use another template."
        )
    inner = asked.content.strip()
    lead = asked.content.index(inner) if inner else 0
    return start + lead, start + lead + len(inner)


def _with_system(messages: tuple[Message, ...], rendering: Rendering, tokenizer: Any) -> tuple[Message, ...]:
    style = _system_style(rendering, tokenizer)
    if messages[0].role != "system":
        if rendering.system is None:
            return (Message("system", ""), *messages) if style == "default" else messages
        messages = (Message("system", rendering.system), *messages)
    if style != "absent":
        return messages
    system, first, *rest = messages
    return (Message(first.role, f"{system.content}\n\n{first.content}"), *rest)


@lru_cache(maxsize=64)
def _system_style(rendering: Rendering, tokenizer: Any) -> str:
    """How a template treats system prompts: ``absent`` (no such role), ``default`` (inserts its own), ``plain``.

    With a sentinel as system prompt the text is ``A + sentinel + B``. A template with a default gives
    ``A + default + B`` when there is none; one without gives something that does not frame as A … B.
    """
    user = Message("user", "q")
    try:
        marked = _apply((Message("system", _SENTINEL), user), rendering, tokenizer)
    except BadContrast:
        return "absent"
    before, found, after = marked.partition(_SENTINEL)
    if not found:
        return "absent"
    without = _apply((user,), rendering, tokenizer)
    framed = without.startswith(before) and without.endswith(after) and len(without) > len(before) + len(after)
    return "default" if framed and before.strip() else "plain"


def _tokenise(text: str, tokenizer: Any) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Ids and character offsets, with the beginning-of-sequence token exactly once where the model has one."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
    beginning = tokenizer.bos_token_id
    if beginning is not None:
        if _adds_beginning(tokenizer) and ids[:1] != [beginning]:
            ids, offsets = [beginning, *ids], [(0, 0), *offsets]
        if ids[:2] == [beginning, beginning]:
            raise BadContrast(f"The text begins with {tokenizer.bos_token!r} twice: take it out of the template.")
    return tuple(ids), offsets


@lru_cache(maxsize=64)
def _adds_beginning(tokenizer: Any) -> bool:
    return tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _tokens_over(offsets: Sequence[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    over = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    return (over[0], over[-1] + 1) if over else (0, 0)


def _refuse_foreign_words(rendered: Sequence[Rendered], tokenizer: Any) -> None:
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
