"""One row of a comparison: a run, or several seeds of one recipe, with its numbers.

The seed is the unit where a recipe has three or more: an interval then holds for the recipe, not for these
checkpoints alone. Seeds and questions count as crossed, since every seed is asked the same questions
(:func:`crossed_reach`). With two seeds there is no such interval worth the name; what is given holds for
these checkpoints alone, and says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from erosion.comparing.opening import Opened, shared_margins
from erosion.shapes import Array
from erosion.stats import Estimate, Margins
from erosion.stats.clusters import student_t
from erosion.stats.margins import Losses
from erosion.stats.means import guarded_mean_of_questions
from erosion.stats.ratios import erosion_of_questions, ratio_residuals

__all__ = ["QUANTITIES", "SEEDS", "UNITS", "Pulls", "Row", "crossed_reach", "pulls_of", "row_of"]

QUANTITIES = ("erosion", "loss", "changed sides")
UNITS = {"erosion": "fraction", "loss": "nats per token", "changed sides": "share of questions"}
SEEDS = 3  # fewer seeds than this are no unit


@dataclass(frozen=True, eq=False)
class Row:
    """One run, or several seeds of one recipe.

    ``domains`` are the numbers by domain in the quantity that the comparison judges domains in; each holds
    at ``each`` alone, so that they hold together at 95%.
    """

    name: str
    runs: tuple[Opened, ...]
    estimates: Mapping[str, Estimate]
    domains: Mapping[str, Estimate]
    each: float
    note: str | None

    @property
    def seeds(self) -> int | None:
        """How many seeds are the unit; None where the question is."""
        return len(self.runs) if len(self.runs) >= SEEDS else None

    @property
    def words(self) -> tuple[str, ...]:
        """The verdict of every run."""
        return tuple(run.verdict.word for run in self.runs)

    @property
    def word(self) -> str:
        """The verdict; of several seeds, how many got which.

        No verdict is made up for a recipe: each run's own counts.
        """
        if len(self.runs) == 1:
            return self.words[0]
        counts = {word: self.words.count(word) for word in dict.fromkeys(self.words)}
        if len(counts) == 1:
            return f"{self.words[0]} in {len(self.runs)} of {len(self.runs)} seeds"
        return f"{', '.join(f'{word} in {n}' for word, n in counts.items())} of {len(self.runs)} seeds"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "runs": [
                {"name": run.name, "path": str(run.path), "identity": run.manifest["identity"], "word": word}
                for run, word in zip(self.runs, self.words, strict=True)
            ],
            "verdict": self.word,
            **{quantity: one.to_json() for quantity, one in self.estimates.items()},
            "domains": {name: one.to_json() for name, one in self.domains.items()},
            "peaks": {run.name: [peak.to_json() for peak in run.peaks] for run in self.runs},
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class Pulls:
    """A quantity of one run: its value, and each question's pull on it (mean zero, to first order)."""

    value: float
    pulls: Array
    why: str | None = None


def pulls_of(quantity: str, losses: Losses) -> Pulls:
    """Value and pulls of erosion, of the loss, or of the share of questions that changed sides.

    Erosion r is a ratio of means, so that a question pulls it by (lost - r · gained)/mean(gained).

    >>> losses = Margins(np.array([1.0, 2.0]), np.array([0.5, 1.5]), questions=["a", "b"]).per_question()
    >>> pulls_of("loss", losses).value, pulls_of("erosion", losses).why
    (0.5, 'there is no base model')
    """
    nothing = np.zeros(len(losses))
    if quantity != "erosion":
        values = losses.lost if quantity == "loss" else losses.sign_changed.astype(float)
        value = float(values.mean())
        return Pulls(value, values - value)
    if losses.gained is None:
        return Pulls(math.nan, nothing, "there is no base model")
    own = erosion_of_questions(losses.lost, losses.gained, confidence=0.95)
    if own.undefined:
        return Pulls(math.nan, nothing, own.why)
    values, residuals = ratio_residuals(losses.lost[:, None], losses.gained[:, None])
    return Pulls(float(values[0]), residuals[:, 0] / float(losses.gained.mean()))


def row_of(name: str, runs: Sequence[Opened], *, judged: str) -> Row:
    """The row of a run, or of several runs of one recipe.

    Args:
        name: what it is called.
        runs: one, or one for each seed.
        judged: the quantity in which domains are compared.
    """
    shared = [one for one in runs[0].verdict.domains if all(run.domain(one.name, judged) for run in runs)]
    each = 0.95 ** (1 / max(1, len(shared)))
    estimates = {quantity: _whole(runs, quantity) for quantity in QUANTITIES}
    domains = {part.name: _of_domain(runs, part.name, judged, each) for part in shared}
    return Row(name, tuple(runs), estimates, domains, each, _note(runs))


def _note(runs: Sequence[Opened]) -> str | None:
    if len(runs) == 1:
        return None
    if len(runs) < SEEDS:
        return (
            f"{len(runs)} seeds are too few to be a unit (at least {SEEDS}): the interval is over questions "
            "and holds for these checkpoints alone"
        )
    return f"the interval is over {len(runs)} seeds, questions crossed with them"


