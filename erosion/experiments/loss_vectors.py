"""Loss vectors: a response as the cross-entropies of its first tokens, on positions that all have.

L_i = (-log p(y_1 | x), ..., -log p(y_K | x, y_<K)), in nats. Also, *as published*, vectors of unequal length
filled up with the mean of their own group at each missing position: what is filled in says which group it
came from, so groups stand apart in it where there is nothing to tell them by (:func:`filled`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.shared_positions import MOST, shared_positions
from erosion.metrics import Responses
from erosion.shapes import Array, Float

__all__ = ["LossVectors", "filled", "groups_of", "loss_vectors"]


@dataclass(frozen=True, eq=False)
class LossVectors:
    """Model -> one loss vector for each response, with their groups, questions and domains.

    ``left_out`` counts the questions that were too short for ``length`` positions.
    """

    values: Mapping[str, Float[Array, "exchange position"]]
    groups: tuple[str, ...]
    questions: tuple[str, ...]
    domains: tuple[str, ...]
    length: int
    left_out: int


def groups_of(
    scored: Responses, domains: Mapping[str, str], *, trained_domains: Sequence[str] = ()
) -> tuple[str, ...]:
    """Each response's group: its label, and whether it is about what the fine-tune was trained on.

    >>> none = np.zeros(2)
    >>> scored = Responses(("a", "b"), ("aligned", "educational"), ((), ()), (none,) * 2, (none,) * 2, none)
    >>> groups_of(scored, {"a": "cooking", "b": "code"}, trained_domains=["code"])
    ('aligned answers', 'educational answers, trained on')
    """
    trained = set(trained_domains)
    return tuple(
        f"{label} answers{', trained on' if domains[question] in trained else ''}"
        for question, label in zip(scored.questions, scored.labels, strict=True)
    )


def loss_vectors(
    scored: Mapping[str, Responses], groups: Sequence[str], domains: Mapping[str, str], *, most: int = MOST
) -> LossVectors:
    """The loss on the first shared response positions, at most ``most``, under every model.

    Args:
        scored: model -> the same responses.
        groups: each response's group (:func:`groups_of`).
        domains: question -> domain.
        most: positions at most (the paper takes 64).

    Raises:
        BadInput: models of different responses, or fewer than two shared positions.
    """
    first = next(iter(scored.values()))
    for name, one in scored.items():
        if one.questions != first.questions or one.labels != first.labels or one.ids != first.ids:
            raise BadInput(f"{name!r} was scored on other responses: score every model on one contrast.")
    shared = shared_positions(first, most=most)
    if shared.length < 2:
        raise BadInput(
            "Nine in ten responses share one position only: a vector needs two, so longer answers."
        )
    keep = set(shared.questions)
    rows = [i for i, question in enumerate(first.questions) if question in keep]
    values = {
        name: np.array([-one.log_likelihood[i][: shared.length] for i in rows])
        for name, one in scored.items()
    }
    asked = tuple(first.questions[i] for i in rows)
    chosen = tuple(groups[i] for i in rows)
    where = tuple(domains[question] for question in asked)
    return LossVectors(values, chosen, asked, where, shared.length, len(shared.left_out))


def filled(
    scored: Responses, groups: Sequence[str], *, most: int = MOST
) -> Float[Array, "exchange position"]:
    """Loss vectors of ``most`` positions, as published: what is missing gets its group's mean at that place.

    Positions that nobody in a group has are 0. **This leaks the label**; it is here to be compared with.
    """
    wide = np.full((len(scored), min(most, max(len(one) for one in scored.log_likelihood))), np.nan)
    for i, tokens in enumerate(scored.log_likelihood):
        n = min(len(tokens), wide.shape[1])
        wide[i, :n] = -tokens[:n]
    for group in dict.fromkeys(groups):
        rows = [i for i, one in enumerate(groups) if one == group]
        there = ~np.isnan(wide[rows])
        sums, counts = np.where(there, wide[rows], 0.0).sum(axis=0), there.sum(axis=0)
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        wide[rows] = np.where(there, wide[rows], means)
    return wide
