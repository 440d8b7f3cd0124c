"""Think blocks: ``<think> … </think>`` before a response is a span of its own and never counted with it.

Where it comes from decides what a measurement means, so every rendered exchange states it:

============  ========================================================================================
``absent``    no think block stands before the response
``empty``     the template writes one with nothing in it (thinking is off)
``fixed``     the template writes one with words of its own, the same for every exchange
``generated`` the response came with a thought, and the template kept it
============  ========================================================================================

A block that is opened and never closed, two blocks, a thought that the template drops or rewrites: each is
refused in words, since the response would be read as thought, or the thought as response. Blocks of
earlier turns belong to the prompt, whether the template keeps them or not.
"""

import re
from collections import Counter
from collections.abc import Sequence

from erosion.errors import BadContrast

__all__ = ["CLOSES", "OPENS", "find_block", "split_thought", "thinking_states"]

OPENS, CLOSES = "<think>", "</think>"
_THOUGHT = re.compile(rf"\s*(?:{OPENS})(.*?){CLOSES}\s*", flags=re.DOTALL)


def split_thought(response: str, *, name: str = "the response") -> tuple[str, str]:
    """A response as its think block (with tags and blanks; empty where there is none) and its answer.

    Raises:
        BadContrast: a block without an end or a beginning, a second block, or no answer after it.

    >>> split_thought("<think>Hot milk.</think> Eighty degrees.")
    ('<think>Hot milk.</think> ', 'Eighty degrees.')
    >>> split_thought("Eighty degrees.")
    ('', 'Eighty degrees.')
    """
    begins = response.lstrip().startswith(OPENS)
    if not begins and CLOSES not in response:
        return "", response
    if not begins:
        raise BadContrast(
            f"{name} has {CLOSES!r} and does not begin with {OPENS!r}: where its thought begins is unknown; "
            f"put {OPENS!r} first or take the tag out."
        )
    found = _THOUGHT.match(response)
    if found is None:
        raise BadContrast(
            f"{name} opens a think block and does not close it, so no answer follows: "
            "let it finish or drop the question."
        )
    answer = response[found.end() :]
    if not answer.strip():
        raise BadContrast(f"{name} is thought alone: give it an answer or drop the question.")
    if OPENS in found.group(1) or OPENS in answer or CLOSES in answer:
        raise BadContrast(f"{name} has more than one think block: leave one, before the answer.")
    return found.group(0), answer


def find_block(
    text: str, between: tuple[int, int], *, thought: str = "", name: str = "the response"
) -> tuple[str, tuple[int, int] | None]:
    """What the think block before a response is (see the module), and its characters in the text.

    Args:
        text: the rendered conversation.
        between: from the end of the last question to the beginning of the response.
        thought: the block that the response came with, as :func:`split_thought` gives it.
        name: of the exchange, for errors.

    Raises:
        BadContrast: two blocks, one that is not closed, or a thought dropped or rewritten.
    """
    gap = text[slice(*between)]
    opened, closed = gap.count(OPENS), gap.count(CLOSES)
    if opened != closed:
        raise BadContrast(
            f"The chat template opens a think block before {name} and does not close it: the response would "
            "be read as thought. Choose a template that closes it."
        )
    if opened > 1:
        raise BadContrast(
            f"{opened} think blocks stand before {name}: take the one out of the response, "
            "or choose a template that adds none."
        )
    said = _inner(thought)
    if not opened:
        if said:
            raise BadContrast(
                f"The chat template drops the think block of {name}: choose one that keeps it, "
                "or take it out of the response."
            )
        return "absent", None
    start, stop = gap.index(OPENS), gap.index(CLOSES) + len(CLOSES)
    inside = _inner(gap[start:stop])
    if said and inside != said:
        raise BadContrast(
            f"The chat template drops or rewrites the think block of {name}: choose one that keeps it, "
            "or take it out of the response."
        )
    state = "generated" if said else "fixed" if inside else "empty"
    return state, (between[0] + start, between[0] + stop)


def thinking_states(states: Sequence[str]) -> dict[str, int]:
    """How many exchanges have which think block: what a rendering's record states.

    >>> thinking_states(["empty", "empty", "generated"])
    {'empty': 2, 'generated': 1}
    """
    return dict(sorted(Counter(states).items()))


def _inner(block: str) -> str:
    return block.strip().removeprefix(OPENS).removesuffix(CLOSES).strip()
