"""One batched backward pass that stops at the first map asked for.

Every parameter is held fixed, so nothing requires a gradient until the first of the chosen maps: its output
is made the leaf where the graph begins, and blocks below it are run forward only. Each map's delta is handed
on the moment it is known and then forgotten, so memory is that of a plain backward pass.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import cross_entropy

from erosion.errors import ErosionError
from erosion.models import Batch, Model
from erosion.models.linears import Linear, LinearMap
from erosion.shapes import Float, Tensor

__all__ = [
    "Use",
    "backward",
    "exact",
    "frozen",
    "response_log_likelihood",
    "response_losses",
    "token_log_likelihood",
]

Use = Callable[[LinearMap, Tensor, Tensor], None]
"""What is done with one map of one batch: its deltas ``[batch, position, out]``, inputs ``[…, in]``."""

Places = Mapping[LinearMap, Linear]


def backward(
    model: Model, batch: Batch, places: Places, use: Use, *, of: Callable[[Model, Batch], Tensor]
) -> Float[Tensor, " batch"]:
    """Call ``use`` once for every map that ``of``'s values depend on; gives the values, ``[batch]``.

    Args:
        model: a loaded model; edits applied around the call are seen.
        batch: what to run.
        places: the maps and where they live.
        use: is handed deltas and inputs, cut to where deltas begin.
        of: one value for each row of the batch; their sum is what is differentiated.

    Raises:
        ErosionError: a map that ran twice in one pass, or none that took part.
    """
    by_module: dict[int, list[tuple[LinearMap, Linear]]] = {}
    for one, place in places.items():
        by_module.setdefault(id(place.module), []).append((one, place))
    ran: set[int] = set()

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if id(module) in ran:
            raise ErosionError(f"{by_module[id(module)][0][0]} ran twice in one pass: its weight is shared.")
        ran.add(id(module))
        a = inputs[0].detach()
        output = output if output.requires_grad else output.detach().requires_grad_()

        def arrived(delta: Tensor) -> None:
            for one, place in by_module[id(module)]:
                use(one, *_cropped(place.of(delta.detach()), a))

        output.register_hook(arrived)
        return output

    with ExitStack() as stack:
        stack.enter_context(frozen(model.hf))
        stack.enter_context(torch.enable_grad())
        for modules in by_module.values():
            stack.callback(modules[0][1].module.register_forward_hook(hook).remove)
        values = of(model, batch)
        if not values.requires_grad:
            raise ErosionError(f"None of {', '.join(map(str, places))} takes part in what is measured.")
        values.sum().backward()
    return values.detach()


def token_log_likelihood(
    model: Model, batch: Batch
) -> tuple[Float[Tensor, "batch late"], Float[Tensor, "batch late"]]:
    """log p of the batch's later tokens, differentiable, and 1 where a token is of a response."""
    first = min(one.span("response")[0] + at for one, at in zip(batch.rendered, batch.offset, strict=True))
    predicting = torch.arange(first - 1, batch.ids.shape[1] - 1, device=batch.ids.device)
    with model.running(batch) as arguments:  # places, not a slice: a slice would make the head's product slow
        logits = model.hf(**arguments, use_cache=False, logits_to_keep=predicting).logits
    tokens = batch.ids[:, first:].to(logits.device)
    losses = cross_entropy(exact(logits).flatten(0, 1), tokens.flatten(), reduction="none")
    log_p = -rearrange(losses, "(b t) -> b t", b=len(tokens))
    return log_p, batch.span("response")[:, first:].to(log_p)


def response_log_likelihood(model: Model, batch: Batch) -> Float[Tensor, " batch"]:
    """The mean of log p over each exchange's response tokens, differentiable; the end of turn is left out."""
    log_p, inside = token_log_likelihood(model, batch)
    return (log_p * inside).sum(-1) / inside.sum(-1)


def response_losses(model: Model, batch: Batch) -> Float[Tensor, " batch"]:
    """The mean cross-entropy of each exchange's response tokens, in nats."""
    return -response_log_likelihood(model, batch)


def exact(x: Tensor) -> Tensor:
    """At least float32: what inner products are summed in."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def frozen(hf: nn.Module) -> Iterator[None]:
    """No parameter requires a gradient inside the block."""
    were = [parameter for parameter in hf.parameters() if parameter.requires_grad]
    for parameter in were:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in were:
            parameter.requires_grad_(True)


def _cropped(delta: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Without the prompt where no delta reaches it, as at most maps of the last block."""
    if bool(delta[:, 0].any()):  # elsewhere: spare a look at every number
        return delta, a
    there = delta.ne(0).any(-1).any(0).nonzero()
    first = int(there[0]) if len(there) else delta.shape[1] - 1
    return delta[:, first:], a[:, first:]
