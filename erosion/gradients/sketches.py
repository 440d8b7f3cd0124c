"""Gradients at a fixed small size: a random projection with Kronecker structure, from tokens alone.

S_i = P G_i Q^T = sum_t (P delta_it)(Q a_it)^T is never formed from G_i: both sides are projected token by
token (Park et al., TRAK, arXiv 2303.14186; Choe et al., LoGra, arXiv 2405.13954). P and Q are random
orthonormal rows, scaled so that E[P^T P] and E[Q^T Q] are the identity; being independent, they leave every
inner product unbiased, and at full rank exact.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange

from erosion.errors import BadInput, ErosionError
from erosion.gradients.passes import backward, exact, response_losses
from erosion.gradients.products import GradientProducts
from erosion.gradients.rows import Rows, chosen, facts_of, load_tensors, rows_of, save_tensors
from erosion.models import Batch, Model
from erosion.models.linears import LinearMap, linears, parse_map
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Float, Tensor

__all__ = ["GradientSketches", "gradient_sketches", "load_gradient_sketches"]


@dataclass(frozen=True, eq=False)
class GradientSketches:
    """Linear map -> one vector of fixed size for each exchange, ``[exchange, sketch]``, float32.

    Sketches of one ``rank`` and ``seed`` compare with each other, from whatever model of one
    architecture: the same exchange under aligned and tuned, or two halves of a data set.
    """

    values: Mapping[LinearMap, Float[Tensor, "exchange sketch"]]
    rows: Rows
    rank: int
    seed: int
    facts: Mapping[str, Any]

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The maps, in the order of the blocks."""
        return tuple(self.values)

    def __len__(self) -> int:
        """The number of exchanges."""
        return len(self.rows)

    def products(self) -> GradientProducts:
        """The estimated inner products of every two exchanges. Memory: 8 x maps x exchanges^2 bytes."""
        made = {one: (s.double() @ s.double().T).numpy() for one, s in self.values.items()}
        return GradientProducts(made, self.rows, {**self.facts, "rank": self.rank, "seed": self.seed})

    def merged(self, other: "GradientSketches") -> "GradientSketches":
        """The exchanges of both, this one's first.

        Raises:
            BadInput: another rank, seed or set of maps.
        """
        mine, theirs = ((s.rank, s.seed, s.maps) for s in (self, other))
        if mine != theirs:
            raise BadInput(
                f"Sketches of rank {self.rank}, seed {self.seed}, {len(self.maps)} maps and of rank "
                f"{other.rank}, seed {other.seed}, {len(other.maps)} maps do not compare: make both alike."
            )
        values = {one: torch.cat([s, other.values[one]]) for one, s in self.values.items()}
        a, b = self.rows, other.rows
        rows = Rows(
            a.questions + b.questions,
            a.labels + b.labels,
            a.domains + b.domains,
            np.concatenate([a.losses, b.losses]),
        )
        return GradientSketches(values, rows, self.rank, self.seed, self.facts)

    def save(self, path: str | Path) -> Path:
        """Write them as safetensors, atomically; :func:`load_gradient_sketches` reads them bit for bit."""
        tensors = {str(one): values for one, values in self.values.items()}
        facts = {"rank": self.rank, "seed": self.seed, "facts": dict(self.facts)}
        return save_tensors(path, "gradient sketches", tensors, self.rows, **facts)


def load_gradient_sketches(path: str | Path) -> GradientSketches:
    """Read what :meth:`GradientSketches.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    tensors, rows, header = load_tensors(path, "gradient sketches")
    values = {parse_map(name): tensor for name, tensor in tensors.items()}
    return GradientSketches(values, rows, header["rank"], header["seed"], header["facts"])


def gradient_sketches(
    model: Model,
    exchanges: Contrast | Sequence[Exchange],
    *,
    rank: int = 32,
    seed: int = 0,
    maps: Sequence[LinearMap] | None = None,
) -> GradientSketches:
    """S_i = sum_t (P delta_it)(Q a_it)^T of every exchange at every map, streamed.

    E<S_i, S_j> = <G_i, G_j> over the draw of P and Q. The error of a cosine falls about as 1/rank; it is
    measured in ``benchmarks/gradients.md``. Where a width is below ``rank`` that side is kept exactly.

    Args:
        model: a loaded model; edits applied around the call are seen. No parameter is changed.
        exchanges: a contrast (aligned, misaligned, then its others) or any exchanges.
        rank: rows of P and of Q.
        seed: of P and Q, which depend on nothing else but the map and its widths.
        maps: see :func:`erosion.models.linears.linear_maps`; all when not given.

    Raises:
        BadInput: a rank below 1; a map that is not there; a response that does not tokenize or fit.
        BadModel: a model that routes tokens to experts, where feed-forward maps are asked for.

    Memory: one batch's forward and backward pass, P and Q of every map, and 4 x exchanges x maps x rank^2
    bytes: flat in tokens. Time: one forward and one backward pass for each exchange.
    """
    if rank < 1:
        raise BadInput(f"A sketch of rank {rank} holds nothing: give 1 or more.")
    answers, places = chosen(exchanges), linears(model, maps)
    rendered = model.render(answers)
    losses = np.full(len(answers), np.nan)
    projections: dict[LinearMap, tuple[Tensor, Tensor]] = {}
    values: dict[LinearMap, Tensor] = {}

    def work(batch: Batch) -> None:
        found: dict[LinearMap, Tensor] = {}

        def use(one: LinearMap, delta: Tensor, a: Tensor) -> None:
            if one not in projections:
                widths = delta.shape[-1], a.shape[-1]
                projections[one] = tuple(  # type: ignore[assignment]
                    _projection(width, rank, f"{seed} {one} {side}").to(exact(delta[:0]))
                    for width, side in zip(widths, ("out", "in"), strict=True)
                )
            p, q = projections[one]
            small = einsum(exact(delta) @ p.T, exact(a) @ q.T, "b t p, b t q -> b p q")
            found[one] = rearrange(small, "b p q -> b (p q)").float().cpu()

        values_of = backward(model, batch, places, use, of=response_losses)
        losses[list(batch.index)] = values_of.double().cpu().numpy()
        for one in places:
            if one not in found:
                raise ErosionError(f"{one} took no part in the pass: its module was not called.")
            if one not in values:
                values[one] = torch.empty(len(answers), found[one].shape[1])
            values[one][list(batch.index)] = found[one]

    model.for_each_batch(rendered, work, name=f"gradient sketches of {model.found}")
    kept = {one: values[one] for one in places}
    return GradientSketches(kept, rows_of(answers, losses), rank, seed, facts_of(model))


def _projection(width: int, rank: int, name: str) -> Float[Tensor, "rank width"]:
    """Random orthonormal rows times sqrt(width/rank), the same for the same name on every machine."""
    rows = min(rank, width)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    drawn = np.random.default_rng(number).standard_normal((width, rows))
    columns, upper = np.linalg.qr(drawn)
    columns = columns * np.where(np.diag(upper) < 0, -1.0, 1.0)  # the sign convention that makes it uniform
    return torch.from_numpy(np.ascontiguousarray(columns.T)) * (width / rows) ** 0.5
