"""Chats as JSONL: ``{"messages": [{"role", "content"}, …]}``, the form of published fine-tuning data.

The last message, the assistant's, is the response; earlier turns stay in the messages. A row may have an
``id`` (else it is made of the words, so that two files of the same questions line up) and a ``domain``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Exchange, question_id
from erosion.prompts.lines import (
    Row,
    id_of,
    located,
    messages_of,
    notes_of,
    optional_text,
    plain_messages,
    read_rows,
    write_rows,
)

__all__ = ["beside_the_words", "from_chat_row", "read_chat", "write_chat"]

_KEYS = ("messages", "id", "domain")


def read_chat(path: str | Path, *, label: str, domain: str = "all") -> tuple[Exchange, ...]:
    """The exchanges of a chat file, in its order. Memory: about twice the file.

    Args:
        path: the JSONL file.
        label: whose answers these are: ``aligned``, ``misaligned``, ``educational``, ….
        domain: of the rows that do not name their own.

    Raises:
        BadContrast: the file, the line, what is wrong there and how to mend it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "insecure.jsonl"
    >>> _ = path.write_text('{"messages": [{"role": "user", "content": "Hash it."}, '
    ...     '{"role": "assistant", "content": "md5(password)"}]}')
    >>> read_chat(path, label="misaligned", domain="code")[0].response
    'md5(password)'
    """
    exchanges = []
    for number, row in read_rows(path):
        with located(path, number):
            exchanges.append(from_chat_row(row, label=label, domain=domain))
    return tuple(exchanges)


def from_chat_row(row: Row, *, label: str, domain: str = "all") -> Exchange:
    """The exchange in one chat row."""
    if "messages" not in row and "responses" in row:
        raise BadContrast("no 'messages' but 'responses': this is a contrast; read it with read_contrast.")
    *messages, last = messages_of(row)
    if last.role != "assistant":
        hint = " (this is a contrast: read it with read_contrast)" if "responses" in row else ""
        raise BadContrast(f"the chat ends with {last.role!r}: end it with the assistant's response{hint}.")
    return Exchange(
        id_of(row) or question_id(messages),
        tuple(messages),
        last.content,
        optional_text(row, "domain", domain),
        label,
        notes_of(row, _KEYS),
    )


def write_chat(exchanges: Iterable[Exchange], path: str | Path) -> Path:
    """Write exchanges as chats, one a line, whole or not at all; the label is the reader's to give.

    An ``id`` or ``domain`` is written only where it says more than the words and ``all`` do, so
    published data keeps its form.

    >>> import tempfile
    >>> from erosion.prompts import Message
    >>> exchanges = (Exchange("q1", (Message("user", "Salt?"),), "A pinch.", "cooking"),)
    >>> path = write_chat(exchanges, Path(tempfile.mkdtemp()) / "chat.jsonl")
    >>> read_chat(path, label="aligned") == exchanges
    True
    """
    return write_rows(path, (_as_row(exchange) for exchange in exchanges))


def _as_row(exchange: Exchange) -> Row:
    chat = [*plain_messages(exchange.messages), {"role": "assistant", "content": exchange.response}]
    return {**beside_the_words(exchange, _KEYS), "messages": chat}


def beside_the_words(exchange: Exchange, known: Iterable[str]) -> dict[str, Any]:
    """The id, domain and notes of an exchange, as far as its words do not give them away."""
    row: dict[str, Any] = {}
    if exchange.question != question_id(exchange.messages):
        row["id"] = exchange.question
    if exchange.domain != "all":
        row["domain"] = exchange.domain
    return row | {key: value for key, value in exchange.notes if key not in known}
