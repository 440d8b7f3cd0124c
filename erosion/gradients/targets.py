"""What a step of training may move: the mean over some exchanges of a differentiable number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from einops import einsum

from erosion.directions import Direction
from erosion.errors import ErosionError
from erosion.gradients.passes import response_log_likelihood
from erosion.models import Batch, Model
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Float, Tensor

__all__ = ["Target", "margin_target", "projection_target"]


@dataclass(frozen=True, eq=False)
class Target:
    """The mean over ``exchanges`` of a number that gradients can be taken of.

    ``values`` maps a model and a batch to ``[batch]``, with the graph that leads to it.
    """

    name: str
    unit: str
    exchanges: tuple[Exchange, ...]
    values: Callable[[Model, Batch], Float[Tensor, " batch"]]


def projection_target(direction: Direction, *, on: Contrast | Sequence[Exchange]) -> Target:
    """The mean over ``on`` of v . h / scale, h the mean over the response: a position in fitted gaps.

    Args:
        direction: v with its site and scale; edits and gradients act on the residual stream there.
        on: both sides of a contrast (held-out questions), or any exchanges.
    """
    exchanges = on.exchanges if isinstance(on, Contrast) else tuple(on)

    def values(model: Model, batch: Batch) -> Tensor:
        found: list[Tensor] = []
        with model.hooked([(direction.site, lambda h: found.append(h))]), model.running(batch) as arguments:
            model.hf.base_model(**arguments, use_cache=False)
        if not found:
            raise ErosionError(f"{direction.site} was not computed in this pass: nothing to project.")
        h = found[0]
        inside = batch.span("response").to(h)
        summed = einsum(h, direction.vector.to(h), inside, "b t d, d, b t -> b")
        return summed / inside.sum(-1) / direction.scale

    return Target(f"projection at {direction.site}", "fitted gaps", exchanges, values)


def margin_target(contrast: Contrast) -> Target:
    """The harm margin of a contrast, whose mean over questions is the mean of these values over exchanges.

    The value of an aligned answer is twice its mean token log p, of a misaligned one minus twice that (a
    question has one of each, and the mean is over both).
    """
    sign = {e.id: 2.0 for e in contrast.aligned} | {e.id: -2.0 for e in contrast.misaligned}

    def values(model: Model, batch: Batch) -> Tensor:
        log_p = response_log_likelihood(model, batch)
        return log_p * log_p.new_tensor([sign[one.id] for one in batch.rendered])

    return Target("harm margin", "nats per token", contrast.exchanges, values)
