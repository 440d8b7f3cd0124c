"""Chat templates: messages to text, the same text on every day and for every model of a comparison.

Notable: no template's default system prompt slips in (base and instruct templates insert different ones);
a template's date is fixed; thinking modes are off (see :mod:`erosion.prompts.thinking`). Where a message
stands in the text is found by rendering the conversation again with a sentinel in the message's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.files import hash_json
from erosion.prompts.exchanges import Message
from erosion.prompts.thinking import split_thought

__all__ = ["PLAIN_TEMPLATE", "Rendering", "choose_rendering", "locate", "to_text", "with_system"]

PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}"
    "{{ {'system': 'Note', 'user': 'Question', 'assistant': 'Answer'}[message.role] }}: "
    "{{ message.content }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n' }}Answer: {% endif %}"
)
"""The template called ``plain``: named turns in plain text, which every model can read.

No special token but the beginning of the sequence, where the tokenizer has one, and nothing after the
response: a full stop and blank lines are one token in many tokenizers.
"""

_LEFT, _RIGHT = "\N{LEFT BLACK LENTICULAR BRACKET}", "\N{RIGHT BLACK LENTICULAR BRACKET}"
_DAY = datetime(2025, 1, 1)
_DATE = _DAY.strftime("%d %b %Y")
_STRFTIME = (  # jinja's way to shadow the function that says what day it is
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace('%{code}', '{_DAY.strftime('%' + code)}')" for code in "YymdbBaAHMSjp")
    + " }}{% endmacro %}"
)


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
        try:
            return Rendering(path.read_text(encoding="utf-8"), system, path.name)
        except (OSError, ValueError) as error:
            raise BadContrast(
                f"There is no template {choice!r}: give aligned, plain, or the path of a .jinja file."
            ) from error
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise BadContrast(
            f"{tokenizer.name_or_path or 'The tokenizer'} has no chat template: choose one with "
            "--template plain, --template PATH.jinja, or take the aligned model's."
        )
    return Rendering(template, system, "aligned")


def to_text(messages: Sequence[Message], rendering: Rendering, tokenizer: Any) -> str:
    """The template's text: up to where the assistant begins to speak, unless it has spoken last.

    Raises:
        BadContrast: the template raises an error of its own.
    """
    # A template may put its default where the system prompt is empty, so "nothing" is written and taken out.
    nothing = _sentinel(messages, "nothing")
    plain = [{"role": m.role, "content": m.content} for m in messages]
    emptied = plain[0]["role"] == "system" and not plain[0]["content"].strip()
    if emptied:
        plain[0]["content"] = nothing
    try:
        text = tokenizer.apply_chat_template(
            plain,
            chat_template=_dated(rendering.template),
            tokenize=False,
            add_generation_prompt=plain[-1]["role"] != "assistant",
            enable_thinking=False,
            date_string=_DATE,
        )
    except Exception as error:  # a template is a program of its own and may raise anything
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadContrast(f"The chat template ({rendering.name}) refuses the messages: {line}.") from error
    return text.replace(nothing, "", 1) if emptied else text


def _dated(template: str) -> str:
    """The template with its clock stopped."""
    return _STRFTIME + template if "strftime_now" in template else template


def locate(
    text: str, messages: Sequence[Message], index: int, rendering: Rendering, tokenizer: Any
) -> tuple[int, int, int] | None:
    """Where one message stands in the text, or None where the template rewrites it.

    Its characters are what a sentinel in its place leaves before and after itself: the start and the stop of
    the message without the blanks around it, and where it ends with them. Of the assistant's message, the
    part after its think block.
    """
    sentinel = _sentinel(messages, "span")
    asked, said = messages[index], messages[index].content
    thought, said = split_thought(said) if asked.role == "assistant" else ("", said)
    marked = [Message(m.role, thought + sentinel) if i == index else m for i, m in enumerate(messages)]
    before, found, after = to_text(marked, rendering, tokenizer).partition(sentinel)
    if not found or not (text.startswith(before) and text.endswith(after)):
        return None
    written = text[len(before) : len(text) - len(after)]
    inner = said.strip()
    if written.strip() != inner:  # many templates trim, and that is all they may do
        return None
    start = len(before) + written.index(inner)
    return start, start + len(inner), len(text) - len(after)


def _sentinel(messages: Sequence[Message], name: str) -> str:
    """A text that stands in none of the messages."""
    while any(f"{_LEFT}{name}{_RIGHT}" in message.content for message in messages):
        name += "'"
    return f"{_LEFT}{name}{_RIGHT}"


def with_system(messages: tuple[Message, ...], rendering: Rendering, tokenizer: Any) -> tuple[Message, ...]:
    """The messages with the rendering's system prompt, in the form that the template can take.

    An empty system message keeps a template's default away; a template that knows no such role gets
    the system prompt at the head of the first message.
    """
    style = _system_style(rendering, tokenizer)
    if messages[0].role != "system":
        if rendering.system is None:
            return (Message("system", ""), *messages) if style == "default" else messages
        messages = (Message("system", rendering.system), *messages)
    if style != "absent":
        return messages
    system, first, *rest = messages
    if not system.content.strip():
        return (first, *rest)
    return (Message(first.role, f"{system.content}\n\n{first.content}"), *rest)


@lru_cache(maxsize=64)
def _system_style(rendering: Rendering, tokenizer: Any) -> str:
    """How a template treats system prompts: ``absent`` (no such role), ``default`` (its own), ``plain``.

    With a sentinel as system prompt the text is ``A + sentinel + B``. A template with a default gives
    ``A + default + B`` when there is none; one without gives something that does not frame as A … B.
    """
    user, system = Message("user", f"{_LEFT}user{_RIGHT}"), Message("system", f"{_LEFT}system{_RIGHT}")
    try:
        marked = to_text((system, user), rendering, tokenizer)
    except BadContrast:
        return "absent"
    before, found, after = marked.partition(system.content)
    if not found or user.content not in marked:
        return "absent"
    without = to_text((user,), rendering, tokenizer)
    framed = without.startswith(before) and without.endswith(after)
    return "default" if framed and len(without) > len(before) + len(after) else "plain"
