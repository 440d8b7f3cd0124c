"""Doses: how much of a fine-tune is in the weights, as a value beside the edits."""

import math
from dataclasses import dataclass

from erosion.errors import BadInput
from erosion.triads import Checkpoint

__all__ = ["Dose", "dose"]


@dataclass(frozen=True)
class Dose:
    """The weights aligned + share (tuned - aligned), in some parts or in all (see :func:`dose`)."""

    share: float
    aligned: Checkpoint
    tuned: Checkpoint
    only: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """``0.5 of the fine-tune in L3``."""
        inside = "" if self.only is None else f" in {', '.join(self.only)}"
        return f"{self.share:g} of the fine-tune{inside}"


def dose(
    share: float | int,
    *,
    aligned: Checkpoint | str,
    tuned: Checkpoint | str,
    only: tuple[str, ...] | None = None,
) -> Dose:
    """How much of a fine-tune is in the weights: W = W_aligned + share (W_tuned - W_aligned).

    0 is the aligned model, 1 the tuned one; beyond 1 the change is exaggerated. With ``only``, other
    parts keep what they have in the model that is measured.

    Args:
        share: of the change.
        aligned: the model before the fine-tune.
        tuned: the fine-tune, weights or adapter.
        only: the parts that are dosed (see :func:`erosion.parts_of_change`), None for all.

    Raises:
        BadInput: a share that is not a finite number.

    >>> print(dose(0.5, aligned="runs/aligned", tuned="runs/tuned", only=("L3",)))
    0.5 of the fine-tune in L3
    """
    if not math.isfinite(share):
        raise BadInput(f"A dose of {share} is not a finite number: 0 is aligned and 1 is tuned.")
    both = [one if isinstance(one, Checkpoint) else Checkpoint(one) for one in (aligned, tuned)]
    return Dose(float(share), both[0], both[1], only)
