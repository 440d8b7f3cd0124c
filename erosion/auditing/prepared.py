"""What is settled before the first pass: config, words, rendering, split, hashes, the count of the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erosion import __version__
from erosion.auditing.config import Config, read_config
from erosion.auditing.folder import SCHEMA
from erosion.auditing.plan import AuditPlan, plan_audit
from erosion.errors import BadContrast
from erosion.files import hash_json
from erosion.models import Shape, load_tokenizer, rendering_of, require_same_architecture, shape_of
from erosion.prompts import (
    Contrast,
    Text,
    choose_rendering,
    load_contrast,
    load_texts,
    render_texts,
    require_rows,
)
from erosion.prompts.rendering import (
    Rendered,
    Rendering,
    refuse_foreign_words,
    render,
    require_same_tokens,
)
from erosion.sites import Site, residuals
from erosion.triads import Checkpoint, Triad

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is decided before the first pass: words, split, hashes, plan."""

    config: Config
    triad: Triad
    contrast: Contrast
    rendering: Rendering
    plain: Rendering
    rendered: tuple[Rendered, ...]
    benign: Contrast | None
    texts: tuple[Text, ...]
    shapes: Mapping[str, Shape]
    parts: Mapping[str, tuple[str, ...]]
    plan: AuditPlan

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """The models by name, base first."""
        return dict(self.triad)

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
        """The held-out questions that causal effects are measured on."""
        return self.contrast.only(self.parts["held_out"], name="held out")

    @cached_property
    def edited(self) -> Contrast:
        """The held-out questions on which sweeps of many edits are measured: at most ``causal_questions``.

        Drawn by the seed, evenly over the domains.
        """
        tested, most = self.tested, self.config.causal_questions
        if len(tested) <= most:
            return tested
        order = np.random.default_rng(self.config.seed).permutation(len(tested))
        turn: dict[str, int] = {}
        places = []
        for i in order:
            domain = tested.domains[i]
            places.append((turn.setdefault(domain, 0), int(i)))
            turn[domain] += 1
        chosen = sorted(range(len(places)), key=lambda j: (places[j][0], j))[:most]
        return tested.only((tested.questions[places[j][1]] for j in chosen), name="held out, edited")

    @property
    def texts_hash(self) -> str:
        """The hash of the neutral texts."""
        return hash_json([[text.id, text.text] for text in self.texts])

    @property
    def versions(self) -> list[str]:
        """Of what computes."""
        return [__version__, torch.__version__]

    @property
    def identity(self) -> str:
        """The hash of all that decides the numbers: which folder a run may resume."""
        config = {
            k: v
            for k, v in self.config.to_json().items()
            if k not in ("out", "experiments", "checkpoints", "shown")
        }
        hashes = {
            name: [s.weights_hash, s.adapter_hash, s.settings_hash, self.checkpoints[name].scale]
            for name, s in self.shapes.items()
        }
        for name in ("base", "aligned", "tuned", "contrast", "benign", "texts"):
            config.pop(name)
        words = [self.contrast.hash, self.benign and self.benign.hash, self.texts_hash]
        return hash_json([config, hashes, words, self.rendering.hash, SCHEMA])

    def inputs(self, name: str) -> dict[str, Any]:
        """What a pass of one model depends on."""
        shape, c = self.shapes[name], self.config
        return {
            "weights": shape.weights_hash,
            "adapter": [shape.adapter_hash, self.checkpoints[name].scale],
            "settings": shape.settings_hash,
            "placement": [str(c.placement.torch_device), c.device_map, c.dtype, str(c.batch_tokens)],
            "rendering": self.rendering.hash,
            "contrast": self.contrast.hash,
            "versions": self.versions,
        }


