"""Several sets of edits in one pass: the batch runs as copies of itself, each edited in its own way.

A small batch leaves a device idle; packed, many edits share one pass over the weights. Rows of a batch do
not see each other, so the numbers are those of separate passes, up to the rounding that another batch size
brings (1e-5 of the logits in float32).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from erosion.interventions import Intervention, refuse_conflicts
from erosion.models.canary import Canary
from erosion.models.hooked import Model
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = ["packed", "packed_as", "watched"]

Pack = Sequence[Sequence[Intervention]]


@contextmanager
def packed(model: Model, pack: Pack) -> Iterator[None]:
    """Run every batch inside the block as ``len(pack)`` copies, copy i under the edits ``pack[i]``.

    ``model.logits`` then gives ``[copies x batch, position, vocab]``, copies one below the other. Each edit
    proves itself as under ``model.applied``.

    Raises:
        BadInput: inside edits or another pack, and as ``model.applied``.
        ErosionError: an edit that did not fire or changed nothing.

    Memory: that of a batch ``len(pack)`` times as large.
    """
    canaries = [watched(model, edits) for edits in pack]
    with packed_as(model, canaries):
        yield
    for copy in canaries:
        for canary in copy:
            canary.prove()


def watched(model: Model, edits: Sequence[Intervention]) -> tuple[Canary, ...]:
    """The edits of one copy as they are applied; each proves itself when ``prove`` is called.

    Raises:
        BadInput: as ``model.applied``.
    """
    refuse_conflicts(edits)
    return tuple(Canary(edit, model.anatomy, model.passes) for edit in edits)


@contextmanager
def packed_as(
    model: Model, canaries: Sequence[Sequence[Canary]], *, donor: int | None = None
) -> Iterator[None]:
    """:func:`packed` with edits that are watched over many passes and prove themselves at their end.

    ``donor`` is the copy from which live patches take their source.
    """
    every = [canary for copy in canaries for canary in copy]
    sites = dict.fromkeys(canary.edit.at for canary in every)
    hooks = [(site, _by_copy(canaries, site, donor)) for site in sites]
    with model.passes.copied(len(canaries)), model.passes.watched(every), model.hooked(hooks):
        yield


def _by_copy(
    canaries: Sequence[Sequence[Canary]], site: Site, donor: int | None
) -> Callable[[Tensor], Tensor]:
    def hook(x: Tensor) -> Tensor:
        edited, copies = [], x.chunk(len(canaries))
        source = None if donor is None else copies[donor]
        for copy, rows in zip(canaries, copies, strict=True):
            for canary in copy:
                if canary.edit.at == site:
                    rows = canary(rows, source)
            edited.append(rows)
        return torch.cat(edited)

    return hook
