"""What is settled before the first pass: config, words, rendering, split, hashes, the count of the work."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erosion import __version__
from erosion.auditing.config import Config, read_config
from erosion.auditing.folder import SCHEMA
from erosion.auditing.plan import AuditPlan, plan_audit
from erosion.errors import BadContrast
from erosion.files import hash_json
from erosion.models import Shape, load_tokenizer, rendering_of, require_same_architecture, shape_of
from erosion.prompts import Contrast, load_contrast
from erosion.prompts.rendering import Rendered, Rendering, render, require_same_tokens
from erosion.sites import Site, residuals
from erosion.triads import Checkpoint, Triad

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is decided before the first pass: words, split, hashes, plan."""

    config: Config
    contrast: Contrast
    rendering: Rendering
    rendered: tuple[Rendered, ...]
    shapes: Mapping[str, Shape]
    parts: Mapping[str, tuple[str, ...]]
    plan: AuditPlan

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """The models by name, base first."""
        return dict(self.config.triad)

    @property
    def sites(self) -> tuple[Site, ...]:
        """``resid_post`` of every layer."""
        return residuals(range(self.shapes["aligned"].n_layers))

    @property
    def domains(self) -> dict[str, str]:
        """Question -> domain."""
        return dict(zip(self.contrast.questions, self.contrast.domains, strict=True))

    @property
    def tested(self) -> Contrast:
        """The held-out questions that causal effects are measured on: those outside the trained domains."""
        domains = self.domains
        outside = [q for q in self.parts["held_out"] if domains[q] not in self.config.trained_domains]
        return self.contrast.only(outside or self.parts["held_out"], name="held out")

    @property
    def identity(self) -> str:
        """The hash of all that decides the numbers: which folder a run may resume."""
        config = {k: v for k, v in self.config.to_json().items() if k not in ("out", "experiments")}
        hashes = {name: [s.weights_hash, s.adapter_hash] for name, s in self.shapes.items()}
        for name in ("base", "aligned", "tuned", "contrast"):
            config.pop(name)
        return hash_json([config, hashes, self.contrast.hash, self.rendering.hash, SCHEMA])

    def inputs(self, name: str) -> dict[str, Any]:
        """What a pass of one model depends on."""
        shape, c = self.shapes[name], self.config
        return {
            "weights": shape.weights_hash,
            "adapter": [shape.adapter_hash, self.checkpoints[name].scale],
            "placement": [c.device, c.device_map, c.dtype, str(c.batch_tokens)],
            "rendering": self.rendering.hash,
            "contrast": self.contrast.hash,
            "versions": [__version__, torch.__version__],
        }


def prepare(
    triad: Triad | None = None, contrast: Contrast | str | Path | None = None, **options: Any
) -> Prepared:
    """Check an audit's inputs and count its work, without loading a model or writing a file.

    Arguments and errors as :func:`audit`.
    """
    config, words = _resolved(triad, contrast, options)
    checkpoints = list(config.triad)
    require_same_architecture(checkpoints)
    shapes = {name: shape_of(checkpoint) for name, checkpoint in checkpoints}
    unknown = set(config.trained_domains) - set(words.domains)
    if unknown:
        known = ", ".join(sorted(set(words.domains)))
        raise BadContrast(f"trained_domains names {sorted(unknown)[0]!r} and the contrast has {known}.")
    rendering = rendering_of(config.triad.aligned, config.template, config.system)
    rendered = render(words.exchanges, rendering, load_tokenizer(config.triad.aligned))
    for name, checkpoint in checkpoints:
        if name != "aligned":
            require_same_tokens(rendered, load_tokenizer(checkpoint), model=name)
    fractions = (config.split.fit, config.split.select, config.split.held_out)
    parts = [part.questions for part in words.split(*fractions, seed=config.seed)]
    named: dict[str, tuple[str, ...]] = dict(zip(("fit", "select", "held_out"), parts, strict=True))
    plan = plan_audit(config, shapes, words, rendered)
    return Prepared(config, words, rendering, rendered, shapes, named, plan)


def _resolved(
    triad: Triad | None, contrast: Contrast | str | Path | None, options: dict[str, Any]
) -> tuple[Config, Contrast]:
    path = options.pop("config", None)
    if triad is not None:
        options |= {name: _named(checkpoint) for name, checkpoint in triad}
    if contrast is not None:
        options["contrast"] = contrast.name if isinstance(contrast, Contrast) else str(contrast)
    config = read_config(path, **options)
    words = contrast if isinstance(contrast, Contrast) else load_contrast(config.contrast)
    return config, words


def _named(checkpoint: Checkpoint) -> str:
    return checkpoint.adapter if checkpoint.adapter is not None else checkpoint.weights
