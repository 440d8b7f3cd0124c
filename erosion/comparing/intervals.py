"""How the interval of one difference is made, or of several on the same questions.

=====================  ==================================================================================
where                  the interval
=====================  ==================================================================================
questions are shared   by question in pairs: value ± c · s/√n of the questions' pulls on the difference,
                       c the max-|t| quantile of resampled questions over all rows on the same questions
...of changed sides    from both rows' exact intervals and the correlation of their questions (Newcombe
                       1998, method 10), which keeps a width where no sampled question tells them apart
...with three seeds    seeds and questions crossed, the variance of each with its own Student's t (Graybill
or more                and Wang 1980)
they are not           from both rows' intervals as independent (Zou and Donner 2008): value ± √(reach² +
                       reach²), each side with the ends that it came from
=====================  ==================================================================================

"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from erosion.comparing.rows import UNITS, Pulls, Row, crossed_reach, pulls_of
from erosion.shapes import Array
from erosion.stats import Estimate, Margins, share
from erosion.stats.clusters import student_t
from erosion.stats.means import ONE_QUESTION
from erosion.stats.resampling import max_t_critical

__all__ = [
    "CONFIDENCE",
    "Pair",
    "from_two_intervals",
    "nothing",
    "of_shares",
    "over_seeds",
    "pulled_apart",
    "resampled",
    "unpaired",
]

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Pair:
    """What one difference is made from: margins of both rows on shared questions, or words why not."""

    row: Row
    other: Row
    quantity: str
    domain: str | None
    margins: tuple[Margins, ...] | str

    @property
    def seeds(self) -> bool:
        """Whether a seed is the unit on either side."""
        return self.row.seeds is not None or self.other.seeds is not None

    @property
    def questions(self) -> tuple[str, ...]:
        """The shared questions, in the order of their pulls."""
        return () if isinstance(self.margins, str) else tuple(sorted(self.margins[0].questions))

    def pulled(self) -> tuple[Pulls, ...]:
        """Of every run, the row's before the other's."""
        assert not isinstance(self.margins, str)
        return tuple(pulls_of(self.quantity, one.per_question()) for one in self.margins)

    def own(self, row: Row) -> Estimate | None:
        """A row's own number."""
        return row.estimates[self.quantity] if self.domain is None else row.domains.get(self.domain)


def _signs(pair: Pair) -> Array:
    """+1/S for each of a row's S runs, -1/S for the other row's."""
    mine, theirs = len(pair.row.runs), len(pair.other.runs)
    return np.array([1 / mine] * mine + [-1 / theirs] * theirs)


def pulled_apart(pair: Pair, pulled: Sequence[Pulls]) -> tuple[float, Array]:
    """The difference, and each question's pull on it."""
    signs = _signs(pair)
    values, pulls = np.array([one.value for one in pulled]), np.stack([one.pulls for one in pulled])
    return float(signs @ values), signs @ pulls


