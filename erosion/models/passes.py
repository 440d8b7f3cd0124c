"""Forward passes: which batch is running, where a scoped edit acts in it, and who must see every pass.

A pass counts when it has finished: one that ran out of memory half-way is as if it had never been.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from erosion.errors import BadInput
from erosion.interventions import Rows, Scope
from erosion.models.batches import Batch
from erosion.shapes import Bool, Tensor

__all__ = ["Passes", "Watcher"]

Reach = Callable[[Scope], Bool[Tensor, "batch position"] | None]
"""Scope -> the positions of the present pass that it touches, None for none of them."""


class Watcher(Protocol):
    """Who is told when a pass begins and when it has finished."""

    def begin(self) -> None:
        """A pass begins."""
        ...

    def end(self) -> None:
        """The pass has finished."""
        ...


class Passes:
    """Counts a model's finished passes and knows which positions the present one is about."""

    def __init__(self, hf: Any) -> None:
        self.count = 0
        self.batch: Batch | None = None
        self.rows: Rows | None = None
        self.copies = 1
        self.replayed: int | None = None
        self._reach: Reach | None = None
        self._watchers: list[Watcher] = []
        hf.base_model.register_forward_pre_hook(self._begin)
        hf.base_model.register_forward_hook(self._end)

    def _begin(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.begin()

    def _end(self, *_: object) -> None:
        self.count += 1
        for watcher in self._watchers:
            watcher.end()

    @property
    def watching(self) -> bool:
        """Whether somebody is told of every pass at present."""
        return bool(self._watchers)

    @contextmanager
    def watched(self, watchers: list[Any]) -> Iterator[None]:
        """Tell the watchers of every pass inside the block."""
        self._watchers += watchers
        try:
            yield
        finally:
            self._watchers = [w for w in self._watchers if not any(w is one for one in watchers)]

    @contextmanager
    def about(self, reach: Reach, *, rows: Rows | None, batch: Batch | None = None) -> Iterator[None]:
        """Scopes mean what ``reach`` says inside the block, and rows are these exchanges.

        ``batch`` is what a replay knows a pass by; None where a pass is not to be replayed.
        """
        was = self._reach, self.rows, self.batch
        self._reach, self.rows, self.batch = reach, rows, batch
        try:
            yield
        finally:
            self._reach, self.rows, self.batch = was

    @contextmanager
    def copied(self, copies: int) -> Iterator[None]:
        """Every batch runs as so many copies of itself inside the block, one below the other.

        Raises:
            BadInput: inside edits, which would not know their rows, or inside other copies.
        """
        if self.copies != 1 or self.watching:
            raise BadInput("A pack of edits begins inside edits or another pack: put it around them.")
        self.copies = copies
        try:
            yield
        finally:
            self.copies = 1

    def reach(self, scope: Scope, *, of: object) -> Bool[Tensor, "batch position"] | None:
        """The positions that a scope touches in the present pass, None for none of them.

        Raises:
            BadInput: no batch is running, so that nobody can know.
        """
        if self._reach is None:
            raise BadInput(f"'{of}' edits the {scope} and this pass does not say where that is: run a batch.")
        return self._reach(scope)
