"""Doses of a fine-tune: weights between the aligned and the tuned model, or beyond, in all parts or in some.

    W(d) = W_aligned + d (W_tuned - W_aligned)

For weights, the other checkpoint is read from disk tensor by tensor; a second model is never in memory. For
LoRA adapters on the same weights it is their scale. With ``only``, the parts that are not named keep what
they have in the model at hand: dose 0 on the tuned model *restores* a part (a rollback), dose 1 on the
aligned one *grafts* it.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erosion.errors import BadInput, BadModel
from erosion.models.checkpoints import Found, find, hash_weights
from erosion.models.hooked import Model
from erosion.models.loading import read_config
from erosion.models.stored import reader
from erosion.models.weights import changed_weights, edited
from erosion.shapes import Tensor
from erosion.triads import Checkpoint

__all__ = ["Change", "blended", "dosed", "part_of", "parts_of_change"]

_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.([^.]*)")
_COMPUTED = (  # what is computed with the weights: no dose lies between two ways of computing
    *("model_type", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("hidden_act", "hidden_activation", "activation_function", "rms_norm_eps", "layer_norm_eps"),
    *("layer_norm_epsilon", "rope_parameters", "sliding_window", "tie_word_embeddings"),
    *("attn_logit_softcapping", "final_logit_softcapping", "num_experts_per_tok"),
)


@dataclass(frozen=True)
class Change:
    """How far one part of the model moved from aligned to tuned: Frobenius norms over its parameters."""

    part: str
    norm: float
    relative: float


def part_of(name: str) -> str:
    """The part that a parameter belongs to, by its plain name.

    >>> part_of("model.layers.3.mlp.down_proj.weight"), part_of("model.embed_tokens.weight")
    ('L3.mlp', 'embedding')
    """
    block = _BLOCK.search(name)
    if block is not None:
        inside = block[2]
        if "norm" in inside or inside.startswith("ln"):
            return f"L{block[1]}.norm"
        return f"L{block[1]}.{'attention' if 'attn' in inside or 'attention' in inside else 'mlp'}"
    if "norm" in name or "ln_f" in name:
        return "final_norm"
    return "head" if "lm_head" in name or "embed_out" in name else "embedding"


def _words(name: str) -> set[str]:
    """What a parameter can be called: its part, block or kind, its own name or its module's."""
    part = part_of(name)
    return {part, *part.split("."), name, name.rpartition(".")[0]}


def _chosen(name: str, only: Sequence[str] | None) -> bool:
    return only is None or bool(_words(name) & set(only))


def blended(
    model: Model, other: Checkpoint, *, share: float | int, only: Sequence[str] | None = None
) -> AbstractContextManager[Model]:
    """The model part of the way to another checkpoint inside the block: p + share (q - p).

    :func:`dosed` with the model as it was loaded in aligned's place: undone bit for bit, arguments and
    errors as there.

    >>> import erosion as er
    >>> triad = er.load_organism().triad()
    >>> with er.load(triad.tuned) as model, er.blended(model, triad.aligned, share=1, only=["L3"]):
    ...     model.provenance.model.endswith("in L3")
    True
    """
    return dosed(model, model.found.checkpoint, other, dose=share, only=only)


