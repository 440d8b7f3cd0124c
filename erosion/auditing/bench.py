"""The bench: one set of weights in memory at a time, loaded when a step first needs it, each step cached.

Checkpoints that stand on the same weights (LoRA adapters, or a model and its adapter) are one load: the
adapter is switched, never the weights.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from erosion.auditing.folder import RunFolder
from erosion.auditing.prepared import Prepared
from erosion.models import Model, find, load

__all__ = ["Bench", "Format"]

T = TypeVar("T")


@dataclass(frozen=True)
class Format(Generic[T]):
    """How a reading is kept in the run folder."""

    save: Callable[[T, Path], Any]
    load: Callable[[Path], T]
    suffix: str = "json"


class Bench:
    """Does the steps that need a model; a step that was done before needs none."""

    def __init__(self, prepared: Prepared, folder: RunFolder) -> None:
        self.prepared, self.folder = prepared, folder
        self._model: Model | None = None
        self._switched = contextlib.ExitStack()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The models of this audit, base first."""
        return tuple(self.prepared.checkpoints)

    def close(self) -> None:
        """Free the weights."""
        self._switched.close()
        if self._model is not None:
            self._model.close()
            self._model = None

    def model(self, name: str) -> Model:
        """The named model, loaded or switched to."""
        checkpoint = self.prepared.checkpoints[name]
        self._switched.close()
        if self._model is None or find(checkpoint).weights != self._model.found.weights:
            self.close()
            self._model = self._load(name)
        self._switched.enter_context(self._model.using(checkpoint))
        return self._model

    def _load(self, name: str) -> Model:
        prepared, config = self.prepared, self.prepared.config
        checkpoint = prepared.checkpoints[name]
        weights = find(checkpoint).weights
        model = load(
            checkpoint,
            placement=config.placement,
            rendering=prepared.rendering,
            also=[other for other in prepared.checkpoints.values() if find(other).weights == weights],
            batch_tokens=None if config.batch_tokens == "auto" else config.batch_tokens,
        )
        plan = self.folder.json_step(
            f"plan-{name}",
            prepared.inputs(name),
            lambda: {"batch_tokens": model.batch_tokens, "model": model.provenance.to_json()},
        )
        model.batch_tokens = plan["batch_tokens"]
        return model

    def kept(
        self,
        reading: str,
        name: str,
        make: Callable[[Model], T],
        kept_as: Format[T],
        **beside: Any,
    ) -> T:
        """One reading of one model, from the cache where it was done before.

        Args:
            reading: what it is called.
            name: of which model.
            make: reads the loaded model.
            kept_as: how the value is written and read.
            beside: what decides the value beside the model and the contrast.
        """
        return self.folder.step(
            f"{reading}-{name}",
            {**self.prepared.inputs(name), **beside},
            lambda: make(self.model(name)),
            save=kept_as.save,
            load=kept_as.load,
            suffix=kept_as.suffix,
        )

    def each(self, reading: Callable[["Bench", str], T | None]) -> Mapping[str, T]:
        """A reading of every model that has it, by the model's name."""
        found = {name: reading(self, name) for name in self.names}
        return {name: value for name, value in found.items() if value is not None}
