"""Real training steps, one at a time: take it, measure the target, put every bit back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import einsum

from erosion.gradients.passes import backward, exact, response_losses
from erosion.gradients.rows import Rows, chosen, load_tensors, rows_of, save_tensors
from erosion.gradients.targets import Target
from erosion.models import Batch, Model
from erosion.models.linears import Linear, LinearMap, linears
from erosion.progress import tracked
from erosion.prompts import Contrast, Exchange
from erosion.prompts.rendering import Rendered
from erosion.shapes import Array, Float, Tensor

__all__ = ["Step", "Steps", "adam_step", "load_steps", "real_steps", "sgd_step", "stepped"]


@dataclass(frozen=True, eq=False)
class Step:
    """How a gradient changes a weight: ``change`` maps one to the other, ``rate`` is the step size."""

    name: str
    rate: float
    change: Callable[[Float[Tensor, "out into"]], Float[Tensor, "out into"]]


def sgd_step(rate: float) -> Step:
    """W - rate G."""
    return Step("SGD", rate, lambda gradient: -rate * gradient)


def adam_step(rate: float) -> Step:
    """W - rate sign(G): Adam's first step (its moments are G and G^2, its epsilon is left out)."""
    return Step("Adam's first step", rate, lambda gradient: -rate * gradient.sign())


@dataclass(frozen=True, eq=False)
class Steps:
    """How far one real step on each exchange moved the target's mean from ``before``."""

    moved: Float[Array, " exchange"]
    before: float
    rate: float
    rows: Rows
    target: str
    unit: str
    step: str

    def save(self, path: str | Path) -> Path:
        """Write them as safetensors, atomically; :func:`load_steps` reads them bit for bit."""
        facts = {name: getattr(self, name) for name in ("before", "rate", "target", "unit", "step")}
        return save_tensors(path, "real steps", {"moved": torch.from_numpy(self.moved)}, self.rows, **facts)


def load_steps(path: str | Path) -> Steps:
    """Read what :meth:`Steps.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    tensors, rows, header = load_tensors(path, "real steps")
    before, rate, target, unit, step = (header[key] for key in ("before", "rate", "target", "unit", "step"))
    return Steps(tensors["moved"].numpy(), before, rate, rows, target, unit, step)


def real_steps(
    model: Model,
    exchanges: Contrast | Sequence[Exchange],
    *,
    target: Target,
    step: Step,
    maps: Sequence[LinearMap] | None = None,
) -> Steps:
    """Take one step on each exchange's response loss, from the same weights each time, and measure.

    The weights are the same afterwards, bit for bit, also after an error.

    Args:
        model: a loaded model.
        exchanges: to take a step on, one by one.
        target: what is measured after each (see :func:`projection_target`, :func:`margin_target`).
        step: :func:`sgd_step` at :meth:`Bridge.rate`, or :func:`adam_step`.
        maps: what is trained; all linear maps when not given.

    Raises:
        BadInput: a map that is not there, a response that does not tokenize or fit.
        BadModel: a model that routes tokens to experts, where feed-forward maps are asked for.

    Memory: the chosen weights twice more. Time: for each exchange a backward pass and a measurement of the
    whole target: choose some 50 of each.
    """
    answers, places = chosen(exchanges), linears(model, maps)
    asked, rendered = model.render(answers), model.render(target.exchanges)
    before, losses, after = _mean(model, target, rendered), [], []
    for i in tracked(range(len(answers)), name=f"{step.name} on {model.found}"):
        gradients, loss = _gradients(model, model.batch_of(asked, [i]), places)
        with stepped(places, {one: step.change(gradient) for one, gradient in gradients.items()}):
            after.append(_mean(model, target, rendered))
        losses.append(loss)
    moved = np.array(after) - before
    return Steps(
        moved, before, step.rate, rows_of(answers, np.array(losses)), target.name, target.unit, step.name
    )


def _mean(model: Model, target: Target, rendered: Sequence[Rendered]) -> float:
    values: list[float] = []

    @torch.no_grad()
    def work(batch: Batch) -> None:
        values.extend(target.values(model, batch).double().tolist())

    model.for_each_batch(rendered, work, name=target.name)
    return float(np.mean(values))


def _gradients(
    model: Model, batch: Batch, places: dict[LinearMap, Linear]
) -> tuple[dict[LinearMap, Tensor], float]:
    found: dict[LinearMap, Tensor] = {}

    def use(one: LinearMap, delta: Tensor, a: Tensor) -> None:
        found[one] = einsum(exact(delta), exact(a), "b t o, b t i -> o i")

    loss = backward(model, batch, places, use, of=response_losses)
    return found, float(loss.double())


@contextmanager
def stepped(places: dict[LinearMap, Linear], changes: dict[LinearMap, Tensor]) -> Iterator[None]:
    """The weights changed inside the block, and exactly what they were after it."""
    modules = {id(place.module): place.module for place in places.values()}
    were = {number: module.get_parameter("weight").data.clone() for number, module in modules.items()}
    try:
        for one, change in changes.items():
            places[one].add(change)
        yield
    finally:
        for number, module in modules.items():
            module.get_parameter("weight").data.copy_(were[number])