@contextmanager
def dosed(
    model: Model,
    aligned: Checkpoint,
    tuned: Checkpoint,
    *,
    dose: float | int,
    only: Sequence[str] | None = None,
) -> Iterator[Model]:
    """The model at a dose of the fine-tune inside the block; undone bit for bit.

    Args:
        model: loaded as aligned or as tuned (adapters: with both named at loading).
        aligned: the model before the fine-tune.
        tuned: the fine-tune.
        dose: 0 is aligned and 1 tuned, exactly.
        only: parts (``L3.mlp``), blocks (``L3``) or kinds (``attention``, ``mlp``, ``norm``,
            ``embedding``, ``head``, ``final_norm``), modules or parameters by their full names, that are
            dosed; None for all.

    Raises:
        BadInput: a dose that is not finite, a part that the model does not have, a model that is neither of
            the two, or weights that another change holds already.
        BadModel: checkpoints that differ in shape or in how they compute, weights that are not finite,
            quantised or not in memory, or adapters that are not linear in their scale.

    Memory: a copy of the parameters that change; one tensor of the other checkpoint.

    >>> import erosion as er
    >>> triad = er.load_organism().triad()
    >>> with er.load(triad.aligned) as model, er.dosed(model, triad.aligned, triad.tuned, dose=0.5):
    ...     "0.5 of the fine-tune" in model.provenance.model
    True
    """
    pair = find(aligned), find(tuned)
    if not math.isfinite(dose):
        raise BadInput(f"A dose of {dose} is not a finite number: 0 is aligned and 1 is tuned.")
    _require_parts(model, only)
    _require_between(model, *pair)
    said = f"{dose:g} of the fine-tune" + ("" if only is None else f" in {', '.join(only)}")
    key = [float(dose), None if only is None else list(only), *map(_identity, pair)]
    if pair[0].weights == pair[1].weights:
        with _mixed(model, *pair, float(dose), only):
            provenance, model.provenance = model.provenance, edited(model.provenance, said, key)
            try:
                yield model
            finally:
                model.provenance = provenance
        return
    with changed_weights(model, _towards(model, *pair, float(dose), only), said=said, key=key):
        yield model


def _identity(found: Found) -> list[Any]:
    adapter = None if found.adapter is None else hash_weights(found.adapter)
    return [hash_weights(found.weights), adapter, found.scale]


def parts_of_change(model: Model, aligned: Checkpoint, tuned: Checkpoint) -> tuple[Change, ...]:
    """The parts in which a fine-tune differs from the aligned model, in the model's order, with how far.

    Arguments and errors as :func:`dosed`. Memory: two tensors.
    """
    one, other = find(aligned), find(tuned)
    _require_between(model, one, other)
    squares: dict[str, tuple[float, float]] = {}
    for name, before, change in _changes(model, one, other):
        moved, size = squares.get(part_of(name), (0.0, 0.0))
        squares[part_of(name)] = moved + change, size + before
    return tuple(
        Change(part, moved**0.5, (moved / size) ** 0.5 if size else 0.0)
        for part, (moved, size) in squares.items()
        if moved > 0
    )


@torch.no_grad()
def _changes(model: Model, aligned: Found, tuned: Found) -> Iterator[tuple[str, float, float]]:
    """Every parameter's name, its squared norm in aligned, and the squared norm of its change."""
    parameters = model.weights.parameters
    if aligned.weights == tuned.weights:
        shares, by_parameter = _shares(model, aligned, tuned), {id(p): name for name, p in parameters.items()}
        for layer in model.adapters.layers if shares else ():
            weight = layer.get_base_layer().weight
            change = [
                layer.get_delta_weight(name) * (share * _full(layer, name) / layer.scaling[name])
                for name, share in shares.items()
                if name in layer.lora_A
            ]
            yield by_parameter[id(weight)], _square(weight), _square(sum(change)) if change else 0.0
        return
    here_is_aligned = model.found.weights == aligned.weights
    read = reader(model.hf, parameters, tuned if here_is_aligned else aligned)
    for name, parameter in parameters.items():
        here, there = parameter.detach().cpu(), read(name)
        exact = torch.promote_types(here.dtype, torch.float32)
        yield name, _square(here if here_is_aligned else there), _square(here.to(exact) - there.to(exact))


def _square(values: Any) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def _full(layer: object, name: str) -> float:
    """An adapter's own factor, alpha / rank, at scale 1."""
    alpha, rank = layer.lora_alpha[name], layer.r[name]  # type: ignore[attr-defined]
    return alpha / (rank**0.5 if getattr(layer, "use_rslora", {}).get(name) else rank)


