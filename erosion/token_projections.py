"""Where every token lies along a direction, layer by layer: projected on the way, never kept whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum

from erosion.directions import Direction
from erosion.errors import BadContrast, BadDirection
from erosion.models import Batch, Model
from erosion.models.hooked import require_site
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site

__all__ = ["TokenProjections", "project_tokens"]


@dataclass(frozen=True, eq=False)
class TokenProjections:
    """Exchange id -> the projection of each of its tokens, ``[site, token]``, in fitted gaps.

    ``words`` are the tokens as they read by themselves, prompt and template included; ``responses`` the
    start and stop of each response. A projection is v . h / scale: 1 apart is the fitted gap.
    """

    values: Mapping[str, Float[Array, "site token"]]
    words: Mapping[str, tuple[str, ...]]
    responses: Mapping[str, tuple[int, int]]
    sites: tuple[Site, ...]

    def __repr__(self) -> str:
        """One line: how many exchanges and tokens, at how many sites."""
        tokens = sum(len(one) for one in self.words.values())
        return f"TokenProjections({len(self.values)} exchanges, {tokens} tokens, {len(self.sites)} sites)"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "schema": 1,
            "values": {key: one.tolist() for key, one in self.values.items()},
            "words": dict(self.words),
            "responses": dict(self.responses),
            "sites": [[site.layer, site.part, site.head] for site in self.sites],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "TokenProjections":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        return cls(
            {key: np.array(one, dtype=float) for key, one in plain["values"].items()},
            {key: tuple(one) for key, one in plain["words"].items()},
            {key: (one[0], one[1]) for key, one in plain["responses"].items()},
            tuple(Site(*one) for one in plain["sites"]),
        )


def project_tokens(
    model: Model, exchanges: Contrast | Sequence[Exchange], directions: Mapping[Site, Direction]
) -> TokenProjections:
    """v . h / scale of every token of every exchange, at the site of each direction.

    Args:
        model: a loaded model; edits applied around the call are seen.
        exchanges: a contrast or any exchanges, each with its own id.
        directions: site -> direction (of another model of the same width, if you like).

    Raises:
        BadInput: a site that is not there, a response that does not tokenize or fit.
        BadContrast: two exchanges with one id.
        BadDirection: no direction, or one of another width.

    Memory: 8 bytes for each token and site, and one batch's forward pass. Time: one pass for each exchange.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> few = organism.contrast().only(organism.contrast().questions[:8])
    >>> with er.load(organism.triad().aligned) as model:
    ...     read = er.read(model, few, sites=er.every_layer(model))
    ...     v = er.directions_of(read, er.difference_of_means)
    ...     found = er.project_tokens(model, few, v)
    >>> {one.shape[0] for one in found.values.values()} == {len(v)}
    True
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    if not directions:
        raise BadDirection("There is no direction to project on: give one for each site.")
    for site, v in directions.items():
        require_site(model, site)
        if not v.scale > 0:
            raise BadDirection(f"The direction at {site} has scale {v.scale:g}: projections are in gaps.")
    rendered = model.render(chosen)
    ids = [one.id for one in rendered]
    if len(set(ids)) < len(ids):
        twice = next(one for i, one in enumerate(ids) if one in ids[:i])
        raise BadContrast(f"{twice!r} is there twice: tokens are filed by exchange, so give each its own id.")
    values = {one.id: np.full((len(directions), len(one)), np.nan) for one in rendered}

    def work(batch: Batch) -> None:
        found: dict[Site, Tensor] = {}
        with model.hooked([(site, _projecting(found, site, v)) for site, v in directions.items()]):
            model.run(batch)
        for row, site in enumerate(directions):
            along = found[site].double().cpu().numpy()
            for i, (one, offset) in enumerate(zip(batch.rendered, batch.offset, strict=True)):
                values[one.id][row] = along[i, offset : offset + len(one)]

    model.for_each_batch(rendered, work, name=f"projecting tokens of {model.found}")
    tokenizer = model.tokenizer
    words = {one.id: tuple(tokenizer.decode([token]) for token in one.ids) for one in rendered}
    responses = {one.id: one.span("response") for one in rendered}
    return TokenProjections(values, words, responses, tuple(directions))


def _projecting(found: dict[Site, Tensor], site: Site, v: Direction) -> Any:
    def listen(h: Tensor) -> None:
        if h.shape[-1] != len(v.vector):
            raise BadDirection(
                f"The direction at {site} is {len(v.vector)} wide and the model {h.shape[-1]}."
            )
        vector = v.vector.to(h.device, torch.float32)
        found[site] = einsum(h.detach().float(), vector, "b t d, d -> b t") / v.scale

    return listen