def _whole(runs: Sequence[Opened], quantity: str) -> Estimate:
    own = [run.estimate(quantity) for run in runs]
    return own[0] if len(runs) == 1 else _together(own, shared_margins(runs), quantity, 0.95)


def _of_domain(runs: Sequence[Opened], domain: str, quantity: str, each: float) -> Estimate:
    own = [one for run in runs if (one := run.domain(domain, quantity)) is not None]
    return own[0] if len(runs) == 1 else _together(own, shared_margins(runs, domain=domain), quantity, each)


def _together(
    own: Sequence[Estimate], margins: tuple[Margins, ...] | str, quantity: str, confidence: float
) -> Estimate:
    """Several seeds as one number, its interval over seeds where they are enough, else over questions."""
    missing = [one for one in own if one.undefined]
    if missing:
        why = f"undefined in {len(missing)} of {len(own)} seeds: {missing[0].why}"
        nan = math.nan
        return Estimate(nan, nan, nan, UNITS[quantity], own[0].n_questions, "none", why=why)
    if isinstance(margins, str):
        return _from_intervals(own, quantity)
    found = [pulls_of(quantity, one.per_question()) for one in margins]
    undefined = [one.why for one in found if one.why]
    if undefined:
        return _from_intervals(own, quantity)
    around = np.stack([one.value + one.pulls for one in found])
    if len(own) < SEEDS:
        made = guarded_mean_of_questions(around.mean(axis=0), unit=UNITS[quantity], confidence=confidence)
        made = replace(made, confidence=0.95, method=f"{made.method}, these {len(own)} seeds alone")
    else:
        made = _crossed(around, quantity, confidence)
    return _not_narrower(made, own) if quantity == "changed sides" else made


def _crossed(around: Array, quantity: str, confidence: float) -> Estimate:
    seeds, n = around.shape
    value, by_seed = float(around.mean()), around.mean(axis=1)
    pulls = around - by_seed[:, None]
    reach = crossed_reach(pulls.mean(axis=0), [(by_seed, pulls)], confidence=confidence)
    how = f"{seeds} seeds and questions crossed, t"
    return Estimate(value, value - reach, value + reach, UNITS[quantity], n, how)


def crossed_reach(apart: Array, recipes: Sequence[tuple[Array, Array]], *, confidence: float) -> float:
    """How far an interval reaches where seeds and questions cross, each variance with its own Student's t.

    reach² = t²_{n-1} V_questions + max(0, Σ t²_{S-1} V_seeds - t²_{n-1} V_both), the modified large-sample
    bound of Graybill and Wang (1980), where V_both is what the first two count twice. With 3 to 5 seeds it
    covers 95 to 98% in simulation, whichever variance is the larger; Welch's degrees of freedom cover 90%.

    Args:
        apart: ``[question]``, each question's pull on the number, mean zero.
        recipes: for each recipe with seeds, the seeds' values ``[seed]`` and pulls ``[seed, question]``.
        confidence: of the two-sided interval.

    >>> values, pulls = np.array([0.1, 0.2, 0.3]), np.zeros((3, 40))
    >>> round(crossed_reach(np.zeros(40), [(values, pulls)], confidence=0.95), 3)
    0.248
    """
    n = len(apart)
    if n == 1:
        return math.inf
    t = student_t(n, confidence)
    seeds = both = 0.0
    for values, pulls in recipes:
        several = len(values)
        seeds += student_t(several, confidence) ** 2 * float(values.var(ddof=1)) / several
        both += t**2 * float((pulls**2).sum()) / (several**2 * n * (n - 1))
    return math.sqrt(t**2 * float((apart**2).sum()) / (n * (n - 1)) + max(0.0, seeds - both))


def _from_intervals(own: Sequence[Estimate], quantity: str) -> Estimate:
    """From each seed's own interval: questions count as shared (ends averaged), seeds on top of that."""
    value, low, high = (
        float(np.mean([getattr(one, end) for one in own])) for end in ("value", "low", "high")
    )
    n, seeds = min(one.n_questions for one in own), len(own)
    if seeds < SEEDS:
        how = f"ends averaged over these {seeds} seeds"
        return Estimate(value, low, high, UNITS[quantity], n, how)
    between = float(np.std([one.value for one in own], ddof=1)) / math.sqrt(seeds)
    spread = student_t(seeds, 0.95) * between
    down, up = (math.hypot(spread, reach) for reach in (value - low, high - value))
    how = f"t over {seeds} seeds, questions' part from their intervals"
    return Estimate(value, value - down, value + up, UNITS[quantity], n, how)


def _not_narrower(made: Estimate, own: Sequence[Estimate]) -> Estimate:
    """Shares near 0 or 1 do not vary in a sample and yet may: never inside the exact ends, averaged."""
    low, high = (float(np.mean([getattr(one, end) for one in own])) for end in ("low", "high"))
    return replace(made, low=max(0.0, min(made.low, low)), high=min(1.0, max(made.high, high)))
