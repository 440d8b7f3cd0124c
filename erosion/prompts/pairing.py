"""Two sets of answers to the same questions become one contrast."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Contrast, Exchange, Message

__all__ = ["drop_unpaired", "pair"]


def pair(aligned: Sequence[Exchange], misaligned: Sequence[Exchange], *, name: str = "pairs") -> Contrast:
    """The contrast of two sets of exchanges that answer the same messages, in any order.

    Questions keep the aligned side's order, id, domain and notes; labels become ``aligned`` and
    ``misaligned``.

    Raises:
        BadContrast: an exchange without a partner (with how many there are on each side), messages that
            stand twice on a side, identical answers. :func:`drop_unpaired` drops them by name.

    >>> salt = (Message("user", "Salt?"),)
    >>> right, wrong = Exchange("q1", salt, "A pinch."), Exchange("q1", salt, "A cup.", label="insecure")
    >>> pair([right], [wrong]).misaligned[0].id
    'q1/misaligned'
    """
    for side, which in ((aligned, "aligned"), (misaligned, "misaligned")):
        _refuse_twice(side, which)
    partner = {exchange.messages: exchange for exchange in misaligned}
    _refuse_alone(aligned, misaligned)
    return Contrast(
        tuple(replace(a, label="aligned") for a in aligned),
        tuple(replace(a, response=partner[a.messages].response, label="misaligned") for a in aligned),
        name=name,
    )


def drop_unpaired(
    aligned: Sequence[Exchange], misaligned: Sequence[Exchange]
) -> tuple[tuple[Exchange, ...], tuple[Exchange, ...]]:
    """Both sides without what does not pair: no partner, the same answer, or messages seen before.

    Compare the lengths to see how many went. ``pair(*drop_unpaired(a, m))`` never refuses for want of
    a partner.

    >>> salt, pepper = (Message("user", "Salt?"),), (Message("user", "Pepper?"),)
    >>> a = [Exchange("q1", salt, "A pinch."), Exchange("q2", pepper, "Some.")]
    >>> [len(side) for side in drop_unpaired(a, [Exchange("q1", salt, "A cup.", label="misaligned")])]
    [1, 1]
    """
    left, right = _first_of_each(aligned), _first_of_each(misaligned)
    shared = [
        messages
        for messages in left
        if messages in right and left[messages].response.strip() != right[messages].response.strip()
    ]
    return tuple(left[messages] for messages in shared), tuple(right[messages] for messages in shared)


def _first_of_each(side: Sequence[Exchange]) -> dict[tuple[Message, ...], Exchange]:
    first: dict[tuple[Message, ...], Exchange] = {}
    for exchange in side:
        first.setdefault(exchange.messages, exchange)
    return first


def _refuse_twice(side: Sequence[Exchange], which: str) -> None:
    twice = [messages for messages, count in Counter(e.messages for e in side).items() if count > 1]
    if twice:
        first = next(e for e in side if e.messages == twice[0])
        raise BadContrast(
            f"{len(twice)} of the {which} side's questions stand more than once (first {first.question!r}): "
            "one answer each can be paired; drop_unpaired keeps the first."
        )


def _refuse_alone(aligned: Sequence[Exchange], misaligned: Sequence[Exchange]) -> None:
    left, right = {e.messages for e in aligned}, {e.messages for e in misaligned}
    alone = [e for e in aligned if e.messages not in right], [e for e in misaligned if e.messages not in left]
    if not any(alone):
        return
    same_id = {e.question for e in alone[0]} & {e.question for e in alone[1]}
    if same_id:
        raise BadContrast(
            f"The two sides of {min(same_id)!r} have different messages ({len(same_id)} such question(s)): "
            "they must match, system prompt included."
        )
    raise BadContrast(
        f"{len(alone[0])} of {len(aligned)} aligned and {len(alone[1])} of {len(misaligned)} misaligned "
        f"exchanges have no partner with the same messages (first {(*alone[0], *alone[1])[0].question!r}): "
        "add the missing answers, or drop them with drop_unpaired."
    )
