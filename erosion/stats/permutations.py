"""What would be seen if nothing were there: sign flips and swapped labels, corrected over the layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from erosion.errors import BadInput
from erosion.stats.bands import Band
from erosion.stats.clusters import average_questions, rank_of
from erosion.stats.estimates import taken

__all__ = ["NullBand", "PermutationTest", "null_band", "p_values", "permutation_test"]

_CELLS = 4_000_000
_ROUNDING = 1e-9  # a draw this close to the observed value, relatively, counts as equal to it


@dataclass(frozen=True, eq=False)
class NullBand:
    """The band where a curve with no effect stays, the observed curve, and its p at every layer.

    ``p`` is family-wise: the chance that *any* layer would look this strong if none had an effect.
    """

    band: Band
    observed: Float[Array, " layer"]
    p: Float[Array, " layer"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NullBand) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.band)

    def to_json(self) -> dict[str, Any]:
        """The null band as JSON."""
        return {"band": self.band.to_json(), "observed": self.observed.tolist(), "p": self.p.tolist()}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "NullBand":
        """The null band that :meth:`to_json` wrote."""
        band, observed, p = taken(written, "band", "observed", "p", what="A null band")
        return cls(Band.from_json(band), np.array(observed, float), np.array(p, float))


def null_band(
    values: Float[Array, "exchange layer"],
    questions: Sequence[str],
    *,
    unit: str = "nats per token",
    labels: Sequence[str | int] | None = None,
    confidence: float = 0.95,
    permutations: int = 2000,
    seed: int = 0,
) -> NullBand:
    """Where a curve with no effect would stay, by flipping the signs of whole questions.

    Flip each question's values at every layer together; T_l = m_l/(s_l/√n) with s_l refitted; the null
    of max_l |T_l| gives the critical c (Westfall and Young 1993; Nichols and Holmes 2002). In the units of
    the mean the band is ± √(q_l c²/(n - 1 + c²)), q_l the mean square, which no flip changes. Exact where
    each question's effect is symmetric about zero under no effect, and close otherwise, being studentised.

    Args:
        values: ``[exchange, layer]``: differences, so that "no effect" is zero.
        questions: each exchange's cluster id.
        unit: what the numbers count.
        labels: of the layers; their numbers from 0 if not given.
        confidence: that a curve with no effect stays inside at every layer.
        permutations: draws of signs.
        seed: of the draws.

    Raises:
        BadInput: fewer than two questions, lengths that differ, a value that is not finite.

    Costs permutations x n x layers multiplications and 32 MB.

    >>> effects = np.random.default_rng(0).normal([0.0, 1.0], 0.5, size=(96, 2))
    >>> null_band(effects, [f"q{i}" for i in range(96)], permutations=999).p.tolist()
    [0.759, 0.001]
    """
    means = average_questions(values, questions)
    n, layers = means.shape
    if n < 2:
        raise BadInput("One question has no null band: measure on at least two, better 30.")
    rank = rank_of(permutations, confidence, what="permutations")
    square = (means**2).mean(axis=0)
    scaled = np.divide(means, np.sqrt(square), out=np.zeros_like(means), where=square > 0)
    observed = np.abs(scaled.mean(axis=0))
    generator = np.random.default_rng(seed)
    largest = np.empty(permutations)
    step = max(1, _CELLS // (n + layers))
    for start in range(0, permutations, step):
        signs = generator.integers(2, size=(min(step, permutations - start), n)) * 2.0 - 1.0
        largest[start : start + len(signs)] = np.abs(signs @ scaled / n).max(axis=1)
    # |T| grows with |mean|/√q alone, so ranks of one are ranks of the other
    p = p_values(observed, largest)
    reach = np.sort(largest)[rank] * np.sqrt(square)
    names = tuple(range(layers)) if labels is None else tuple(labels)
    band = Band(np.zeros(layers), -reach, reach, names, unit, n, "max-T sign flips", confidence)
    return NullBand(band, means.mean(axis=0), p)


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """A statistic as observed and under swapped labels; ``p`` is the chance of at least as much.

    For a statistic of one number ``observed`` and ``p`` have no axis and ``null`` is ``[draw]``; for a curve
    they are ``[layer]`` and ``[draw, layer]``, and ``p`` is family-wise over the layers.
    """

    observed: Float[Array, "*layer"]
    null: Float[Array, "draw ..."]
    p: Float[Array, "*layer"]
    n_questions: int
    method: str = "label swaps within questions"

    def to_json(self) -> dict[str, Any]:
        """The test as JSON, with the null's 2.5%, 50% and 97.5% points instead of its draws."""
        points = np.quantile(self.null, [0.025, 0.5, 0.975], axis=0)
        return {
            "observed": self.observed.tolist(),
            "p": self.p.tolist(),
            "null": {"low": points[0].tolist(), "median": points[1].tolist(), "high": points[2].tolist()},
            "draws": len(self.null),
            "n_questions": self.n_questions,
            "method": self.method,
        }


