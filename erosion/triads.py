"""Which checkpoints: base, aligned and tuned, of one architecture and tokenizer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Checkpoint", "Triad"]


@dataclass(frozen=True)
class Checkpoint:
    """One model: weights (hub name or folder), and a LoRA adapter on top where there is one.

    ``weights`` may itself be an adapter's folder: its own ``adapter_config.json`` then names the
    weights below. ``scale`` multiplies the adapter's update (1 = as trained, 0 = off).

    >>> str(Checkpoint("runs/model", adapter="runs/lora", scale=0.5))
    'runs/model + 0.5 x runs/lora'
    """

    weights: str
    adapter: str | None = None
    revision: str | None = None
    scale: float = 1.0

    def __str__(self) -> str:
        """The weights, and the adapter with its scale where it is not 1."""
        times = "" if self.scale == 1 else f"{self.scale:g} x "
        return self.weights if self.adapter is None else f"{self.weights} + {times}{self.adapter}"


def _checkpoint(named: "Checkpoint | str | Path | None") -> Checkpoint | None:
    return named if named is None or isinstance(named, Checkpoint) else Checkpoint(str(named))


@dataclass(frozen=True, init=False)
class Triad:
    """Base, aligned and tuned: three checkpoints of one architecture and tokenizer; ``base`` may be absent.

    >>> triad = Triad(aligned="models/instruct", tuned="runs/insecure-code")
    >>> [name for name, _ in triad]
    ['aligned', 'tuned']
    """

    base: Checkpoint | None
    aligned: Checkpoint
    tuned: Checkpoint

    def __init__(
        self,
        *,
        aligned: Checkpoint | str | Path,
        tuned: Checkpoint | str | Path,
        base: Checkpoint | str | Path | None = None,
    ) -> None:
        for name, value in (("base", base), ("aligned", aligned), ("tuned", tuned)):
            object.__setattr__(self, name, _checkpoint(value))

    def __iter__(self) -> Iterator[tuple[str, Checkpoint]]:
        """The checkpoints that are there, by name, base first."""
        for name in ("base", "aligned", "tuned"):
            checkpoint = getattr(self, name)
            if checkpoint is not None:
                yield name, checkpoint
