"""Files of rows, read strictly: every refusal is one line with the file, the line, the fact and the remedy.

Notable: a byte-order mark and Windows line ends are accepted; a key that stands twice, NaN and half a
surrogate pair are refused where they stand, not where a tokenizer trips over them; a key that looks
like a misspelt known one is refused, any other is a note.
"""

import contextlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.files import write_atomically
from erosion.prompts.exchanges import Message, Note
from erosion.prompts.nearest import closest, listed

__all__ = [
    "Row",
    "id_of",
    "located",
    "messages_of",
    "notes_of",
    "optional_text",
    "plain_messages",
    "read_rows",
    "read_text",
    "text_of",
    "write_rows",
]

Row = Mapping[str, Any]


@contextlib.contextmanager
def located(path: str | Path, line: int | None = None) -> Iterator[None]:
    """Say which file and line a refusal inside the block is about."""
    try:
        yield
    except BadContrast as error:
        where = f"{path}" if line is None else f"{path}, line {line}"
        raise BadContrast(f"{where}: {error}") from error


def read_text(path: str | Path) -> str:
    """The whole of a UTF-8 file, without byte-order mark, its lines ending in a line feed.

    Raises:
        BadContrast: missing, a folder, empty, or not UTF-8.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadContrast(_missing(path)) from None
    except IsADirectoryError:
        inside = listed(sorted(p.name for p in path.glob("*.jsonl")), most=3)
        raise BadContrast(
            f"{path} is a folder: name a file in it{f' ({inside})' if inside else ''}."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise BadContrast(
            f"{path}, line {line}: not UTF-8 (byte {byte:#04x}); save the file as UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadContrast(f"Cannot read {str(path)!r}: {why}. Give a file that can be read.") from error
    if not text.strip():
        raise BadContrast(f"{path} is empty: give a file with at least one row.")
    return text.replace("\r\n", "\n")


def _missing(path: Path) -> str:
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = closest(path.name, beside)
    return f"There is no file {path}: {f'did you mean {near!r}?' if near else 'check the path.'}"


def read_rows(path: str | Path) -> list[tuple[int, Row]]:
    """The objects of a JSONL file with their line numbers; blank lines are skipped. Memory: the file.

    Raises:
        BadContrast: the file can not be read, or a line is not one JSON object.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            with located(path, number):
                rows.append((number, _row(line)))
    return rows


def _row(line: str) -> Row:
    try:
        row = _decoder.decode(line)
    except BadContrast:
        raise
    except RecursionError:
        raise BadContrast("the object is nested too deeply: write a flat one.") from None
    except ValueError as error:
        at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadContrast(f"not JSON: {what}{at}; write one whole object on each line.") from None
    if not isinstance(row, dict):
        raise BadContrast(f"{_kind(row)} instead of an object: write one {{…}} on each line.")
    if "\\u" in line:
        _encoded(row)
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise BadContrast(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands twice: keep one.")
    return row


def _no_constant(name: str) -> None:
    raise BadContrast(f"{name} is not JSON: give a number or null.")


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _encoded(row: Row) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise BadContrast(
            f"half a surrogate pair ({half!a}) is not text: write the whole character."
        ) from None


def write_rows(path: str | Path, rows: Iterable[Row]) -> Path:
    """Write objects as JSONL, whole or not at all, in UTF-8. Memory: one row.

    Raises:
        BadContrast: a text that UTF-8 can not hold.
    """
    return write_atomically(path, (_encoded(row) + b"\n" for row in rows))


def text_of(row: Row, key: str) -> str:
    """The non-empty text under ``key``.

    >>> text_of({"domian": "pets"}, "domain")
    Traceback (most recent call last):
    erosion.errors.BadContrast: no 'domain': 'domian' is the nearest key; rename it.
    """
    if key not in row:
        near = closest(key, row)
        there = f"{near!r} is the nearest key; rename it" if near else f"the keys are {listed(row)}; add it"
        raise BadContrast(f"no {key!r}: {there}.")
    value = row[key]
    if not isinstance(value, str):
        raise BadContrast(f"{key!r} is {_kind(value)}: write it as text.")
    if not value.strip():
        raise BadContrast(f"{key!r} is empty: give it text or drop the row.")
    return value


def optional_text(row: Row, key: str, default: str) -> str:
    """The text under ``key``, or ``default`` where the row has no such key."""
    return text_of(row, key) if row.get(key) is not None else default


def id_of(row: Row) -> str | None:
    """The row's own ``id`` (text or a whole number), or None."""
    value = row.get("id")
    if value is None:
        return None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_of(row, "id")


def messages_of(row: Row, key: str = "messages") -> tuple[Message, ...]:
    """The chat under ``key``: a list of ``{"role", "content"}``; what else a message says is dropped."""
    turns = row[key] if key in row else text_of(row, key)
    if not isinstance(turns, list) or not turns:
        raise BadContrast(f'{key!r} is {_kind(turns)}: write a list of {{"role": …, "content": …}}.')
    return tuple(_message(turn, number, key) for number, turn in enumerate(turns, 1))


def _message(turn: Any, number: int, key: str) -> Message:
    if not isinstance(turn, Mapping):
        raise BadContrast(f'{key!r}, message {number} is {_kind(turn)}: write {{"role": …, "content": …}}.')
    try:
        content = turn.get("content")
        return Message(text_of(turn, "role"), content if content == "" else text_of(turn, "content"))
    except BadContrast as error:
        raise BadContrast(f"{key!r}, message {number}: {error}") from None


def plain_messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    """A chat as a file holds it: a list of ``{"role", "content"}``."""
    return [{"role": message.role, "content": message.content} for message in messages]


def notes_of(row: Row, known: Collection[str]) -> tuple[tuple[str, Note], ...]:
    """What the row says beside the ``known`` keys: text, numbers, true, false and null; the rest is dropped.

    Raises:
        BadContrast: a key is one slip away from a known one that is not there.
    """
    if not row.keys() - set(known):
        return ()
    for key in row.keys() - set(known):
        meant = closest(key, [k for k in known if k not in row], cutoff=0.82)
        if meant:
            raise BadContrast(f"unknown key {key!r}: did you mean {meant!r}? Rename it.")
    return tuple((key, value) for key, value in row.items() if key not in known and _is_simple(value))


def _is_simple(value: Any) -> bool:
    return isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    name = _KINDS.get(type(value), type(value).__name__)
    return f"{name} without content" if isinstance(value, list | dict | str) and not value else name


_KINDS = {
    list: "a list",
    dict: "an object",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
}
