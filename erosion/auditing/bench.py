"""The bench: one set of weights in memory at a time, loaded when a step first needs it, each step cached.

Checkpoints that stand on the same weights (LoRA adapters, or a model and its adapter) are one load: the
adapter is switched, never the weights.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from erosion.activations import Activations, load_activations, read
from erosion.auditing.folder import RunFolder
from erosion.auditing.prepared import Prepared
from erosion.directions import Direction
from erosion.experiments import causal_cell
from erosion.metrics import Responses, matched_temperature, score_responses
from erosion.models import Model, find, load
from erosion.shapes import Array
from erosion.sites import Site

__all__ = ["Bench"]


class Bench:
    """Does the steps that need a model; a step that was done before needs none."""

    def __init__(self, prepared: Prepared, folder: RunFolder) -> None:
        self.prepared, self.folder = prepared, folder
        self._model: Model | None = None
        self._switched = contextlib.ExitStack()

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

    def _json(self, step: str, name: str, make: Callable[[], Any], **inputs: Any) -> Any:
        return self.folder.json_step(f"{step}-{name}", {**self.prepared.inputs(name), **inputs}, make)

    def scores(self, name: str) -> Responses:
        """Every response, token by token."""
        made = self._json(
            "scores", name, lambda: score_responses(self.model(name), self.prepared.contrast).to_json()
        )
        return Responses.from_json(made)

    def matched(self, name: str, entropy: float) -> tuple[Responses, float]:
        """The responses at the temperature that gives the model this mean entropy, and the temperature."""

        def make() -> dict[str, Any]:
            model, contrast = self.model(name), self.prepared.contrast
            temperature = matched_temperature(model, contrast, entropy=entropy)
            scored = score_responses(model, contrast, temperature=temperature)
            return {"temperature": temperature, "responses": scored.to_json()}

        made = self._json("matched", name, make, entropy=entropy)
        return Responses.from_json(made["responses"]), made["temperature"]

    def activations(self, name: str) -> Activations:
        """One vector for each exchange at every layer."""
        return self.folder.step(
            f"activations-{name}",
            self.prepared.inputs(name),
            lambda: read(self.model(name), self.prepared.contrast, sites=self.prepared.sites),
            save=lambda acts, path: acts.save(path),
            load=load_activations,
            suffix="safetensors",
        )

    def cells(
        self, name: str, directions: Mapping[Site, Direction], aligned: Activations
    ) -> dict[Site, dict[str, Array]]:
        """Margins under every edit, layer by layer (see :func:`erosion.experiments.causal_cell`)."""
        prepared, sampling = self.prepared, self.prepared.config.sampling
        training, tested = aligned.of(prepared.parts["fit"]), prepared.tested
        cells = {}
        for site, direction in directions.items():

            def make(site: Site = site, direction: Direction = direction) -> dict[str, Any]:
                cell = causal_cell(
                    self.model(name),
                    tested,
                    direction,
                    aligned=training,
                    draws=sampling.random_directions,
                    seed=sampling.seed,
                )
                return {key: values.tolist() for key, values in cell.items()}

            found = self._json(
                f"cell-{site}",
                name,
                make,
                aligned=prepared.inputs("aligned"),
                parts=prepared.parts,
                tested=tested.questions,
                draws=[sampling.random_directions, sampling.seed],
            )
            cells[site] = {key: np.array(values) for key, values in found.items()}
        return cells
