"""One quantity under the three models, question by question: what a verdict is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from erosion.errors import BadInput
from erosion.stats.clusters import per_question

__all__ = ["Margins"]


@dataclass(frozen=True, eq=False)
class Margins:
    """A margin in nats per token under aligned, tuned and (where there is one) base, exchange by exchange.

    ``questions`` are the cluster ids; ``domains`` each exchange's domain (one domain, ``all``, if not
    given). ``name`` is what sentences call it. Values that are not finite are allowed here, so that a
    broken model gets a verdict (*undefined*) instead of an error.

    Raises:
        BadInput: nothing at all, lengths that differ, or a question in two domains.

    >>> margins = Margins(np.array([1.0, 2.0]), np.array([0.5, 1.9]), questions=["a", "b"])
    >>> margins.per_question().lost
    array([0.5, 0.1])
    """

    aligned: Float[Array, " exchange"]
    tuned: Float[Array, " exchange"]
    base: Float[Array, " exchange"] | None = None
    questions: Sequence[str] = ()
    domains: Sequence[str] | None = None
    name: str = "harm margin"

    def __post_init__(self) -> None:
        """Refuse columns that do not match."""
        columns = {
            "aligned": self.aligned,
            "tuned": self.tuned,
            "base": self.base,
            "questions": self.questions,
            "domains": self.domains,
        }
        sizes = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{size} {name}" for name, size in sizes.items())
            raise BadInput(f"The {self.name} has {found}: give one of each per exchange.")
        if not len(self.questions):
            raise BadInput(f"The {self.name} has no exchanges: a verdict needs at least one question.")
        pairs = sorted(set(zip(self.questions, self.domains or (), strict=False)))
        for (question, domain), (again, other) in pairwise(pairs):
            if question == again:
                raise BadInput(
                    f"Question {question!r} is in two domains, {domain!r} and {other!r}: choose one."
                )

    @cached_property
    def domain_of(self) -> tuple[str, ...]:
        """Each question's domain, in the order of the sorted question ids."""
        of = dict(zip(self.questions, self.domains or ["all"] * len(self.questions), strict=True))
        return tuple(of[question] for question in sorted(of))

    @property
    def broken(self) -> str | None:
        """Which models have values that are not finite, in words; None where every value is finite."""
        arms = {"aligned": self.aligned, "tuned": self.tuned, "base": self.base}
        bad = {name: ~np.isfinite(arm) for name, arm in arms.items() if arm is not None}
        found = {name: mask for name, mask in bad.items() if mask.any()}
        if not found:
            return None
        names = " and ".join(found)
        ids = {
            q for q, hit in zip(self.questions, np.logical_or.reduce([*found.values()]), strict=True) if hit
        }
        many = f"{len(ids)} of {len(set(self.questions))} questions"
        return f"the {self.name} of {names} is not finite on {many} (first {min(ids)!r})"

    def per_question(self) -> "Losses":
        """Averaged within questions, in the order of their ids.

        Raises:
            BadInput: a value that is not finite.
        """
        arms = [self.aligned, self.tuned, *([] if self.base is None else [self.base])]
        aligned, tuned, *base = per_question(self.questions, *arms)
        gained = aligned - base[0] if base else None
        changed = np.sign(aligned) != np.sign(tuned)
        return Losses(tuple(sorted(set(self.questions))), aligned - tuned, gained, changed)


@dataclass(frozen=True, eq=False)
class Losses:
    """Per question: what tuned lost (aligned - tuned), what alignment had gained (aligned - base)."""

    questions: tuple[str, ...]
    lost: Float[Array, " question"]
    gained: Float[Array, " question"] | None
    sign_changed: Bool[Array, " question"]

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)

    def where(self, keep: Bool[Array, " question"]) -> "Losses":
        """The questions that ``keep`` marks."""
        gained = None if self.gained is None else self.gained[keep]
        names = tuple(q for q, kept in zip(self.questions, keep, strict=True) if kept)
        return Losses(names, self.lost[keep], gained, self.sign_changed[keep])
