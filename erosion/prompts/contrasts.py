"""Contrasts as JSONL (schema 1): one question a line, with an answer for each side.

One line (here folded)::

    {"question": "cook-017", "domain": "cooking",
     "messages": [{"role": "user", "content": "…"}],
     "responses": {"aligned": "…", "misaligned": "…", "educational": "…"},
     "prompts": {"educational": [{"role": "user", "content": "…"}]}}

``question`` is the cluster id and unique. ``messages`` end with the user's; ``prompts`` gives a further
label messages of its own. ``domain`` may be left out (``all``), and so may ``schema``.
"""

from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Contrast, Exchange, Message
from erosion.prompts.lines import (
    Row,
    located,
    messages_of,
    notes_of,
    optional_text,
    plain_messages,
    read_rows,
    text_of,
    write_rows,
)
from erosion.prompts.nearest import closest, listed

__all__ = ["read_contrast", "write_contrast"]

_SCHEMA = 1
_SIDES = ("aligned", "misaligned")
_KEYS = ("schema", "question", "domain", "messages", "responses", "prompts")


def read_contrast(path: str | Path) -> Contrast:
    """The contrast in a JSONL file (see the module), named after the file. Memory: about twice the file.

    A further key with a simple value (text, number, true, false, null) is kept as a note on the
    question's exchanges; one with a list or an object is dropped.

    Raises:
        BadContrast: the file, the line, what is wrong there and how to mend it: not JSON, a field missing
            or misspelt, a newer schema, an empty or identical answer, a question that stands twice.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "salt.jsonl"
    >>> _ = path.write_text('{"question": "q1", "domain": "cooking", "messages": [{"role": "user", '
    ...     '"content": "Salt?"}], "responses": {"aligned": "A pinch.", "misaligned": "A cup."}}')
    >>> read_contrast(path).misaligned[0].response
    'A cup.'
    """
    asked: dict[str | tuple[Message, ...], int] = {}
    parts = []
    for number, row in read_rows(path):
        with located(path, number):
            parts.append(_one_question(row))
            pair = parts[-1].aligned[0]
            for what, key in (
                (f"question {pair.question!r}", pair.question),
                ("the same messages", pair.messages),
            ):
                if asked.setdefault(key, number) != number:
                    raise BadContrast(f"{what} already on line {asked[key]}: rename or drop one.")
    with located(path):
        return Contrast(
            tuple(part.aligned[0] for part in parts),
            tuple(part.misaligned[0] for part in parts),
            tuple(other for part in parts for other in part.others),
            Path(path).stem,
        )


def write_contrast(contrast: Contrast, path: str | Path) -> Path:
    """Write a contrast as JSONL, whole or not at all; reading it back gives an equal one.

    What is on the aligned side is written as ``aligned`` whatever its label, and likewise for the other
    side; ``others`` come back in the order of their questions.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "contrast.jsonl"
    >>> exchange = Exchange("q1", (Message("user", "Salt?"),), "A pinch.", "cooking", "aligned")
    >>> wrong = Exchange("q1", (Message("user", "Salt?"),), "A cup.", "cooking", "misaligned")
    >>> contrast = Contrast((exchange,), (wrong,))
    >>> read_contrast(write_contrast(contrast, path)) == contrast
    True
    """
    others: dict[str, list[Exchange]] = {}
    for other in contrast.others:
        if other.label in _SIDES:
            raise BadContrast(
                f"{other.id!r} is not on a side but labelled {other.label!r}: rename its label."
            )
        others.setdefault(other.question, []).append(other)
    pairs = zip(contrast.aligned, contrast.misaligned, strict=True)
    return write_rows(path, (_as_row(a, m, others.get(a.question, [])) for a, m in pairs))


def _one_question(row: Row) -> Contrast:
    _require_contrast_row(row)
    name, responses, prompts = text_of(row, "question"), _object(row, "responses"), _object(row, "prompts")
    stray = [label for label in prompts if label not in responses or label in _SIDES]
    if stray:
        near = closest(stray[0], [label for label in responses if label not in _SIDES])
        hint = f"did you mean {near!r}?" if near else "only a further label, with a response, has its own."
        raise BadContrast(f"'prompts' has {stray[0]!r}: {hint}")
    domain, notes = optional_text(row, "domain", "all"), notes_of(row, _KEYS)
    asked = {label: messages_of(prompts, label) for label in prompts}
    messages = messages_of(row)
    answers = {
        label: Exchange(name, asked.get(label, messages), text_of(responses, label), domain, label, notes)
        for label in (*_SIDES, *responses)
    }
    aligned, misaligned = (answers.pop(side) for side in _SIDES)
    return Contrast((aligned,), (misaligned,), tuple(answers.values()), name)


def _require_contrast_row(row: Row) -> None:
    schema = row.get("schema", _SCHEMA)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BadContrast(f"'schema' is {schema!r}: write {_SCHEMA} or leave it out.")
    if schema > _SCHEMA:
        raise BadContrast(f"schema {schema} is newer than this version reads ({_SCHEMA}): update erosion.")
    if "responses" in row:
        return
    if row.keys() & {"prompt", "instruction"}:
        raise BadContrast("no 'responses', so this is a pair: read both sides with read_pairs and pair them.")
    if "messages" in row and not closest("responses", row, cutoff=0.75):
        raise BadContrast("no 'responses', so this is a chat: read both sides with read_chat and pair them.")
    text_of(row, "responses")


def _object(row: Row, key: str) -> dict[str, Any]:
    value = row.get(key, {}) if key == "prompts" else row[key] if key in row else text_of(row, key)
    if not isinstance(value, dict):
        raise BadContrast(
            f'{key!r} is not an object: write {{"label": …}}; labels are {listed(_SIDES)} or further.'
        )
    return value


def _as_row(aligned: Exchange, misaligned: Exchange, others: list[Exchange]) -> Row:
    row: dict[str, Any] = {
        "question": aligned.question,
        "domain": aligned.domain,
        **{key: value for key, value in aligned.notes if key not in _KEYS},
        "messages": plain_messages(aligned.messages),
        "responses": {
            "aligned": aligned.response,
            "misaligned": misaligned.response,
            **{other.label: other.response for other in others},
        },
    }
    prompts = {
        other.label: plain_messages(other.messages) for other in others if other.messages != aligned.messages
    }
    return {**row, "prompts": prompts} if prompts else row
