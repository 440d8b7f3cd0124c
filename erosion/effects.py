"""A metric before and under interventions, question by question, with its interval.

``measure`` runs a metric twice, without and with the edits, and keeps both numbers for every question, so
that the difference is paired. A direction is never measured on a question that it was fitted on.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from erosion.errors import BadInput
from erosion.interventions import Intervention, refuse_seen
from erosion.metrics import Metric, Scores
from erosion.models import Model
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.stats import Estimate, mean

__all__ = ["Effect", "NoiseFloor", "measure", "noise_floor"]


@dataclass(frozen=True)
class NoiseFloor:
    """How far a metric moves, at most on any question, where nothing that matters was changed.

    ``by`` names what was changed (batch composition, attention kernel, dtype) and gives the largest deviation
    over ``n_questions`` questions; a source that could not be changed here is left out.

    >>> floor = NoiseFloor({"batch composition": 2e-6, "attention kernel": 5e-6}, "nats per token", 16)
    >>> floor.largest, str(floor)
    (5e-06, 'noise floor 5e-06 nats per token (attention kernel)')
    """

    by: Mapping[str, float]
    unit: str
    n_questions: int

    @property
    def largest(self) -> float:
        """The largest deviation of any source, on any question."""
        return max(self.by.values(), default=0.0)

    def __str__(self) -> str:
        if not self.by:
            return "noise floor not measured"
        worst = max(self.by, key=lambda name: self.by[name])
        return f"noise floor {self.largest:.1g} {self.unit} ({worst})"

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return {"by": dict(self.by), "unit": self.unit, "n_questions": self.n_questions}


@dataclass(frozen=True, eq=False)
class Effect:
    """What interventions did to a metric: one pair of numbers for each question.

    ``under`` says the interventions in words; ``model`` which checkpoint was edited; ``floor`` how far the
    metric moves for no reason (see :func:`noise_floor`), where that was measured.
    """

    before: Scores
    after: Scores
    under: tuple[str, ...]
    model: str
    floor: NoiseFloor | None = None

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
        floor = f"; {self.floor}" if self.floor else ""
        said = ", ".join(self.under) or "no edit"
        return f"{self.after.name} of {self.model} under {said}: {self.change}{floor}"

    def with_floor(self, floor: NoiseFloor) -> "Effect":
        """The same effect beside its noise floor."""
        return replace(self, floor=floor)


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
    refuse_seen(under, contrast.questions, allowing=allowing)
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


def noise_floor(
    model: Model,
    contrast: Contrast,
    metric: Metric,
    *,
    under: Sequence[Intervention] = (),
    questions: int = 16,
) -> NoiseFloor:
    """How far a metric moves when only the arithmetic changes: an effect below that shows nothing.

    The same questions again, each exchange in a batch of its own; through the other attention kernel (eager
    in place of SDPA and the other way round); and in the next wider dtype. The model is left as it was.

    Args:
        model: a loaded model.
        contrast: of which ``questions``, evenly spaced, are measured.
        metric: as for :func:`measure`.
        under: edits that stay applied throughout.
        questions: how many are enough to see the largest deviation.

    Raises:
        BadInput: the metric is not finite.

    Cost: four times the metric's on those questions, one exchange at a time in one of them. Memory: while the
    wider dtype is in use, a second copy of the weights at twice the size.
    """
    every = max(1, len(contrast) // questions)
    some = contrast.only(contrast.questions[::every][:questions])
    with model.applied(under):
        before = metric(model, some)
    _require_numbers(before, "without any change: mend the metric")
    found = {}
    for name, changed in _CHANGES.items():
        with changed(model) as possible:
            if possible and (after := _measured(model, some, metric, under)) is not None:
                found[name] = float(np.abs(after.values - before.values).max())
    return NoiseFloor(found, before.unit, len(some))


def _measured(model: Model, some: Contrast, metric: Metric, under: Sequence[Intervention]) -> Scores | None:
    """The metric once more; None where a kernel does not exist in this arithmetic (grouped experts, say)."""
    try:
        with model.applied(under):
            return metric(model, some)
    except RuntimeError:
        return None


@contextmanager
def _one_by_one(model: Model) -> Iterator[bool]:
    usual, model.batch_tokens = model.batch_tokens, 1
    try:
        yield True
    finally:
        model.batch_tokens = usual


@contextmanager
def _other_kernel(model: Model) -> Iterator[bool]:
    usual = model.provenance.kernel
    other = "sdpa" if usual == "eager" else "eager"
    try:
        model.hf.set_attn_implementation(other)
    except (ValueError, ImportError, AttributeError):  # an architecture without it
        yield False
        return
    try:
        yield True
    finally:
        model.hf.set_attn_implementation(usual)


@contextmanager
def _wider(model: Model) -> Iterator[bool]:
    """One dtype wider and back, which loses nothing: every narrow number is also a wide one."""
    usual = model.hf.dtype
    wide = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.float32: torch.float64}
    kinds = {one.dtype for one in model.hf.parameters() if one.is_floating_point()}
    if kinds != {usual} or usual not in wide or model.hf.device.type == "mps":
        yield False
        return
    kept = {name: one for name, one in model.hf.named_buffers() if one.is_floating_point()}
    dtypes = {name: one.dtype for name, one in kept.items()}
    try:
        model.hf.to(wide[usual])
        yield True
    finally:
        model.hf.to(usual)
        for name, one in model.hf.named_buffers():
            if name in kept and dtypes[name] != one.dtype:
                one.data = kept[name].data


_CHANGES: Mapping[str, Callable[[Model], AbstractContextManager[bool]]] = {
    "batch composition": _one_by_one,
    "attention kernel": _other_kernel,
    "dtype": _wider,
}


def _require_numbers(scores: Scores, when: str) -> None:
    broken = ~np.isfinite(scores.values)
    if broken.any():
        first = scores.questions[int(np.argmax(broken))]
        raise BadInput(
            f"The {scores.name} is not finite on {int(broken.sum())} of {len(scores)} questions "
            f"(first {first!r}) {when}."
        )
