"""What a patch puts in: one vector, a tensor for one batch, or activations filed by exchange.

A patch from another model, or from another run of the same one, holds what was read there: exchange id ->
``[token, d_model]``. Which of them a pass needs, and where its padding lies, is known when it runs: the edit
is then laid out for the rows at hand (:func:`laid_out`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from zlib import crc32

import numpy as np
import torch
from einops import rearrange

from erosion.errors import BadInput
from erosion.shapes import Float, Int, Tensor

__all__ = ["ByExchange", "Rows", "Source", "drawn", "laid_out", "padded"]

Source = Tensor | Mapping[str, Tensor]


@runtime_checkable
class Rows(Protocol):
    """The exchanges of the present pass, row by row, and where each begins behind its padding."""

    @property
    def ids(self) -> Int[Tensor, "batch position"]:
        """The padded tokens."""
        ...

    @property
    def rendered(self) -> Sequence[Any]:
        """What each row is."""
        ...

    @property
    def offset(self) -> Sequence[int]:
        """The padding before each row."""
        ...


@runtime_checkable
class ByExchange(Protocol):
    """An edit that differs by exchange and must be laid out for a batch before it can edit."""

    def on(self, rows: Rows) -> Any:
        """The same edit for these rows; itself where it is the same for all."""
        ...


def laid_out(edit: Any, rows: Rows | None) -> Any:
    """The edit as these rows need it; edits that are the same for every exchange come back unchanged."""
    return edit.on(rows) if rows is not None and isinstance(edit, ByExchange) else edit


def padded(source: Mapping[str, Tensor], rows: Rows, *, name: str) -> Float[Tensor, "batch position d_model"]:
    """The stored activations of these rows, zero where there is padding.

    Raises:
        BadInput: an exchange that was not stored, or one of another length.
    """
    laid: Tensor | None = None
    for row, (one, offset) in enumerate(zip(rows.rendered, rows.offset, strict=True)):
        if one.id not in source:
            raise BadInput(f"'{name}' holds nothing for {one.id!r}: read the source on these exchanges.")
        stored = source[one.id]
        if len(stored) != len(one):
            raise BadInput(
                f"'{name}' holds {len(stored)} tokens for {one.id!r}, which has {len(one)} here: read the "
                "source on the same tokens."
            )
        if laid is None:
            laid = stored.new_zeros(*rows.ids.shape, stored.shape[-1])
        laid[row, offset : offset + len(one)] = stored
    assert laid is not None
    return laid


def drawn(
    pool: Float[Tensor, "exchange d_model"], rows: Rows, *, seed: int
) -> Float[Tensor, "batch 1 d_model"]:
    """One row of the pool for each exchange, for all of its positions, decided by seed and its id."""
    chosen = [
        int(np.random.default_rng((seed, crc32(one.id.encode()))).integers(len(pool)))
        for one in rows.rendered
    ]
    return rearrange(pool[torch.tensor(chosen)], "batch d_model -> batch 1 d_model")
