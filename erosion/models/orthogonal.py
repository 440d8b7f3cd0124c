"""Taking a direction out of the weights: a model that can no longer write along it, at any layer.

For every matrix that writes to the residual stream, and every bias and position embedding,

    W' = W - V V.T W

with V the direction (or an orthonormal basis of a subspace) in the space that is written to (Arditi et al.,
arXiv 2406.11717, section 4.1). It equals ablating the direction at every writing site, needs no hook, and
survives saving. Architectures that normalise what they write before adding it (Gemma 2 and 3, OLMo 2) would
turn it back in, and are refused.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import einsum
from torch import nn

from erosion.directions import Direction, Subspace
from erosion.errors import BadDirection, BadModel
from erosion.files import hash_bytes
from erosion.interventions import rows_of
from erosion.models.hooked import Model, every_layer
from erosion.models.proofs import probe_arguments
from erosion.models.weights import changed_weights
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["orthogonalised_weights", "residual_along", "writing_sites", "writing_weights"]

_PLACES = ("wpe", "embed_positions")
_WRITERS = re.compile(
    r"(^|\.)(o_proj|out_proj|c_proj|down_proj|dense|dense_4h_to_h|fc2|w2)(\.weight|\.bias|_bias)?$"
    rf"|(^|\.)({'|'.join(_PLACES)})\.weight$"
)
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 5e-3}


def writing_sites(model: Model) -> tuple[Site, ...]:
    """Every site at which something is written to the residual stream, in the order of the pass.

    The embeddings (``resid_pre`` of the first block), then each block's attention and MLP output. Where a
    block normalises those before adding them, the residual stream after each addition stands in their place.

    >>> import erosion as er
    >>> with er.load(er.load_organism().triad().aligned) as model:
    ...     er.writing_sites(model)[:3]
    (L0.resid_pre, L0.attn_out, L0.mlp_out)
    """
    if normalises_writes(model):
        parts = ("resid_mid", "resid_post")
    else:
        parts = ("attn_out", "mlp_out")
    inside = (Site(layer, part) for layer in range(model.n_layers) for part in parts)
    return (Site(0, "resid_pre"), *(site for site in inside if site.hook in model.anatomy.points))


def normalises_writes(model: Model) -> bool:
    """Whether the blocks normalise what attention and MLP write before it is added."""
    normed = ("post_feedforward_layernorm", "post_mlp_layernorm")
    return any(norm in name for name in model.weights.parameters for norm in normed)


def writing_weights(model: Model) -> tuple[str, ...]:
    """The plain names of every matrix and bias that writes to the residual stream, embeddings included."""
    names = model.weights.parameters
    return tuple(name for name in names if name == model.weights.embedding or _WRITERS.search(name))


@contextmanager
def orthogonalised_weights(model: Model, direction: Direction | Subspace) -> Iterator[Model]:
    """The model without a direction in anything it writes, inside the block; undone bit for bit.

    It proves itself: on a probe, the residual stream of every layer has no part along the direction but
    rounding. Tied embeddings are untied first, so that the output head stays as it was; adapters that are on
    are taken in too. Several directions are one subspace: taking them out one after another would leave a
    part of the first.

    Args:
        model: a loaded model.
        direction: of the model's width; its site does not matter.

    Raises:
        BadDirection: another width.
        BadModel: an architecture that normalises what it writes, an adapter that is not linear, weights that
            are quantised or not in memory, or a residual stream that still has a part along the direction.

    Memory: a copy of the embeddings and of every matrix that writes.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     acts = er.read(model, organism.contrast(), sites=[er.Site(1)])
    ...     v = er.directions_of(acts, er.difference_of_means)[er.Site(1)]
    ...     with er.orthogonalised_weights(model, v):
    ...         after = er.read(model, organism.contrast(), sites=[er.Site(1)])
    >>> bool(v.project(after[er.Site(1)]).abs().max() < 1e-4)
    True
    """
    basis = rows_of(direction)
    _require_possible(model, basis)
    written = set(writing_weights(model))

    def change(name: str, parameter: Tensor) -> Tensor | None:
        if name not in written:
            return None
        return _without(parameter, basis, axis=_axis(model, name, parameter))

    changing = changed_weights(
        model,
        change,
        said=f"orthogonalised against {direction!r}",
        key=hash_bytes(basis.cpu().double().numpy().tobytes()),
    )
    with _untied(model), changing, _adapters_without(model, basis):
        _prove_gone(model, direction)
        yield model


def _prove_gone(model: Model, direction: Direction | Subspace) -> None:
    left = residual_along(model, direction)
    if not left <= _TOLERANCE.get(model.hf.dtype, 3e-2):
        raise BadModel(
            f"{model.anatomy.architecture} still writes along the direction after orthogonalisation "
            f"({left:.1e} of the residual's norm): it writes in a way that is not known here; ablate at its "
            "residual sites instead."
        )


def _require_possible(model: Model, basis: Tensor) -> None:
    if basis.shape[-1] != model.d_model:
        raise BadDirection(
            f"The direction is {basis.shape[-1]} wide and the residual stream {model.d_model}: use "
            "one fitted on this model."
        )
    if normalises_writes(model):
        raise BadModel(
            f"{model.anatomy.architecture} normalises what attention and MLP write before adding it, so its "
            "weights cannot be orthogonalised: ablate at its residual sites (erosion.writing_sites)."
        )
    if any(not linear for linear in model.adapters.linear.values()):
        raise BadModel(
            "An adapter of this model is not linear (DoRA, or embeddings, biases, fused experts or whole "
            "modules): merge it into the weights first, and orthogonalise those."
        )


def _axis(model: Model, name: str, parameter: Tensor) -> int:
    """Which axis of a parameter is the residual stream."""
    if parameter.ndim == 1:
        return 0
    if parameter.ndim == 3:  # experts: [expert, d_model, in], or [expert, in, d_model]
        return 2 if model.anatomy.architecture.startswith("GptOss") else 1
    embedding = name == model.weights.embedding or any(place in name for place in _PLACES)
    return 1 if embedding or name.endswith("_bias") or _transposed(model, name) else 0


def _transposed(model: Model, name: str) -> bool:
    return name.endswith("c_proj.weight") and model.anatomy.architecture.startswith("GPT2")


def _without(parameter: Tensor, basis: Float[Tensor, "k d_model"], *, axis: int) -> Tensor:
    """W - V V.T W along one axis, in float32 at least."""
    exact = torch.promote_types(parameter.dtype, torch.float32)
    v = basis.to(parameter.device, exact)
    moved = parameter.to(exact).movedim(axis, -1)
    inside = einsum(moved, v, "... d, k d -> ... k")
    return (moved - einsum(inside, v, "... k, k d -> ... d")).movedim(-1, axis)


@contextmanager
def _untied(model: Model) -> Iterator[None]:
    """The output head with a matrix of its own inside the block."""
    if not model.weights.tied:
        yield
        return
    config = model.hf.config.get_text_config()
    head: Any = model.hf.get_output_embeddings()
    head = getattr(head, "original_component", head)
    shared = head.weight
    configs = [config, *([model.hf.config] if model.hf.config is not config else [])]
    was = [one.tie_word_embeddings for one in configs]
    head.weight = nn.Parameter(shared.data.clone(), requires_grad=False)
    for one in configs:
        one.tie_word_embeddings = False
    try:
        yield
    finally:
        head.weight = shared
        for one, tied in zip(configs, was, strict=True):
            one.tie_word_embeddings = tied


@contextmanager
def _adapters_without(model: Model, basis: Tensor) -> Iterator[None]:
    """Every adapter on a matrix that writes, without the direction in what it adds: B' = B - V V.T B."""
    kept: list[tuple[Tensor, Tensor]] = []
    for name, parameter in model.weights.lora.items():
        module, _, rest = name.partition(".lora_B.")
        if rest and _WRITERS.search(module):
            kept.append((parameter, parameter.data))
            parameter.data = _without(parameter, basis, axis=0).to(parameter).contiguous()
    try:
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


def residual_along(model: Model, direction: Direction | Subspace) -> float:
    """The largest part of any residual stream along a direction, relative to its norm, on a probe.

    NaN where the stream is not finite.
    """
    basis, found = rows_of(direction).double(), []
    arguments = probe_arguments(model.hf)
    real = arguments["attention_mask"].bool().cpu()

    def look(h: Tensor) -> None:
        exact = h.detach().cpu().double()[real]
        inside = einsum(exact, basis.cpu(), "token d, k d -> token k")
        norms = torch.linalg.vector_norm(exact, dim=-1).clamp(min=1e-30)
        found.append((torch.linalg.vector_norm(inside, dim=-1) / norms).max())

    with torch.no_grad(), model.hooked([(site, look) for site in every_layer(model)]):
        model.hf(**arguments, use_cache=False)
    return float(torch.stack(found).max())
