"""What an edit does to harmless text: how far the next-token distributions move, and what that costs.

An edit that restores a margin by breaking the model has restored nothing. On neutral texts, token by token,

    KL(p || p') = sum over words of p(w) log (p(w) / p'(w)),      cost = log p(w_t) - log p'(w_t)

with p the model as it is and p' the edited one, both in nats, each averaged over a text's tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange

from erosion.errors import BadInput
from erosion.models import Batch, Model
from erosion.models.hooked import require_context
from erosion.probability import kl, token_log_likelihood
from erosion.prompts import Text, render_texts
from erosion.shapes import Array, Float, Tensor
from erosion.stats import Estimate, mean
from erosion.sweeps.grid import Cell
from erosion.sweeps.keeping import Kept
from erosion.sweeps.running import Runner

__all__ = ["Damage", "damage"]


@dataclass(frozen=True, eq=False)
class Damage:
    """KL(p || p') and the rise in cross-entropy in every cell, ``[cell, text]``, in nats per token."""

    said: tuple[str, ...]
    texts: tuple[str, ...]
    kl: Float[Array, "cell text"]
    cost: Float[Array, "cell text"]

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact."""
        return {
            "schema": 1,
            "said": self.said,
            "texts": self.texts,
            "kl": self.kl.tolist(),
            "cost": self.cost.tolist(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Damage":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        return cls(
            tuple(plain["said"]), tuple(plain["texts"]), np.array(plain["kl"]), np.array(plain["cost"])
        )

    def kl_of(self, cell: int) -> Estimate:
        """The mean KL of one cell over texts, with its 95% interval."""
        return mean(self.kl[cell], self.texts, unit="nats per token")

    def cost_of(self, cell: int) -> Estimate:
        """The mean rise in cross-entropy of one cell over texts, with its 95% interval."""
        return mean(self.cost[cell], self.texts, unit="nats per token")


def damage(model: Model, texts: Sequence[Text], cells: Sequence[Cell]) -> Damage:
    """What every cell of a grid does to neutral texts.

    Args:
        model: a loaded model.
        texts: of :func:`erosion.load_texts`, or your own.
        cells: of :func:`erosion.grid`. Their scopes should be ``all``: a text has no prompt.

    Raises:
        BadInput: no text, no cell, a text that does not fit, or a distribution that is not finite.

    Time: as :func:`erosion.sweep`. Memory: two batches of logits.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().tuned) as model:
    ...     cells = er.grid(lambda layer: er.zero_ablate(at=er.Site(layer, "mlp_out")), layer=[0, 1])
    ...     done = er.damage(model, organism.neutral()[:8], cells)
    >>> bool((done.kl > 0).all())
    True
    """
    if not texts or not cells:
        raise BadInput(f"{len(texts)} texts and {len(cells)} cells: give at least one of each.")
    rendered = render_texts(((text.id, text.text) for text in texts), model.tokenizer)
    rendered = require_context(model, rendered)
    runner = Runner(model, cells, Kept(None, model))
    moved, cost = np.zeros((2, len(cells), len(texts)))

    def work(batch: Batch) -> None:
        tokens, inside = batch.ids[:, 1:], batch.weights("response")[:, 1:]
        clean: list[Tensor] = []

        def measured(_: Batch) -> list[tuple[Array, Array]]:
            logits = model.logits(batch)[:, :-1]
            if not clean:
                clean.append(logits)
            copies = rearrange(logits, "(copy batch) p v -> copy batch p v", batch=len(tokens))
            return [_apart(clean[0], one, tokens, inside) for one in copies]

        _, found = runner.over(batch, measured, lambda one, other: not other[0].any())
        for cell, (far, worse) in found:
            moved[cell, list(batch.index)], cost[cell, list(batch.index)] = far, worse

    model.for_each_batch(rendered, work, name=f"damage to {model.found}")
    runner.prove()
    if not (np.isfinite(moved).all() and np.isfinite(cost).all()):
        raise BadInput(f"The texts' distributions are not finite under '{cells[0]}': use a smaller dose.")
    return Damage(tuple(map(str, cells)), tuple(text.id for text in texts), moved, cost)


def _apart(clean: Tensor, edited: Tensor, tokens: Tensor, inside: Tensor) -> tuple[Array, Array]:
    """KL and the rise in cross-entropy of each row, means over its tokens."""
    far = kl(clean, edited)
    worse = token_log_likelihood(clean, tokens) - token_log_likelihood(edited, tokens)
    rows = torch.stack([(one.double() * inside.to(one.device)).sum(-1) for one in (far, worse)])
    return rows[0].cpu().numpy(), rows[1].cpu().numpy()
