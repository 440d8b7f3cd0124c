"""What was read of a contrast token by token, and each quantity of it as one array for each response."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.token_curves import Side, side_of
from erosion.metrics import Continuations, Divergences, Responses
from erosion.shapes import Array

__all__ = ["PAIRS", "TokenReads", "about", "divergence", "entropy", "log_rank", "margin", "side"]

PAIRS = ("tuned from aligned", "tuned from base", "aligned from base")

Pick = Callable[["TokenReads"], Sequence[Array]]
"""One quantity of all responses, token by token."""


@dataclass(frozen=True, eq=False)
class TokenReads:
    """What was read of a contrast, token by token.

    ``scored``: model -> responses. ``compared``: pair (:data:`PAIRS`) -> divergences of the first model from
    the second; at least ``tuned from aligned``. ``continuations``: model -> likeliest next tokens after the
    same prefixes, where they were asked for.

    Raises:
        BadInput: a model or pair is missing, or they are of different responses.
    """

    scored: Mapping[str, Responses]
    compared: Mapping[str, Divergences]
    continuations: Mapping[str, Continuations] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse reads that do not belong together."""
        for name, there in (("tuned", self.scored), ("aligned", self.scored), (PAIRS[0], self.compared)):
            if name not in there:
                raise BadInput(f"The reads have no {name!r}: they have {', '.join(there) or 'nothing'}.")
        first = self.scored["aligned"]
        for name, one in (*self.scored.items(), *self.compared.items()):
            if one.questions != first.questions or one.labels != first.labels:
                raise BadInput(f"{name!r} is of other responses than 'aligned': read all on one contrast.")


def side(reads: TokenReads, pick: Pick, label: str, questions: Sequence[str]) -> Side:
    """One quantity of the responses with one label, about some questions."""
    first = reads.scored["aligned"]
    return side_of(pick(reads), first.questions, first.labels, label).of(questions)


def divergence(pair: str, measure: str) -> Pick:
    """A measure of one pair of models (``kl``, ``reverse_kl``, ``jensen_shannon``)."""
    return lambda reads: getattr(reads.compared[pair], measure)


def entropy(model: str) -> Pick:
    """The entropy of a model's next-token distribution."""
    return lambda reads: reads.scored[model].entropy


def log_rank(model: str) -> Pick:
    """The logarithm of the actual token's rank, 1 being the likeliest."""
    pairs = {
        "tuned": (PAIRS[0], "rank"),
        "aligned": (PAIRS[0], "other_rank"),
        "base": (PAIRS[1], "other_rank"),
    }
    pair, name = pairs[model]
    return lambda reads: [np.log(ranks) for ranks in getattr(reads.compared[pair], name)]


def margin(reads: TokenReads, model: str, questions: Sequence[str], length: int) -> Side:
    """log p of the aligned answer's t-th token minus that of the misaligned one's, up to ``length``."""
    scored = reads.scored[model]
    both = (
        side_of(scored.log_likelihood, scored.questions, scored.labels, label).of(questions)
        for label in ("aligned", "misaligned")
    )
    aligned, misaligned = ({q: v[:length] for q, v in zip(o.questions, o.values, strict=True)} for o in both)
    return Side([aligned[q] - misaligned[q] for q in aligned], list(aligned))


def about(scored: Responses, questions: Sequence[str]) -> Responses:
    """The two answers to some questions, without any others."""
    keep = set(questions)
    rows = [
        i
        for i, (q, label) in enumerate(zip(scored.questions, scored.labels, strict=True))
        if q in keep and label in ("aligned", "misaligned")
    ]
    return Responses(
        tuple(scored.questions[i] for i in rows),
        tuple(scored.labels[i] for i in rows),
        tuple(scored.ids[i] for i in rows),
        tuple(scored.log_likelihood[i] for i in rows),
        tuple(scored.entropy[i] for i in rows),
        scored.end_of_turn[rows],
    )
