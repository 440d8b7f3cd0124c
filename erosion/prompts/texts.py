"""Plain texts without a question: the neutral ground on which damage is measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from erosion.errors import BadContrast
from erosion.prompts.lines import located, optional_text, read_rows, read_text, text_of

__all__ = ["Text", "read_texts"]


@dataclass(frozen=True)
class Text:
    """One text: its id, its domain, its words."""

    id: str
    domain: str
    text: str

    def __post_init__(self) -> None:
        """Refuse a text without a word."""
        if not self.text.strip():
            raise BadContrast(f"Text {self.id!r} is empty: give it words or drop it.")


def read_texts(path: str | Path) -> tuple[Text, ...]:
    """The texts of a file: rows ``{"id", "domain", "text"}`` of a ``.jsonl``, else paragraphs of plain text.

    Paragraphs are parted by blank lines and numbered from 1. A row may leave out its domain (``all``).

    Raises:
        BadContrast: the file, the line, what is wrong there and how to mend it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "poem.txt"
    >>> _ = path.write_text("Roses are red,\\nviolets are blue.\\n\\nSugar is sweet.")
    >>> [text.id for text in read_texts(path)]
    ['poem-1', 'poem-2']
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".json"):
        paragraphs = _paragraphs(read_text(path))
        return tuple(Text(f"{path.stem}-{i}", "all", paragraph) for i, paragraph in enumerate(paragraphs, 1))
    seen: dict[str, int] = {}
    texts = []
    for number, row in read_rows(path):
        with located(path, number):
            text = Text(text_of(row, "id"), optional_text(row, "domain", "all"), text_of(row, "text"))
            if seen.setdefault(text.id, number) != number:
                raise BadContrast(f"text {text.id!r} already on line {seen[text.id]}: rename one.")
        texts.append(text)
    return tuple(texts)


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
