"""From a verdict to a decision that a pipeline can act on."""

from dataclasses import dataclass
from pathlib import Path

from erosion.auditing.run import Run, open_run
from erosion.errors import BadInput
from erosion.stats import DomainVerdict, Verdict, not_kept

__all__ = ["Decision", "gate"]


@dataclass(frozen=True)
class Decision:
    """Whether the gate opens, and why in one line."""

    passed: bool
    reason: str


def gate(
    run: Run | str | Path,
    *,
    max_erosion: float | None = None,
    max_drop: float | None = None,
    allow_inconclusive: bool = False,
) -> Decision:
    """Pass only what is *kept* at the bound.

    Args:
        run: a finished run, or its folder.
        max_erosion: the bound on erosion (a fraction); the run's own smallest of interest if not given.
        max_drop: a bound on the loss in nats per token instead.
        allow_inconclusive: let *inconclusive* pass too (never *eroded*, *undefined* or *general damage*).

    Raises:
        BadRun: no finished run there.
        BadInput: both bounds, or one in a quantity that this run could not judge.

    """
    run = run if isinstance(run, Run) else open_run(run)
    if max_erosion is not None and max_drop is not None:
        raise BadInput("Both --max-erosion and --max-drop were given: choose one.")
    verdict = run.verdict
    bound = max_erosion if max_drop is None else max_drop
    quantity = None if bound is None else "erosion" if max_drop is None else "margin"
    reasons = not_kept(verdict, quantity=quantity, smallest=bound)
    if not reasons:
        return Decision(True, verdict.sentence if bound is None else f"Kept below {bound:g}.")
    if (
        allow_inconclusive
        and verdict.word == "inconclusive"
        and not _clearly_above(verdict, bound, in_nats=max_drop is not None)
    ):
        return Decision(True, f"{verdict.sentence} Passed because inconclusive is allowed.")
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Decision(False, f"{verdict.word}: {next(iter(reasons))}{more}")


def _clearly_above(verdict: Verdict, bound: float | None, *, in_nats: bool) -> bool:
    """Whether some part lies wholly above an explicit bound: that is not inconclusive at that bound."""
    if bound is None:
        return False
    parts: tuple[Verdict | DomainVerdict, ...] = (verdict, *verdict.domains)
    return any((part.loss if in_nats else part.estimate).low > bound for part in parts)