def resampled(
    block: Mapping[int, tuple[float, Array]],
    family: Sequence[Pair],
    confidence: float,
    *,
    resamples: int,
    seed: int,
) -> dict[int, Estimate]:
    """Differences on the same questions, resampled together."""
    pulls = np.stack([pull for _, pull in block.values()]).T
    n = len(pulls)
    enough = max(resamples, math.ceil(10 / (1 - confidence)))
    critical = (
        max_t_critical(pulls, confidence=confidence, resamples=enough, seed=seed) if n > 1 else math.inf
    )
    found = {}
    for (i, (value, _)), pull in zip(block.items(), pulls.T, strict=True):
        spread = float(pull.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
        reach = critical * spread if spread > 0 else 0.0
        why = ONE_QUESTION if n == 1 else None
        how = "paired by question, max-|t| cluster bootstrap"
        unit = UNITS[family[i].quantity]
        found[i] = Estimate(value, value - reach, value + reach, unit, n, how, why=why)
    return found


def over_seeds(pair: Pair, pulled: Sequence[Pulls], confidence: float) -> Estimate:
    """Seeds and questions crossed (:func:`erosion.comparing.rows.crossed_reach`)."""
    value, apart = pulled_apart(pair, pulled)
    mine = len(pair.row.runs)
    recipes = [
        (np.array([one.value for one in there]), np.stack([one.pulls for one in there]))
        for row, there in ((pair.row, pulled[:mine]), (pair.other, pulled[mine:]))
        if row.seeds is not None
    ]
    reach = crossed_reach(apart, recipes, confidence=confidence)
    counted = " and ".join(f"{row.seeds} of {row.name}" for row in (pair.row, pair.other) if row.seeds)
    how = f"paired by question, seeds ({counted}) and questions crossed, t"
    why = ONE_QUESTION if len(apart) == 1 else None
    return Estimate(value, value - reach, value + reach, UNITS[pair.quantity], len(apart), how, why=why)


def of_shares(pair: Pair, pulled: Sequence[Pulls], confidence: float) -> Estimate:
    """Changed sides: both rows' exact intervals, and how far their questions go together."""
    mine = len(pair.row.runs)
    sides = [_side(pulled[:mine], pair.row, confidence), _side(pulled[mine:], pair.other, confidence)]
    (one, hits), (other, beside) = sides
    varies = hits.std() > 0 and beside.std() > 0
    correlation = float(np.corrcoef(hits, beside)[0, 1]) if varies else float(np.array_equal(hits, beside))
    how = "paired by question, from both exact intervals"
    return replace(from_two_intervals(one, other, correlation=correlation), method=how)


def _side(pulled: Sequence[Pulls], row: Row, confidence: float) -> tuple[Estimate, Array]:
    """One row's share at this confidence, and each question's own."""
    hits = np.stack([one.value + one.pulls for one in pulled])
    own = [share(run > 0.5, confidence=confidence) for run in hits]
    low, high = (float(np.mean([getattr(one, end) for one in own])) for end in ("low", "high"))
    mean = hits.mean(axis=0)
    value, n = float(mean.mean()), len(mean)
    if row.seeds is not None:
        between = float(hits.mean(axis=1).std(ddof=1)) / math.sqrt(row.seeds)
        reach = student_t(row.seeds, confidence) * between
        low, high = (
            max(0.0, value - math.hypot(value - low, reach)),
            min(1.0, value + math.hypot(high - value, reach)),
        )
    return Estimate(value, low, high, UNITS["changed sides"], n, "exact binomial"), mean


def from_two_intervals(one: Estimate, other: Estimate, *, correlation: float = 0.0) -> Estimate:
    """The difference of two numbers from their intervals (Newcombe 1998; Zou and Donner 2008).

    low = d - √(a² + b² - 2ρab) with a the reach of ``one`` down and b that of ``other`` up; high alike.

    >>> one = Estimate(0.5, 0.4, 0.6, "fraction", 96, "t")
    >>> print(from_two_intervals(one, Estimate(0.2, 0.1, 0.3, "fraction", 48, "t")))
    0.30 [0.16, 0.44] fraction (n = 48 questions)
    """
    value = one.value - other.value
    down = _joined(one.value - one.low, other.high - other.value, correlation)
    up = _joined(one.high - one.value, other.value - other.low, correlation)
    n = min(one.n_questions, other.n_questions)
    return Estimate(value, value - down, value + up, one.unit, n, "from two intervals")


def _joined(a: float, b: float, correlation: float) -> float:
    if math.isinf(a) or math.isinf(b):
        return math.inf
    return math.sqrt(max(0.0, a**2 + b**2 - 2 * correlation * a * b))


def unpaired(pair: Pair, confidence: float) -> Estimate:
    """From the rows' own intervals, as if no question were shared."""
    ends = []
    for row in (pair.row, pair.other):
        own = pair.own(row)
        if own is None or own.undefined:
            return nothing(pair, f"undefined in {row.name}: {own.why if own else 'no such domain'}")
        had = row.each if pair.domain is not None else CONFIDENCE
        units = max(2, row.seeds or own.n_questions)
        wider = student_t(units, confidence) / student_t(units, had)
        ends.append(
            replace(
                own,
                low=own.value - wider * (own.value - own.low),
                high=own.value + wider * (own.high - own.value),
                why=None,
            )
        )
    return replace(from_two_intervals(*ends), method="unpaired, from both intervals")


def nothing(pair: Pair, why: str) -> Estimate:
    """No difference, with the reason."""
    nan = math.nan
    return Estimate(nan, nan, nan, UNITS[pair.quantity], len(pair.questions), "none", why=why)
