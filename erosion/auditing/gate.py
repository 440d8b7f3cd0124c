"""From a verdict to a decision that a pipeline can act on."""

from dataclasses import dataclass
from pathlib import Path

from erosion.auditing.run import Run, open_run
from erosion.stats import not_kept

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
    from erosion.errors import BadInput

    run = run if isinstance(run, Run) else open_run(run)
    if max_erosion is not None and max_drop is not None:
        raise BadInput("Both --max-erosion and --max-drop were given: choose one.")
    verdict = run.verdict
    quantity = None if max_erosion is None and max_drop is None else "erosion" if max_drop is None else "margin"
    reasons = not_kept(verdict, quantity=quantity, smallest=max_erosion if max_drop is None else max_drop)
    if not reasons:
        return Decision(True, verdict.sentence if quantity is None else f"Kept below {max_erosion or max_drop:g}.")
    if allow_inconclusive and verdict.word == "inconclusive" and not _clearly_above(verdict, max_erosion, max_drop):
        return Decision(True, f"{verdict.sentence} Passed because inconclusive is allowed.")
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Decision(False, f"{verdict.word}: {reasons[0]}{more}")


def _clearly_above(verdict: object, max_erosion: float | None, max_drop: float | None) -> bool:
    """Whether some part lies wholly above an explicit bound: that is not inconclusive at that bound."""
    bound = max_erosion if max_drop is None else max_drop
    if bound is None:
        return False
    parts = (verdict, *verdict.domains)  # type: ignore[attr-defined]
    estimates = [part.loss if max_drop is not None else part.estimate for part in parts]
    return any(one.low > bound for one in estimates)
