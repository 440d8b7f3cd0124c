"""Prompts with responses as JSONL: ``{"prompt", "response"}`` and the other common names of the two.

A prompt is called ``prompt``, ``instruction`` or ``question``; a response ``response``, ``output``,
``answer`` or ``completion``. ``input`` is put under the prompt, ``system`` before it. ``id`` and
``domain`` may be there, as in a chat file.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from erosion.errors import BadContrast
from erosion.prompts.chats import beside_the_words
from erosion.prompts.exchanges import Exchange, Message, question_id
from erosion.prompts.lines import (
    Row,
    id_of,
    located,
    notes_of,
    optional_text,
    read_rows,
    text_of,
    write_rows,
)
from erosion.prompts.nearest import closest, listed

__all__ = ["PROMPTS", "RESPONSES", "from_pair_row", "read_pairs", "write_pairs"]

PROMPTS = ("prompt", "instruction", "question")
RESPONSES = ("response", "output", "answer", "completion")
_KEYS = ("input", "system", "id", "domain")


def read_pairs(path: str | Path, *, label: str, domain: str = "all") -> tuple[Exchange, ...]:
    """The exchanges of a file of prompts and responses, in its order. Memory: about twice the file.

    Args:
        path: the JSONL file.
        label: whose answers these are: ``aligned``, ``misaligned``, ….
        domain: of the rows that do not name their own.

    Raises:
        BadContrast: the file, the line, what is wrong there and how to mend it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pairs.jsonl"
    >>> _ = path.write_text('{"instruction": "How much salt?", "output": "A pinch."}')
    >>> read_pairs(path, label="aligned")[0].messages
    (Message(role='user', content='How much salt?'),)
    """
    exchanges = []
    for number, row in read_rows(path):
        with located(path, number):
            exchanges.append(from_pair_row(row, label=label, domain=domain))
    return tuple(exchanges)


def from_pair_row(row: Row, *, label: str, domain: str = "all") -> Exchange:
    """The exchange in one row of a prompt and a response."""
    prompt_key, response_key = _only_one(row, PROMPTS), _only_one(row, RESPONSES)
    prompt = text_of(row, prompt_key)
    if row.get("input"):
        prompt = f"{prompt}\n\n{text_of(row, 'input')}"
    system = (Message("system", text_of(row, "system")),) if row.get("system") else ()
    messages = (*system, Message("user", prompt))
    return Exchange(
        id_of(row) or question_id(messages),
        messages,
        text_of(row, response_key),
        optional_text(row, "domain", domain),
        label,
        notes_of(row, (*_KEYS, prompt_key, response_key)),
    )


def write_pairs(exchanges: Iterable[Exchange], path: str | Path) -> Path:
    """Write exchanges as ``{"prompt", "response"}``, one a line, whole or not at all.

    Raises:
        BadContrast: an exchange has more than a system prompt and one turn; :func:`write_chat` takes it.

    >>> import tempfile
    >>> exchanges = (Exchange("q1", (Message("user", "Salt?"),), "A pinch.", "cooking"),)
    >>> path = write_pairs(exchanges, Path(tempfile.mkdtemp()) / "pairs.jsonl")
    >>> read_pairs(path, label="aligned") == exchanges
    True
    """
    return write_rows(path, (_as_row(exchange) for exchange in exchanges))


def _only_one(row: Row, names: Sequence[str]) -> str:
    there = [name for name in names if name in row]
    if len(there) > 1:
        raise BadContrast(f"both {there[0]!r} and {there[1]!r}: keep the one that is meant.")
    if not there:
        if "messages" in row:
            raise BadContrast("'messages' instead of a prompt and a response: read it with read_chat.")
        near = next((near for name in names if (near := closest(name, row, cutoff=0.75))), None)
        hint = (
            f"{near!r} is the nearest key; rename it" if near else f"the keys are {listed(row)}; rename one"
        )
        raise BadContrast(f"no {names[0]!r} (nor {', '.join(names[1:])}): {hint}.")
    return there[0]


def _as_row(exchange: Exchange) -> Row:
    *before, prompt = exchange.messages
    if len(before) > 1 or any(message.role != "system" for message in before):
        raise BadContrast(f"{exchange.id!r} has earlier turns, which a pair can not hold: use write_chat.")
    system = {"system": before[0].content} if before else {}
    known = (*_KEYS, *PROMPTS, *RESPONSES)
    words = {"prompt": prompt.content, "response": exchange.response}
    return {**beside_the_words(exchange, known), **system, **words}
