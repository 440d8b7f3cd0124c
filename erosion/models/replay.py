"""Skipping the blocks before an edit: many edits at one layer, each for the price of the blocks behind it.

Notable: the model's own later blocks, norm and head run with the arguments that the model itself makes, and
blocks before the edit hand on what they put out in a clean pass, so that the result equals the full pass bit
for bit. Hooks at the layer and behind fire as always.

:func:`replaying` records lazily, one layer, for jobs that run the same batches many times;
:func:`recording` keeps several layers of one pass, and :func:`replayed` plays one of them back.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as trees

from erosion.errors import BadInput
from erosion.models.hooked import Model, require_site
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = ["recording", "replayed", "replaying"]


@contextmanager
def replaying(model: Model, layer: int) -> Iterator[None]:
    """Compute only what lies behind the output of block ``layer``, from the second pass over a batch on.

    The first pass over a batch records what the block put out, untouched. Nothing before ``resid_post`` of
    ``layer`` can be edited or read inside the block (it would not run). Another checkpoint (``model.using``)
    is recorded anew.

    Raises:
        BadInput: no such layer, a replay inside a replay, or edits before it that are already in place.

    Memory: batch x position x d_model in the model's dtype for every batch that is seen, freed at the end.
    Time of a later pass: that of the blocks behind ``layer`` and the head.
    """
    recorded: dict[Any, Any] = {}

    def short_cut(whole: Callable[..., Any], *, last: bool) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            batch = model.batch
            if batch is None:
                return whole(*args, **kwargs)
            key = (batch.index, batch.offset, batch.ids.shape, model.found, model.provenance.weights_hash)
            # An index alone says nothing across jobs: the words themselves must be the same.
            if key in recorded and recorded[key][0] == batch.rendered:
                return _copied(recorded[key][1], model.passes.copies if last else 1)
            output = whole(*args, **kwargs)
            if last:
                recorded[key] = (batch.rendered, _first_copy(output, len(batch.index)))
            return output

        return forward

    with _short(model, layer, short_cut):
        yield


@contextmanager
def recording(model: Model, layers: Sequence[int]) -> Iterator[dict[int, Any]]:
    """Keep what the blocks put out, before any edit, in the next pass inside the block: layer -> output.

    Memory: layers x batch x position x d_model in the model's dtype.

    Raises:
        BadInput: no such layer.
    """
    kept: dict[int, Any] = {}
    handles = []
    for layer in layers:
        require_site(model, Site(layer))
        block = model.bridge.blocks[layer].original_component
        handles.append(
            block.register_forward_hook(lambda _, __, output, layer=layer: kept.__setitem__(layer, output))
        )
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replayed(model: Model, layer: int, output: Any) -> Iterator[None]:
    """Hand ``output`` on in the place of the blocks up to ``layer``: what :func:`recording` kept of it.

    For passes over the very batch that was recorded, as one or as several copies. Raises as
    :func:`replaying`.
    """

    def short_cut(_: Callable[..., Any], *, last: bool) -> Callable[..., Any]:
        return lambda *args, **kwargs: _copied(output, model.passes.copies if last else 1)

    with _short(model, layer, short_cut):
        yield


@contextmanager
def _short(model: Model, layer: int, short_cut: Callable[..., Callable[..., Any]]) -> Iterator[None]:
    """Put a short cut in the place of the blocks up to ``layer``."""
    require_site(model, Site(layer))
    if model.passes.replayed is not None or model.passes.watching:
        raise BadInput(f"A replay of L{layer} begins inside edits or another replay: put it around them.")
    blocks = [model.bridge.blocks[i].original_component for i in range(layer + 1)]
    own = [block.__dict__.get("forward") for block in blocks]  # accelerate puts its own there
    for block in blocks:
        block.forward = short_cut(block.forward, last=block is blocks[-1])
    model.passes.replayed = layer
    try:
        yield
    finally:
        model.passes.replayed = None
        for block, forward in zip(blocks, own, strict=True):
            del block.forward  # the class's own method shows again
            if forward is not None:
                block.forward = forward


def _copied(output: Any, copies: int) -> Any:
    """A block's output once for each copy of the batch."""
    if copies == 1:
        return output
    return _each_tensor(output, lambda x: x.repeat(copies, *[1] * (x.ndim - 1)))


def _first_copy(output: Any, rows: int) -> Any:
    return _each_tensor(output, lambda x: x[:rows])


def _each_tensor(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return trees.tree_map_only(torch.Tensor, change, output)
