"""Exact inner products of per-example gradients, map by map.

<G_i, G_j> = sum_t sum_s (delta_it . delta_js)(a_it . a_js), over the tokens t of exchange i and s of j. Two
ways give it, and whichever takes fewer multiplications is taken: form G for every exchange (in slices of
its rows, so that memory is bounded) and multiply, or multiply tokens with tokens and sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erosion.errors import BadInput, ErosionError
from erosion.gradients.passes import backward, exact, response_losses
from erosion.gradients.rows import Rows, chosen, facts_of, load_tensors, rows_of, save_tensors
from erosion.models import Batch, Model
from erosion.models.linears import Linear, LinearMap, linears, parse_map
from erosion.prompts import Contrast, Exchange
from erosion.prompts.rendering import Rendered
from erosion.shapes import Array, Float, Tensor

__all__ = ["GradientProducts", "gradient_products", "inner_products", "load_gradient_products"]

_CELLS = 2**25  # numbers held at once while multiplying: 128 MB in float32
_KEPT = 2**30  # bytes of deltas and inputs kept until all exchanges have been seen

Pieces = Sequence[tuple[Float[Tensor, "_ _ out"], Float[Tensor, "_ _ into"]]]


@dataclass(frozen=True, eq=False)
class GradientProducts:
    """Linear map -> <G_i, G_j> of every two exchanges' gradients, ``[exchange, exchange]``, float64."""

    values: Mapping[LinearMap, Float[Array, "exchange exchange"]]
    rows: Rows
    facts: Mapping[str, Any]

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The maps, in the order of the blocks."""
        return tuple(self.values)

    def __getitem__(self, one: LinearMap) -> Float[Array, "exchange exchange"]:
        """The inner products at one map."""
        return self.values[one]

    def __len__(self) -> int:
        """The number of exchanges."""
        return len(self.rows)

    def total(self, maps: Iterable[LinearMap] | None = None) -> Float[Array, "exchange exchange"]:
        """The inner products of the gradients of several maps (all where none are named) taken together.

        Raises:
            BadInput: none of them was read.
        """
        wanted = self.maps if maps is None else tuple(maps)
        there = [self.values[one] for one in wanted if one in self.values]
        if not there:
            raise BadInput(f"None of these maps was read ({', '.join(map(str, wanted))}): read them.")
        return np.sum(there, axis=0)

    def save(self, path: str | Path) -> Path:
        """Write them as safetensors, atomically; :func:`load_gradient_products` reads them bit for bit."""
        tensors = {str(one): torch.from_numpy(np.ascontiguousarray(v)) for one, v in self.values.items()}
        return save_tensors(path, "gradient products", tensors, self.rows, facts=dict(self.facts))


def load_gradient_products(path: str | Path) -> GradientProducts:
    """Read what :meth:`GradientProducts.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    tensors, rows, header = load_tensors(path, "gradient products")
    values = {parse_map(name): tensor.numpy() for name, tensor in tensors.items()}
    return GradientProducts(values, rows, header["facts"])


def gradient_products(
    model: Model, exchanges: Contrast | Sequence[Exchange], *, maps: Sequence[LinearMap] | None = None
) -> GradientProducts:
    """<G_i, G_j> of every two exchanges at every map, exact to rounding.

    The loss is the mean cross-entropy of each exchange's response tokens (the end of turn is left out). Of a
    fused projection each part is a map; of a module with an adapter, the weight below it.

    Args:
        model: a loaded model; edits applied around the call are seen. No parameter is changed.
        exchanges: a contrast (aligned, misaligned, then its others) or any exchanges.
        maps: see :func:`erosion.models.linears.linear_maps`; all when not given.

    Raises:
        BadInput: a map that is not there, a response that does not tokenize or fit.
        BadModel: a model that routes tokens to experts, where feed-forward maps are asked for.

    Memory: one batch's forward and backward pass; with several batches up to 1 GiB of deltas and inputs
    (more maps than fit are done in rounds); 128 MB while multiplying; 8 x maps x exchanges^2 bytes kept.
    Time: one forward and one backward pass for each exchange and round, the backward only down to the
    first map, and exchanges x out x in multiplications for each exchange at each map.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     found = gradient_products(model, organism.contrast().aligned[:3], maps=[LinearMap(1, "o")])
    >>> found.total().shape
    (3, 3)
    """
    answers, places = chosen(exchanges), linears(model, maps)
    rendered = model.render(answers)
    losses = np.full(len(answers), np.nan)
    values: dict[LinearMap, Array] = {}
    for group in _rounds(rendered, places):
        values |= _one_round(model, rendered, group, losses)
    kept = {one: values[one] for one in places}
    return GradientProducts(kept, rows_of(answers, losses), facts_of(model))


def _rounds(
    rendered: Sequence[Rendered], places: Mapping[LinearMap, Linear]
) -> list[dict[LinearMap, Linear]]:
    """Maps that are read together, so that what is kept of them stays bounded; the last blocks first."""
    tokens = sum(len(one) for one in rendered)
    rounds, held = [{}], 0
    for one, place in reversed(list(places.items())):
        size = sum(place.weight.shape) * place.weight.element_size() * tokens
        if rounds[-1] and held + size > _KEPT:
            rounds.append({})
            held = 0
        rounds[-1][one] = place
        held += size
    return rounds


def _one_round(
    model: Model, rendered: Sequence[Rendered], places: Mapping[LinearMap, Linear], losses: Array
) -> dict[LinearMap, Array]:
    """The inner products at some maps; multiplied at once where one batch holds every exchange."""
    kept: dict[LinearMap, list[tuple[Tensor, Tensor]]] = {one: [] for one in places}
    whole: dict[LinearMap, Tensor] = {}
    order: list[int] = []

    def work(batch: Batch) -> None:
        found: dict[LinearMap, Any] = {}
        alone = len(batch.index) == len(rendered)

        def use(one: LinearMap, delta: Tensor, a: Tensor) -> None:
            found[one] = inner_products([(delta, a)]) if alone else (delta, a)

        values = backward(model, batch, places, use, of=response_losses)
        for one in places:
            if one not in found:
                raise ErosionError(f"{one} took no part in the pass: its module was not called.")
        losses[list(batch.index)] = values.double().cpu().numpy()
        order.extend(batch.index)
        for one, rows in found.items():
            if alone:
                whole[one] = rows
            else:
                kept[one].append(rows)

    model.for_each_batch(rendered, work, name=f"gradients of {model.found}")
    back = np.argsort(order)
    made = {}
    for one in places:
        product = whole[one] if one in whole else inner_products(kept.pop(one))
        made[one] = product.cpu().numpy()[np.ix_(back, back)]
    return made


def inner_products(pieces: Pieces) -> Float[Tensor, "exchange exchange"]:
    """<G_i, G_j> from the deltas and inputs of one or several batches, float64.

    Memory: 128 MB beside the pieces.

    >>> delta, a = torch.ones(2, 1, 3), torch.tensor([[[1.0]], [[2.0]]])
    >>> inner_products([(delta, a)])
    tensor([[ 3.,  6.],
            [ 6., 12.]], dtype=torch.float64)
    """
    pieces = [(exact(delta), exact(a)) for delta, a in pieces]
    exchanges = sum(len(delta) for delta, _ in pieces)
    tokens = sum(delta.shape[0] * delta.shape[1] for delta, _ in pieces)
    out, into = pieces[0][0].shape[-1], pieces[0][1].shape[-1]
    formed = (tokens + exchanges**2) * out * into
    return _by_tokens(pieces) if tokens**2 * (out + into) < formed else _by_gradients(pieces)


def _by_gradients(pieces: Pieces) -> Float[Tensor, "exchange exchange"]:
    """Form every gradient, some of its rows at a time, and multiply."""
    n, out, into = sum(len(delta) for delta, _ in pieces), pieces[0][0].shape[-1], pieces[0][1].shape[-1]
    step = max(1, min(out, _CELLS // (n * into)))
    total = pieces[0][0].new_zeros(n, n, dtype=torch.float64)
    for first in range(0, out, step):
        size = min(step, out - first)
        formed = pieces[0][0].new_empty(n, size, into)
        start = 0
        for delta, a in pieces:
            rows = delta[..., first : first + size].transpose(-1, -2)
            torch.matmul(rows, a, out=formed[start : start + len(delta)])
            start += len(delta)
        total += _symmetric(formed.flatten(1))
    return total


def _symmetric(x: Float[Tensor, "exchange entry"]) -> Float[Tensor, "exchange exchange"]:
    """x x^T by blocks on and above the diagonal alone."""
    result = x.new_empty(len(x), len(x))
    step = max(64, -(-len(x) // 4))  # smaller blocks multiply no faster
    for row in range(0, len(x), step):
        top = slice(row, row + step)
        block = x[top] @ x[row:].T
        result[top, row:], result[row:, top] = block, block.T
    return result


def _by_tokens(pieces: Pieces) -> Float[Tensor, "exchange exchange"]:
    """Multiply every token with every token, and sum over the tokens of each two exchanges."""
    deltas = torch.cat([delta.flatten(0, 1) for delta, _ in pieces])
    inputs = torch.cat([a.flatten(0, 1) for _, a in pieces])
    lengths = torch.tensor([delta.shape[1] for delta, _ in pieces for _ in delta], device=deltas.device)
    owner = torch.arange(len(lengths), device=deltas.device).repeat_interleave(lengths)
    total = deltas.new_zeros(len(lengths), len(lengths), dtype=torch.float64)
    step = max(1, _CELLS // (2 * len(deltas)))
    for first in range(0, len(deltas), step):
        some = slice(first, first + step)
        pairs = (deltas[some] @ deltas.T) * (inputs[some] @ inputs.T)
        summed = pairs.new_zeros(len(pairs), len(lengths)).index_add_(1, owner, pairs)
        total.index_add_(0, owner[some], summed.double())
    return total