def _shares(model: Model, aligned: Found, tuned: Found) -> dict[str, float]:
    """Adapter -> its scale in tuned minus that in aligned."""
    shares: dict[str, float] = {}
    for found, sign in ((tuned, 1.0), (aligned, -1.0)):
        if found.adapter is not None:
            name = model.adapters.name_of(found.adapter)
            if not all(model.adapters.linear.values()):
                raise BadModel(f"{found} is no plain LoRA: the change it makes has no parts; merge it first.")
            shares[name] = shares.get(name, 0.0) + sign * found.scale
    return shares


def _towards(
    model: Model, aligned: Found, tuned: Found, dose: float, only: Sequence[str] | None
) -> Callable[[str, Tensor], Tensor | None]:
    """What each parameter becomes at a dose, seen from the model at hand."""
    here_is_tuned = model.found.weights == tuned.weights
    read = reader(model.hf, model.weights.parameters, aligned if here_is_tuned else tuned)
    share = 1 - dose if here_is_tuned else dose  # of the way from here to the other

    def change(name: str, parameter: Tensor) -> Tensor | None:
        if not _chosen(name, only):
            return None
        if name in model.weights.changed:
            raise BadInput(
                f"{name} is changed already ({model.provenance.model}): put the dose around that change."
            )
        if share == 0:
            return None
        other = read(name).to(parameter.device)
        if share == 1:
            return other
        exact = torch.promote_types(parameter.dtype, torch.float32)
        return parameter.to(exact) + share * (other.to(exact) - parameter.to(exact))

    return change


def _require_between(model: Model, aligned: Found, tuned: Found) -> None:
    """Refuse a model that lies nowhere between the two, and two between which nothing lies."""
    same = aligned.weights == tuned.weights
    stands = model.found.weights in (aligned.weights, tuned.weights)
    if stands and not same and (aligned.adapter is not None or tuned.adapter is not None):
        raise BadModel(
            f"{aligned} and {tuned} stand on different weights, one with an adapter: merge it, then dose."
        )
    if not stands or (not same and model.found.adapter is not None):
        raise BadInput(f"{model.found} is neither {aligned} nor {tuned}: load one of the two.")
    if same:
        return
    one, other = read_config(aligned.weights), read_config(tuned.weights)
    for what in _COMPUTED:
        a, b = getattr(one, what, None), getattr(other, what, None)
        if a != b:
            raise BadModel(
                f"{aligned} and {tuned} compute differently ({what} is {a} against {b}): a dose needs "
                "checkpoints of one architecture."
            )


def _require_parts(model: Model, only: Sequence[str] | None) -> None:
    if only is None:
        return
    known = {word for name in model.weights.parameters for word in _words(name)}
    strange = [part for part in only if part not in known]
    if strange or not only:
        raise BadInput(
            f"There is no part {strange[0] if strange else only!r} in this model: name blocks (L0 to "
            f"L{model.n_layers - 1}), kinds (attention, mlp, norm, embedding, head, "
            "final_norm), both (L0.mlp) or a module's full name."
        )


@contextmanager
def _mixed(
    model: Model, aligned: Found, tuned: Found, dose: float, only: Sequence[str] | None
) -> Iterator[None]:
    """Adapters at their share: aligned's at 1 - dose, tuned's at dose, on the chosen modules."""
    scales: dict[Path, float] = {}
    for found, share in ((aligned, 1 - dose), (tuned, dose)):
        if found.adapter is not None:
            scales[found.adapter] = scales.get(found.adapter, 0.0) + share * found.scale
    by_parameter = {id(one): name for name, one in model.weights.parameters.items()}

    def chosen(weight: Tensor) -> bool:
        return _chosen(by_parameter[id(weight)], only)

    with model.adapters.mixed(scales, chosen if only is not None else None):
        yield
