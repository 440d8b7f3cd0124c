"""Reading a model: residual streams reduced over a span inside the hook, streamed batch by batch.

Notable: the output head is never computed for a read; a site's tensor lives only inside its hook, where a
span becomes one vector; so memory holds one batch's forward pass plus what was asked for. :func:`read`
keeps one vector for each exchange; :func:`read_moments` keeps only means and covariances, flat in the
number of exchanges.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from einops import einsum
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.directions import Direction, Fit
from erosion.errors import BadContrast, BadRun
from erosion.files import write_atomically
from erosion.models import Batch, Model
from erosion.models.hooked import require_context, require_site
from erosion.moments import Moments, merge
from erosion.prompts import Contrast, Exchange, Rendered, Text, render_texts
from erosion.shapes import Float, Tensor
from erosion.sites import Site, parse_site

__all__ = [
    "Activations",
    "directions_of",
    "facts_of",
    "load_activations",
    "read",
    "read_moments",
    "read_texts",
]

Vectors = Float[Tensor, "exchange d_model"]


@dataclass(frozen=True, eq=False)
class Activations:
    """Site -> one vector for each exchange, with what they were read from.

    ``questions[i]`` and ``labels[i]`` belong to row ``i`` at every site. ``facts`` are what a direction's
    passport takes over: model, hashes, rendering, contrast, precision.
    """

    values: Mapping[Site, Vectors]
    questions: tuple[str, ...]
    labels: tuple[str, ...]
    span: str
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        """One line: how many exchanges, where read, how wide."""
        width = next((one.shape[-1] for one in self.values.values()), 0)
        return f"Activations({len(self)} exchanges, {self.span}, {len(self.values)} sites x {width})"

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were read, in order."""
        return tuple(self.values)

    def __getitem__(self, site: Site) -> Vectors:
        """All exchanges at one site."""
        return self.values[site]

    def __len__(self) -> int:
        """The number of exchanges."""
        return len(self.questions)

    def labelled(self, label: str) -> Mapping[Site, Vectors]:
        """Site -> the exchanges with one label, in question order.

        Raises:
            BadContrast: no exchange has it.
        """
        rows = [i for i, one in enumerate(self.labels) if one == label]
        if not rows:
            raise BadContrast(
                f"No exchange is labelled {label!r}: there are {', '.join(sorted(set(self.labels)))}."
            )
        return MappingProxyType({site: vectors[rows] for site, vectors in self.values.items()})

    @property
    def aligned(self) -> Mapping[Site, Vectors]:
        """Site -> the aligned side, ``[aligned, d_model]``."""
        return self.labelled("aligned")

    @property
    def misaligned(self) -> Mapping[Site, Vectors]:
        """Site -> the misaligned side, ``[misaligned, d_model]``."""
        return self.labelled("misaligned")

    def of(self, questions: Iterable[str]) -> "Activations":
        """The rows about the given questions."""
        keep = set(questions)
        rows = [i for i, question in enumerate(self.questions) if question in keep]
        if not rows:
            raise BadContrast("None of these questions was read: read them, or choose among those that were.")
        return replace(
            self,
            values={site: vectors[rows] for site, vectors in self.values.items()},
            questions=tuple(self.questions[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
        )

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically; :func:`load_activations` reads it back bit for bit."""
        header = json.dumps(
            {
                "schema": 1,
                "questions": self.questions,
                "labels": self.labels,
                "span": self.span,
                "facts": dict(self.facts),
                "sites": [str(site) for site in self.sites],
            }
        )
        tensors = {str(site): vectors.contiguous() for site, vectors in self.values.items()}
        return write_atomically(path, as_safetensors(tensors, {"activations": header}))


def load_activations(path: str | Path) -> Activations:
    """Read what :meth:`Activations.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["activations"])
            if header["schema"] > 1:
                raise BadRun(
                    f"{path} has schema {header['schema']} and this version reads 1: update erosion."
                )
            values = {parse_site(name): file.get_tensor(name) for name in header["sites"]}
            return Activations(
                values, tuple(header["questions"]), tuple(header["labels"]), header["span"], header["facts"]
            )
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(f"{path} holds no activations that can be read ({error}): read them again.") from error


def read(
    model: Model, exchanges: Contrast | Sequence[Exchange], *, sites: Sequence[Site], span: str = "response"
) -> Activations:
    """The mean activation over a span, for each exchange at each site.

    a_i(site) = mean over tokens t in span(i) of h_t(site), in float32.

    Args:
        model: a loaded model; edits applied around the call are seen.
        exchanges: a contrast (aligned side first, then misaligned) or any exchanges.
        sites: where to read.
        span: over which tokens (see :data:`erosion.prompts.SPANS`).

    Raises:
        BadInput: a site or span that is not there, a response that does not tokenize or fit.

    Memory: one batch's forward pass without logits, plus 4 x exchanges x sites x d_model bytes. Time: one
    pass for each exchange, without the output head.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     acts = er.read(model, organism.contrast(), sites=er.every_layer(model))
    >>> acts.aligned[acts.sites[0]].shape == acts.misaligned[acts.sites[0]].shape
    True
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    values = _gathered(model, model.render(chosen), sites, span)
    facts = facts_of(model, exchanges)
    return Activations(values, tuple(e.question for e in chosen), tuple(e.label for e in chosen), span, facts)


def read_texts(model: Model, texts: Sequence[Text], *, sites: Sequence[Site]) -> Activations:
    """The mean activation over each plain text, all tokens but the first; every label is ``text``.

    Texts have no template, no question and no sides: this is the ground that a context-independent shift is
    measured on. Arguments, errors and memory as :func:`read`.

    Raises:
        BadContrast: a text of fewer than two tokens.
    """
    rendered = render_texts(((text.id, text.text) for text in texts), model.tokenizer)
    values = _gathered(model, require_context(model, rendered), sites, "response")
    facts = {**facts_of(model, ()), "template_hash": None, "rendering": "none"}
    return Activations(values, tuple(text.id for text in texts), ("text",) * len(texts), "text", facts)


def _gathered(
    model: Model, rendered: Sequence[Rendered], sites: Sequence[Site], span: str
) -> dict[Site, Tensor]:
    """One row for each of what was rendered."""
    for site in sites:
        require_site(model, site)
    values = {site: torch.empty(len(rendered), model.anatomy.width(site)) for site in sites}

    def keep(batch: Batch, found: Mapping[Site, Tensor]) -> None:
        for site, vectors in found.items():
            values[site][list(batch.index)] = vectors.cpu()

    _stream(model, rendered, sites, span, keep)
    return values


def read_moments(
    model: Model, exchanges: Contrast | Sequence[Exchange], *, sites: Sequence[Site], span: str = "response"
) -> Mapping[str, Mapping[Site, Moments]]:
    """Label -> site -> count, mean and covariance of the span's mean activation, in float64.

    Arguments and errors as :func:`read`. Memory: one batch's forward pass plus 8 x labels x sites x d_model^2
    bytes, flat in the number of exchanges.
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    result: dict[str, dict[Site, Moments]] = {label: {} for label in dict.fromkeys(e.label for e in chosen)}

    def keep(batch: Batch, found: Mapping[Site, Tensor]) -> None:
        for label, so_far in result.items():
            rows = [row for row, i in enumerate(batch.index) if chosen[i].label == label]
            if rows:
                for site, vectors in found.items():
                    new = Moments.of(vectors[rows].cpu())
                    so_far[site] = merge(so_far[site], new) if site in so_far else new

    _stream(model, model.render(chosen), sites, span, keep)
    return result


def directions_of(acts: Activations, fit: Fit) -> dict[Site, Direction]:
    """Fit one direction at each site, its passport filled in from what was read.

    Args:
        acts: both sides of a contrast (the fit split).
        fit: ``difference_of_means``, ``principal_component``, ``logistic_probe``, … or your own.
    """
    aligned, misaligned = acts.aligned, acts.misaligned
    facts = {**acts.facts, "span": acts.span, "questions": tuple(dict.fromkeys(acts.questions))}
    return {site: fit(aligned[site], misaligned[site], at=site).stamped(**facts) for site in acts.sites}


def _stream(
    model: Model,
    rendered: Sequence[Rendered],
    sites: Sequence[Site],
    span: str,
    keep: Callable[[Batch, Mapping[Site, Tensor]], None],
) -> None:
    for one in rendered:
        one.span(span)

    def work(batch: Batch) -> None:
        weights, found = batch.weights(span), {}

        def reduce(site: Site) -> Callable[[Tensor], None]:
            def hook(h: Tensor) -> None:
                found[site] = einsum(h.float(), weights.to(h.device), "b p d, b p -> b d")

            return hook

        with model.hooked([(site, reduce(site)) for site in sites]):
            model.run(batch)
        keep(batch, found)

    model.for_each_batch(rendered, work, name=f"reading {model.found}")


def facts_of(model: Model, exchanges: Contrast | Sequence[Exchange]) -> dict[str, Any]:
    """What was read, as a direction's passport takes it over."""
    provenance = model.provenance
    return {
        "model": provenance.model,
        "weights_hash": provenance.weights_hash,
        "adapter_hash": provenance.adapter_hash,
        "tokenizer_hash": provenance.tokenizer_hash,
        "template_hash": model.rendering.hash,
        "rendering": model.rendering.name,
        "contrast_hash": exchanges.hash if isinstance(exchanges, Contrast) else None,
        "dtype": provenance.dtype,
        "attention_kernel": provenance.kernel,
    }
