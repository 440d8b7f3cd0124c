"""Progress without printing: long loops report here, and whoever wants to see it listens.

The library never writes to a terminal. ``with er.progress(callback)`` hands the callback a
:class:`Step` each time a long loop advances; the command line draws its one bar that way.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Step", "progress", "tracked"]

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """How far one named loop has come: ``done`` of ``total`` pieces."""

    name: str
    done: int
    total: int


_listener: ContextVar[Callable[[Step], None] | None] = ContextVar("erosion_progress", default=None)


@contextmanager
def progress(callback: Callable[[Step], None]) -> Iterator[None]:
    """Hear of every long loop inside the block.

    >>> with progress(lambda step: print(step.name, step.done, step.total)):
    ...     for _ in tracked(["a", "b"], name="reading"):
    ...         pass
    reading 0 2
    reading 1 2
    reading 2 2
    """
    token = _listener.set(callback)
    try:
        yield
    finally:
        _listener.reset(token)


def tracked(items: Iterable[T], *, name: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and report each one's end to the listener, if there is one."""
    items = list(items) if total is None else items
    total = len(items) if total is None else total  # type: ignore[arg-type]
    listener = _listener.get()
    if listener is not None:
        listener(Step(name, 0, total))
    for done, item in enumerate(items, start=1):
        yield item
        if listener is not None:
            listener(Step(name, done, total))
