"""Skipping the blocks before an edit: many edits at one layer, each for the price of the blocks behind it.

Inside ``with replaying(model, layer)`` the first pass over a batch records what block ``layer`` put out,
untouched; every later pass over the same batch hands that out again and computes neither it nor the blocks
before it. Hooks at ``layer`` and behind fire as always, on the same numbers: the model's own later blocks,
norm and head run with the arguments that the model itself makes, so the result equals the full pass bit
for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from erosion.errors import BadInput
from erosion.models.hooked import Model, require_site
from erosion.sites import Site

__all__ = ["replaying"]


@contextmanager
def replaying(model: Model, layer: int) -> Iterator[None]:
    """Compute only what lies behind the output of block ``layer``, from the second pass over a batch on.

    Nothing before ``resid_post`` of ``layer`` can be edited or read inside the block (it would not run).
    Another checkpoint (``model.using``) is recorded anew.

    Raises:
        BadInput: no such layer, a replay inside a replay, or edits before it that are already in place.

    Memory: batch x position x d_model in the model's dtype for every batch that is seen, freed at the end.
    Time of a later pass: that of the blocks behind ``layer`` and the head.
    """
    require_site(model, Site(layer))
    if model.passes.replayed is not None or model.passes.watching:
        raise BadInput(f"A replay of L{layer} begins inside edits or another replay: put it around them.")
    recorded: dict[Any, Any] = {}
    blocks = [model.bridge.blocks[i].original_component for i in range(layer + 1)]
    own = [block.__dict__.get("forward") for block in blocks]  # accelerate puts its own there
    for block in blocks:
        block.forward = _short_cut(model, block.forward, recorded, records=block is blocks[-1])
    model.passes.replayed = layer
    try:
        yield
    finally:
        model.passes.replayed = None
        for block, forward in zip(blocks, own, strict=True):
            del block.forward  # the class's own method shows again
            if forward is not None:
                block.forward = forward


def _short_cut(
    model: Model, whole: Callable[..., Any], recorded: dict[Any, Any], *, records: bool
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        batch = model.batch
        if batch is None:
            return whole(*args, **kwargs)
        key = (batch.index, batch.offset, batch.ids.shape, model.found)
        # An index alone says nothing across jobs: the words themselves must be the same.
        if key in recorded and recorded[key][0] == batch.rendered:
            return recorded[key][1]
        output = whole(*args, **kwargs)
        if records:
            recorded[key] = (batch.rendered, output)
        return output

    return forward
