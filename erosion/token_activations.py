"""Activations token by token, filed by exchange: what a patch from another model, or another run, puts in.

One model is read, its activations are saved, and it may go; the next model is patched from the file. They are
kept in the model's own dtype, so that a whole-residual patch restores the donor exactly.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.activations import facts_of
from erosion.errors import BadContrast, BadRun
from erosion.files import write_atomically
from erosion.models import Batch, Model
from erosion.models.hooked import require_site
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Float, Tensor
from erosion.sites import Site, parse_site

__all__ = ["TokenActivations", "load_token_activations", "read_tokens"]


@dataclass(frozen=True, eq=False)
class TokenActivations:
    """Site -> the activations of all exchanges, one after another, ``[token, d_model]``.

    ``lengths[i]`` tokens belong to exchange ``ids[i]`` (``question/label``), of which the response is
    ``responses[i]`` (start and stop in its own tokens). ``facts`` are what was read, as in
    :class:`~erosion.Activations`.
    """

    values: Mapping[Site, Float[Tensor, "token d_model"]]
    ids: tuple[str, ...]
    lengths: tuple[int, ...]
    responses: tuple[tuple[int, int], ...]
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        """One line: how many exchanges and tokens, at how many sites."""
        tokens = sum(self.lengths)
        return f"TokenActivations({len(self.ids)} exchanges, {tokens} tokens, {len(self.values)} sites)"

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were read, in order."""
        return tuple(self.values)

    def at(self, site: Site) -> Mapping[str, Float[Tensor, "token d_model"]]:
        """Exchange id -> its tokens at one site: what :func:`erosion.patch` takes as a source.

        Raises:
            BadContrast: the site was not read.
        """
        if site not in self.values:
            raise BadContrast(f"{site} was not read: there are {', '.join(map(str, self.sites))}.")
        return MappingProxyType(dict(zip(self.ids, self.values[site].split(list(self.lengths)), strict=True)))

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically; :func:`load_token_activations` reads it."""
        header = {
            "schema": 1,
            "ids": self.ids,
            "lengths": self.lengths,
            "responses": self.responses,
            "facts": dict(self.facts),
        }
        tensors = {str(site): vectors.contiguous() for site, vectors in self.values.items()}
        return write_atomically(path, as_safetensors(tensors, {"token_activations": json.dumps(header)}))


def load_token_activations(path: str | Path, *, sites: Sequence[Site] | None = None) -> TokenActivations:
    """Read what :meth:`TokenActivations.save` wrote, of all sites or only some of them.

    Raises:
        BadRun: not such a file, one of a newer version, or a site that it does not hold.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["token_activations"])
            if header["schema"] > 1:
                raise BadRun(f"{path} has schema {header['schema']}; this version reads 1: update erosion.")
            names = [str(site) for site in sites] if sites is not None else sorted(file.keys())
            values = {parse_site(name): file.get_tensor(name) for name in names}
            return TokenActivations(
                dict(sorted(values.items(), key=lambda one: _order(one[0]))),
                tuple(header["ids"]),
                tuple(header["lengths"]),
                tuple((start, stop) for start, stop in header["responses"]),
                header["facts"],
            )
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(
            f"{path} holds no token activations that can be read ({error}): read them again."
        ) from error


def _order(site: Site) -> tuple[int, str, int]:
    return site.layer, site.part, -1 if site.head is None else site.head


def read_tokens(
    model: Model, exchanges: Contrast | Sequence[Exchange], *, sites: Sequence[Site]
) -> TokenActivations:
    """The activation of every token of every exchange at each site, in the model's dtype, on the CPU.

    Args:
        model: a loaded model; edits applied around the call are seen.
        exchanges: a contrast or any exchanges, each with its own id.
        sites: where to read.

    Raises:
        BadInput: a site that is not there, a response that does not tokenize or fit.
        BadContrast: two exchanges with one id.

    Memory: tokens x sites x d_model in the model's dtype, and one batch's forward pass without logits. Time:
    one pass for each exchange.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> few = organism.contrast().only(organism.contrast().questions[:2])
    >>> with er.load(organism.triad().aligned) as model:
    ...     read = er.read_tokens(model, few, sites=er.every_layer(model))
    >>> sum(read.lengths) == len(read.values[read.sites[0]])
    True
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    for site in sites:
        require_site(model, site)
    rendered = model.render(chosen)
    ids = tuple(one.id for one in rendered)
    if len(set(ids)) < len(ids):
        twice = next(one for i, one in enumerate(ids) if one in ids[:i])
        raise BadContrast(f"{twice!r} is there twice: tokens are filed by exchange, so give each its own id.")
    lengths = tuple(len(one) for one in rendered)
    starts = [0, *np.cumsum(lengths).tolist()]
    total = starts[-1]
    values: dict[Site, Tensor] = {}

    def work(batch: Batch) -> None:
        found: dict[Site, Tensor] = {}
        with model.hooked([(site, _keeping(found, site)) for site in sites]):
            model.run(batch)
        for site, h in found.items():
            if site not in values:
                values[site] = torch.empty(total, h.shape[-1], dtype=h.dtype)
            for row, (i, offset) in enumerate(zip(batch.index, batch.offset, strict=True)):
                values[site][starts[i] : starts[i + 1]] = h[row, offset : offset + lengths[i]].cpu()

    model.for_each_batch(rendered, work, name=f"reading tokens of {model.found}")
    assert all(stop > start for start, stop in pairwise(starts))
    responses = tuple(one.span("response") for one in rendered)
    return TokenActivations(
        {site: values[site] for site in sites}, ids, lengths, responses, facts_of(model, exchanges)
    )


def _keeping(found: dict[Site, Tensor], site: Site) -> Any:
    return lambda h: found.__setitem__(site, h.detach())
