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
from erosion.models.hooked import Model
from erosion.sites import Site

__all__ = ["replaying"]


@contextmanager
def replaying(model: Model, layer: int) -> Iterator[None]:
    """Compute only what lies behind the output of block ``layer``, from the second pass over a batch on.

    Nothing before ``resid_post`` of ``layer`` may be edited or read inside the block (it would not run), and
    no adapter switched.

    Raises:
        BadInput: no such layer.

    Memory: batch x position x d_model in the model's dtype for every batch that is seen, freed at the end.
    Time of a later pass: that of the blocks behind ``layer`` and the head.
    """
    if not 0 <= layer < model.n_layers:
        raise BadInput(f"L{layer} does not exist: this model has {model.n_layers} layers (L0 to L{model.n_layers - 1}).")
    recorded: dict[Any, Any] = {}
    blocks = [model.bridge.blocks[i].original_component for i in range(layer + 1)]
    for block in blocks:
        block.forward = _short_cut(model, block.forward, recorded, records=block is blocks[-1])
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own method shows again


def _short_cut(model: Model, whole: Callable[..., Any], recorded: dict[Any, Any], *, records: bool) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        key = None if model.batch is None else (model.batch.rendered, model.batch.offset)
        if key is not None and key in recorded:
            return recorded[key]
        output = whole(*args, **kwargs)
        if records and key is not None:
            recorded[key] = output
        return output

    return forward


def replayable(site: Site, layer: int) -> bool:
    """Whether an edit at ``site`` lies where a replay from ``layer`` still computes."""
    return site.layer > layer or (site.layer == layer and site.part == "resid_post")
