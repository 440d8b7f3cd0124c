"""The word that was probably meant, for the end of an error message."""

import difflib
from collections.abc import Iterable

__all__ = ["closest", "listed"]


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word most like ``word``, or None when none is like it.

    >>> closest("everday", ["code", "everyday"])
    'everyday'
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def listed(words: Iterable[str], *, most: int = 8) -> str:
    """``words`` in quotes, cut off after ``most``.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b', … (3 in all)"
    """
    words = list(words)
    shown = ", ".join(repr(word) for word in words[:most])
    return shown if len(words) <= most else f"{shown}, … ({len(words)} in all)"
