"""Every row minus the row it is held against, with intervals that hold for all of them at once.

A family is all differences of one quantity, or those of all domains. K intervals hold together at 95%: k
of them that were resampled together at 0.95^(k/K), each other one at 0.95^(1/K) (Šidák's inequality). How
each is made stands in :mod:`erosion.comparing.intervals`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from erosion.comparing.intervals import (
    CONFIDENCE,
    Pair,
    nothing,
    of_shares,
    over_seeds,
    pulled_apart,
    resampled,
    unpaired,
)
from erosion.comparing.opening import shared_margins
from erosion.comparing.rows import QUANTITIES, Row
from erosion.shapes import Array
from erosion.stats import Estimate

__all__ = ["WORDS", "Difference", "differences_of"]

WORDS = ("more", "less", "alike", "open", "undefined")


@dataclass(frozen=True, eq=False)
class Difference:
    """One row minus the row it is held against, in one quantity, over one domain or (None) over all.

    ``unpaired`` says why the questions could not be paired (None where they were); ``smallest`` is the
    smallest of interest, None for a quantity that has none; ``family`` is how many intervals hold together,
    this one among them.
    """

    row: str
    against: str
    quantity: str
    domain: str | None
    estimate: Estimate
    unpaired: str | None
    smallest: float | None
    family: int

    @property
    def word(self) -> str:
        """*more* or *less* where the whole interval lies on one side of zero, *alike* where it covers zero
        and stays within the smallest of interest, else *open*; *undefined* where there is no value.
        """
        one = self.estimate
        if one.undefined:
            return "undefined"
        if one.low > 0 or one.high < 0:
            return "more" if one.low > 0 else "less"
        return "alike" if self.within_smallest else "open"

    @property
    def within_smallest(self) -> bool:
        """Whether the whole interval is closer to zero than the smallest of interest."""
        bound = self.smallest
        return bound is not None and -bound < self.estimate.low and self.estimate.high < bound

    @property
    def _over(self) -> str:
        return f"{self.quantity} by {'run' if self.domain is None else 'run and domain'}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "row": self.row,
            "against": self.against,
            "quantity": self.quantity,
            "domain": self.domain,
            "word": self.word,
            "paired": self.unpaired is None,
            "why unpaired": self.unpaired,
            "smallest": self.smallest,
            "holds with": f"all {self.family} differences of {self._over} at once",
            **self.estimate.to_json(),
        }


def differences_of(
    rows: Sequence[Row],
    against: Row,
    *,
    judged: str,
    smallest: Mapping[str, float],
    resamples: int,
    seed: int,
) -> tuple[Difference, ...]:
    """All rows but ``against`` minus it: each quantity over all domains, and ``judged`` by domain."""
    others = [row for row in rows if row is not against]
    whole = {row.name: shared_margins((*row.runs, *against.runs)) for row in others}
    families = [[Pair(row, against, q, None, whole[row.name]) for row in others] for q in QUANTITIES]
    by_domain = [
        Pair(row, against, judged, domain, shared_margins((*row.runs, *against.runs), domain=domain))
        for domain in against.domains
        for row in others
        if domain in row.domains
    ]
    found = []
    for family in (*families, by_domain):
        estimates = _of_family(family, resamples=resamples, seed=seed)
        for pair, estimate in zip(family, estimates, strict=True):
            why = pair.margins if isinstance(pair.margins, str) else None
            named = (pair.row.name, against.name, pair.quantity, pair.domain)
            bound = smallest.get(pair.quantity)
            found.append(Difference(*named, estimate, why, bound, len(family)))
    return tuple(found)


def _of_family(family: Sequence[Pair], *, resamples: int, seed: int) -> list[Estimate]:
    """One estimate for each pair; together they hold at 95%."""
    size = len(family)
    found: dict[int, Estimate] = {}
    blocks: dict[tuple[str, ...], dict[int, tuple[float, Array]]] = {}
    for i, pair in enumerate(family):
        alone = CONFIDENCE ** (1 / size)
        if isinstance(pair.margins, str):
            found[i] = unpaired(pair, alone)
            continue
        pulled = pair.pulled()
        undefined = next((one.why for one in pulled if one.why), None)
        if undefined:
            found[i] = nothing(pair, undefined)
        elif pair.quantity == "changed sides":
            found[i] = of_shares(pair, pulled, alone)
        elif pair.seeds:
            found[i] = over_seeds(pair, pulled, alone)
        else:
            blocks.setdefault(pair.questions, {})[i] = pulled_apart(pair, pulled)
    for block in blocks.values():
        confidence = CONFIDENCE ** (len(block) / size)
        found |= resampled(block, family, confidence, resamples=resamples, seed=seed)
    return [replace(found[i], confidence=CONFIDENCE) for i in range(size)]
