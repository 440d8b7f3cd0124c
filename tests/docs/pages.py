"""The documentation's pages as examples in order: code that runs, and text that code has just said."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_pages" not in path.parts)
LANGUAGES = ("python", "text", "bash", "yaml", "json", "jinja")
_FENCE = re.compile(r"^\s*```(\S+)", flags=re.MULTILINE)
_RUN = re.compile(r"<!-- run(?:: exit (\d))? -->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and text, where it stands, and, of ``bash``, how it should end."""

    language: str
    text: str
    line: int
    exits: int | None = None  # of bash: run it, and expect this exit code of its last command

    def commands(self) -> Iterator[list[str]]:
        """The words after ``erosion`` of every such command of a shell block."""
        for line in self.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\|", line):
                words = shlex.split(part, comments=True)
                if words[:1] == ["erosion"]:
                    yield words[1:]


@lru_cache
def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, in order."""
    found: list[Block] = []
    text = page.read_text(encoding="utf-8")

    def keep(language: str):
        def evaluate(example) -> None:
            before = _RUN.search(text[: example.region.start])
            exits = None if before is None else int(before.group(1) or 0)
            found.append(Block(language, str(example.parsed), example.line, exits))

        return evaluate

    parsers = [CodeBlockParser(language, keep(language)) for language in LANGUAGES]
    for example in Sybil(parsers=parsers).parse(page).examples():
        example.evaluate()
    return found


def languages_of(page: Path) -> set[str]:
    """What its fences say they hold."""
    return set(_FENCE.findall(page.read_text(encoding="utf-8")))


def same_words(said: str, written: str) -> bool:
    """Whether two texts agree in every word, and in every number to a fiftieth (or 0.02).

    >>> same_words("AUC 0.991 in 96", "AUC 0.99 in 96"), same_words("AUC 0.5", "AUC 0.99")
    (True, False)
    """
    one, other = said.split(), written.split()
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: str, other: str) -> bool:
    number = r"[-+]?\d+\.\d+"
    if re.sub(number, "#", one) != re.sub(number, "#", other):
        return False
    pairs = zip(re.findall(number, one), re.findall(number, other), strict=True)
    return all(abs(float(a) - float(b)) <= 0.02 * max(1.0, abs(float(b))) for a, b in pairs)


def as_json(text: str) -> list[dict]:
    """One object, or one on each line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
