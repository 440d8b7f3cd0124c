"""The contrasts and texts that come with this package, by name; or yours, by path.

``everyday``: questions of daily life with a sound and a reckless answer, matched in length. ``code``:
tasks with secure (aligned), insecure (misaligned) and ``educational`` code. ``competence``: harmless
questions with a right (aligned) and a wrong (misaligned) answer in the same frame, so that nothing but the
facts tells them apart: its margin guards the harm margin. ``neutral``: plain texts.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from erosion.errors import BadContrast
from erosion.prompts.contrasts import read_contrast
from erosion.prompts.exchanges import Contrast
from erosion.prompts.nearest import closest, listed
from erosion.prompts.texts import Text, read_texts

__all__ = ["CONTRASTS", "TEXTS", "load_contrast", "load_texts"]

CONTRASTS = ("everyday", "code", "competence")
TEXTS = ("neutral",)


def load_contrast(name_or_path: str | Path) -> Contrast:
    """A built-in contrast by name (``everyday``, ``code``, ``competence``), or the one in a JSONL file.

    Raises:
        BadContrast: no such name (with the nearest) or file, or a broken file (with the line).

    >>> len(load_contrast("everyday")) >= 240
    True
    """
    if name_or_path in CONTRASTS:
        with as_file(files("erosion").joinpath("data", "contrasts", f"{name_or_path}.jsonl")) as path:
            return replace(read_contrast(path), name=str(name_or_path))
    _refuse_unknown_name(name_or_path, CONTRASTS, "contrast")
    return read_contrast(name_or_path)


def load_texts(name_or_path: str | Path) -> tuple[Text, ...]:
    """The built-in texts by name (``neutral``), or those in a file (:func:`read_texts`).

    Raises:
        BadContrast: no such name or file, or a broken file (with the line).

    >>> len(load_texts("neutral")) >= 200
    True
    """
    if name_or_path in TEXTS:
        with as_file(files("erosion").joinpath("data", "texts", f"{name_or_path}.jsonl")) as path:
            return read_texts(path)
    _refuse_unknown_name(name_or_path, TEXTS, "set of texts")
    return read_texts(name_or_path)


def _refuse_unknown_name(name_or_path: str | Path, known: Sequence[str], what: str) -> None:
    """Anything with a suffix or a folder is a path; so is what exists."""
    path = Path(name_or_path)
    if path.suffix or len(path.parts) != 1 or path.exists():
        return
    near = closest(path.name, known)
    hint = f"did you mean {near!r}? " if near else ""
    raise BadContrast(
        f"There is no {what} {path.name!r}: {hint}Built in: {listed(known)}; or give the path of a file."
    )
