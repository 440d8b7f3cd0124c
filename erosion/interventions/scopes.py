"""Scopes: which tokens an edit touches, by name or by place.

=====================================  ============================================================
scope                                  tokens
=====================================  ============================================================
``all``                                every one (padding never counts)
``prompt``, ``response``               before the response; from its first token on
``system``, ``user``, ``thinking``,    the span of that name (see :data:`erosion.prompts.SPANS`)
``last_prompt``, ``last_response``,
``end_of_turn``
``positions(0, -1, within="prompt")``  places inside one of these, counted from its start or its end
=====================================  ============================================================

While answers are generated a place in the prompt is touched in the prompt's pass alone, and a place in the
response when that token is read; spans that a conversation does not have are refused.
"""

import re
from dataclasses import dataclass

from erosion.errors import BadInput
from erosion.prompts import SPANS

__all__ = ["SCOPES", "Positions", "Scope", "checked_scope", "disjoint", "parse_scope", "positions"]

SCOPES = ("all", "prompt", "response", *(span for span in SPANS if span != "response"))


@dataclass(frozen=True)
class Positions:
    """Places of tokens inside a scope: 0 is its first token, -1 its last. Made by :func:`positions`."""

    places: tuple[int, ...]
    within: str = "prompt"

    def __str__(self) -> str:
        """``prompt[0, -1]``."""
        return f"{self.within}[{', '.join(map(str, self.places))}]"


Scope = str | Positions


def positions(*places: int, within: str = "prompt") -> Positions:
    """Places of tokens inside a scope, to be given as an edit's ``scope``.

    Args:
        places: 0 is the first token of ``within``, -1 its last.
        within: a scope by name.

    Raises:
        BadInput: no place, one named twice, one that is no whole number, or an unknown scope. A place that
            an exchange does not have is refused when that exchange is run.

    >>> print(positions(0, -1))
    prompt[0, -1]
    """
    odd = [one for one in places if not isinstance(one, int) or isinstance(one, bool)]
    if odd or not places:
        raise BadInput(f"Positions are whole numbers, at least one: got {places}.")
    if len(set(places)) < len(places):
        raise BadInput(f"Positions {places} name one place twice: name each once.")
    checked_scope(within)
    return Positions(tuple(places), within)


def parse_scope(text: str) -> Scope:
    """Read a scope as it prints: ``"prompt"``, or ``"prompt[0, -1]"`` for places in it.

    Raises:
        BadInput: neither.

    >>> parse_scope("prompt[0, -1]")
    Positions(places=(0, -1), within='prompt')
    """
    match = re.fullmatch(r"(\w+)\[([^\]]*)\]", text.strip())
    if match is None:
        return checked_scope(text.strip())
    try:
        places = [int(place) for place in match[2].split(",")]
    except ValueError as error:
        raise BadInput(f"{text!r} is no scope: write whole numbers, such as prompt[0, -1].") from error
    return positions(*places, within=match[1])


def checked_scope(scope: Scope) -> Scope:
    """The scope itself.

    Raises:
        BadInput: one that does not exist.
    """
    if not isinstance(scope, Positions) and scope not in SCOPES:
        raise BadInput(f"There is no scope {scope!r}: choose one of {', '.join(SCOPES)}, or positions(…).")
    return scope


def disjoint(one: Scope, other: Scope) -> bool:
    """Whether two scopes can never touch the same token; False where that is not certain."""
    inside = [scope.within if isinstance(scope, Positions) else scope for scope in (one, other)]
    sides = [_SIDE.get(scope) for scope in inside]
    if None not in sides and sides[0] != sides[1]:
        return True
    if isinstance(one, Positions) and isinstance(other, Positions) and one.within == other.within:
        same_end = len({place < 0 for place in (*one.places, *other.places)}) == 1
        return same_end and not set(one.places) & set(other.places)
    return False


_SIDE = {
    "prompt": "prompt",
    "system": "prompt",
    "user": "prompt",
    "last_prompt": "prompt",
    "response": "response",
    "last_response": "response",
    "end_of_turn": "response",
}