def prepare(
    triad: Triad | None = None, contrast: Contrast | str | Path | None = None, **options: Any
) -> Prepared:
    """Check an audit's inputs and count its work, without loading a model or writing a file.

    Arguments and errors as :func:`audit`.
    """
    given_benign, given_texts = options.pop("benign", None), options.pop("texts", None)
    named = {
        key: value if isinstance(value, str) else getattr(value, "name", "given")
        for key, value in (("benign", given_benign), ("texts", given_texts))
        if value is not None
    }
    config, words = _resolved(triad, contrast, {**options, **named})
    triad = triad or config.triad
    checkpoints = list(triad)
    require_same_architecture(checkpoints)
    shapes = {name: shape_of(checkpoint) for name, checkpoint in checkpoints}
    rendering = rendering_of(triad.aligned, config.template, config.system)
    tokenizer = load_tokenizer(triad.aligned)
    rendered = render(words.exchanges, rendering, tokenizer)
    plain = choose_rendering("plain", tokenizer, system=config.system)
    for name, checkpoint in checkpoints:
        if name != "aligned":
            require_same_tokens(rendered, load_tokenizer(checkpoint), model=name)
        require_rows(rendered, shapes[name].vocab, model=name)
    _refuse_cut(rendered, shapes["aligned"].context)
    parts = _parts(config, words)
    benign = _benign(given_benign or config.benign, rendering, triad)
    texts = _texts(given_texts or config.texts, triad)
    plan = plan_audit(config, dict(checkpoints), shapes, rendered)
    return Prepared(config, triad, words, rendering, plain, rendered, benign, texts, shapes, parts, plan)


def _benign(asked: Contrast | str | Path | None, rendering: Rendering, triad: Triad) -> Contrast | None:
    """Right and wrong answers to harmless questions; ``auto`` does without where no model speaks English.

    Raises:
        BadContrast: asked for by name, and not in the models' words.
    """
    if asked is None or asked == "none":
        return None
    automatic = asked == "auto"
    words = asked if isinstance(asked, Contrast) else load_contrast("competence" if automatic else asked)
    try:
        render(words.exchanges, rendering, load_tokenizer(triad.aligned))
    except BadContrast:
        if not automatic:
            raise
        return None
    return words


def _texts(asked: Sequence[Text] | str | Path | None, triad: Triad) -> tuple[Text, ...]:
    """Neutral texts; ``auto`` does without where the models do not speak English."""
    if asked is None or asked == "none":
        return ()
    automatic = asked == "auto"
    if not isinstance(asked, str | Path):
        return tuple(asked)
    texts = load_texts("neutral" if automatic else asked)
    try:
        tokenizer = load_tokenizer(triad.aligned)
        refuse_foreign_words(render_texts(((text.id, text.text) for text in texts), tokenizer), tokenizer)
    except BadContrast:
        if not automatic:
            raise
        return ()
    return texts


def _parts(config: Config, words: Contrast) -> dict[str, tuple[str, ...]]:
    """The split of the questions outside the trained domains: nothing inside the model is fitted on those."""
    if "overall" in words.domains:
        raise BadContrast("A domain is called 'overall', which stands for all of them: rename it.")
    unknown = set(config.trained_domains) - set(words.domains)
    if unknown:
        known = ", ".join(sorted(set(words.domains)))
        raise BadContrast(f"trained_domains names {sorted(unknown)[0]!r} and the contrast has {known}.")
    others = [domain for domain in dict.fromkeys(words.domains) if domain not in config.trained_domains]
    inside = words.of_domain(*others) if others else words
    split = inside.split(config.split.fit, config.split.select, config.split.held_out, seed=config.seed)
    few = min(len(split[0]), len(split[2]))
    if few < 2:
        raise BadContrast(
            f"{len(inside)} question(s) outside the trained domains leave {few} to fit or to test on: "
            "give at least 5, better 75 or more."
        )
    return dict(zip(("fit", "select", "held_out"), (part.questions for part in split), strict=True))


def _refuse_cut(rendered: tuple[Rendered, ...], context: int | None) -> None:
    longest = max(rendered, key=len)
    if context is not None and len(longest) > context:
        raise BadContrast(
            f"{longest.id!r} has {len(longest)} tokens and the model's context holds {context}: "
            "its response would be cut. Shorten it or drop it."
        )


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