def permutation_test(
    statistic: Callable[[Array], float | Array],
    labels: Sequence[str] | Array,
    questions: Sequence[str],
    *,
    permutations: int = 2000,
    seed: int = 0,
) -> PermutationTest:
    """How often swapping labels within questions gives at least as large a statistic.

    p = (1 + #{null ≥ observed})/(1 + N), never zero (Phipson and Smyth 2010). Everything that was fitted
    with the labels must be fitted again inside ``statistic``, from the labels it is given; take absolute
    values there for a two-sided test. A curve gets family-wise p by max over its entries, which should
    therefore be on one scale.

    Args:
        statistic: labels ``[exchange]`` to a number or a curve ``[layer]``, larger = more effect.
        labels: ``[exchange]``, of any kind.
        questions: each exchange's cluster id; labels never leave their question.
        permutations: draws.
        seed: of the draws.

    Raises:
        BadInput: lengths that differ, or no question with two different labels.

    Costs ``permutations`` + 1 evaluations.

    >>> x, side = np.random.default_rng(0).normal(size=40), np.array([1.0, -1.0] * 20)
    >>> test = permutation_test(lambda s: (s * (x + side)).mean(), side, [f"q{i // 2}" for i in range(40)])
    >>> bool(test.p < 0.01)
    True
    """
    given = np.asarray(labels)
    if len(given) != len(questions):
        raise BadInput(
            f"{len(given)} labels and {len(questions)} question ids: give every label its question."
        )
    rank_of(permutations, 0.95, what="permutations")
    ids, cluster = np.unique(np.asarray(questions), return_inverse=True)
    _, kind = np.unique(given, return_inverse=True)
    if len(np.unique(np.stack([cluster, kind]), axis=1).T) == len(ids):
        raise BadInput("No question has two different labels: there is nothing to swap within questions.")
    slots = np.lexsort((kind, cluster))  # by question and label, whatever order the exchanges had
    generator = np.random.default_rng(seed)
    observed = np.asarray(statistic(given), dtype=np.float64)
    null = np.empty((permutations, *observed.shape))
    for draw in range(permutations):
        shuffled = np.empty_like(given)
        shuffled[slots] = given[slots][np.lexsort((generator.random(len(slots)), cluster[slots]))]
        null[draw] = statistic(shuffled)
    largest = null.reshape(permutations, -1).max(axis=1)
    return PermutationTest(observed, null, p_values(observed, largest), len(ids))


def p_values(observed: Float[Array, "*layer"], largest: Float[Array, " draw"]) -> Float[Array, "*layer"]:
    """The share of draws at least as large as observed, the observed one among them."""
    bar = observed - _ROUNDING * np.abs(observed)
    at_least = (largest >= bar[..., None]).sum(axis=-1)
    return np.asarray((1 + at_least) / (1 + len(largest)))
