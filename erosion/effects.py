"""A metric before and under interventions, question by question, with its interval.

``measure`` runs a metric twice, without and with the edits, and keeps both numbers for every question, so
that the difference is paired. A direction is never measured on a question that it was fitted on.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from erosion.directions import Direction, check_unseen
from erosion.errors import BadInput
from erosion.interventions import Intervention
from erosion.metrics import Metric, Scores
from erosion.models import Model
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.stats import Estimate, mean

__all__ = ["Effect", "measure"]


@dataclass(frozen=True, eq=False)
class Effect:
    """What interventions did to a metric: one pair of numbers for each question.

    ``under`` says the interventions in words; ``model`` which checkpoint was edited.
    """

    before: Scores
    after: Scores
    under: tuple[str, ...]
    model: str

    @property
    def differences(self) -> Array:
        """After minus before, question by question."""
        return self.after.values - self.before.values

    @property
    def change(self) -> Estimate:
        """The mean difference with its 95% cluster t interval, in the metric's unit."""
        return mean(self.differences, self.after.questions, unit=self.after.unit)

    def __str__(self) -> str:
        """``harm margin of runs/tuned under steer +1 at L3.resid_post: 0.62 [0.55, 0.69] …``."""
        return f"{self.after.name} of {self.model} under {', '.join(self.under) or 'no edit'}: {self.change}"


def measure(
    model: Model,
    contrast: Contrast,
    metric: Metric,
    *,
    under: Sequence[Intervention] = (),
    allowing: Collection[str] = (),
) -> Effect:
    """A metric on held-out questions, before and under interventions.

    Args:
        model: a loaded model.
        contrast: questions that no direction in ``under`` was fitted on.
        metric: ``harm_margin``, ``choice_margin``, … or your own function (model, contrast) -> Scores.
        under: the edits, applied together, in order.
        allowing: questions that may be measured on although a direction saw them, by id.

    Raises:
        BadDirection: a direction that was fitted on one of the questions, or for another model.
        BadInput: the metric gives other questions under the edits.

    Cost: twice the metric's. Memory: the metric's.
    """
    for edit in under:
        direction = getattr(edit, "direction", None) or getattr(edit, "along", None)
        if isinstance(direction, Direction):
            check_unseen(direction, contrast.questions, allowing=allowing)
    before = metric(model, contrast)
    _require_numbers(before, "without edits: score other words, or mend the metric")
    with model.applied(under):
        after = metric(model, contrast)
    if before.questions != after.questions or len(before.values) != len(after.values):
        raise BadInput(
            f"The metric {before.name!r} gave other questions under the edits: it must be a function of them."
        )
    _require_numbers(after, f"under {', '.join(map(str, under))}: use a smaller dose")
    return Effect(before, after, tuple(map(str, under)), str(model.found))


def _require_numbers(scores: Scores, when: str) -> None:
    broken = ~np.isfinite(scores.values)
    if broken.any():
        first = scores.questions[int(np.argmax(broken))]
        raise BadInput(
            f"The {scores.name} is not finite on {int(broken.sum())} of {len(scores)} questions "
            f"(first {first!r}) {when}."
        )
