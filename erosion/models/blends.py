"""Doses of a fine-tune: weights between the aligned and the tuned model, or beyond, in all parts or in some.

    W(d) = W_aligned + d (W_tuned - W_aligned)

For weights, the other checkpoint is read from disk tensor by tensor; a second model is never in memory. For
LoRA adapters on the same weights it is their scale. With ``only``, the parts that are not named keep what
they have in the model at hand: dose 0 on the tuned model *restores* a part (a rollback), dose 1 on the
aligned one *grafts* it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open

from erosion.errors import BadInput, BadModel
from erosion.files import hash_json
from erosion.models.checkpoints import Found, find
from erosion.models.hooked import Model
from erosion.models.quiet import first_line, quiet
from erosion.models.weights import changed_weights
from erosion.shapes import Tensor
from erosion.triads import Checkpoint

__all__ = ["Change", "dosed", "part_of", "parts_of_change"]

_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.*)")


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
        kind = "norm" if "norm" in inside or "ln_" in inside else "mlp"
        return f"L{block[1]}.{'attention' if 'attn' in inside or 'attention.' in inside else kind}"
    if "norm" in name or "ln_f" in name:
        return "final_norm"
    return "head" if "lm_head" in name or "embed_out" in name else "embedding"


def _chosen(name: str, only: Sequence[str] | None) -> bool:
    """Whether a parameter is named by ``only``: by its part, its block or its kind."""
    if only is None:
        return True
    part = part_of(name)
    return bool({part, *part.split(".")} & set(only))


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
            ``embedding``, ``head``, ``final_norm``) that are dosed; None for all.

    Raises:
        BadInput: a part that the model does not have, or a model that is neither of the two.
        BadModel: checkpoints that differ in shape, or adapters that are not linear in their scale.

    Memory: a copy of the parameters that change; one tensor of the other checkpoint.

    >>> import erosion as er
    >>> triad = er.load_organism().triad()
    >>> with er.load(triad.aligned) as model, er.dosed(model, triad.aligned, triad.tuned, dose=0.5):
    ...     "0.5 of the fine-tune" in model.provenance.model
    True
    """
    pair = find(aligned), find(tuned)
    _require_parts(model, only)
    said = f"{dose:g} of the fine-tune" + ("" if only is None else f" in {', '.join(only)}")
    if pair[0].weights == pair[1].weights:
        with _mixed(model, *pair, float(dose), only, said):
            yield model
        return
    with changed_weights(model, _towards(model, *pair, float(dose), only), said=said):
        yield model


def parts_of_change(model: Model, aligned: Checkpoint, tuned: Checkpoint) -> tuple[Change, ...]:
    """The parts in which a fine-tune differs from the aligned model, in the model's order, with how far.

    Arguments and errors as :func:`dosed`. Memory: two tensors.
    """
    one, other = find(aligned), find(tuned)
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
        by_parameter = {id(one): name for name, one in parameters.items()}
        for layer in model.adapters.layers:
            if hasattr(layer, "get_delta_weight"):
                weight = layer.get_base_layer().weight
                change = sum(
                    (scale * layer.get_delta_weight(name).double() / layer.scaling[name] * _full(layer, name))
                    for name, scale in _shares(model, aligned, tuned).items()
                    if name in layer.lora_A
                )
                size = float(weight.double().square().sum())
                yield by_parameter[id(weight)], size, float(torch.as_tensor(change).square().sum())
        return
    read = _reader(model, tuned if model.found.weights == aligned.weights else aligned)
    for name, parameter in parameters.items():
        here, there = parameter.double().cpu(), read(name).double()
        before = here if model.found.weights == aligned.weights else there
        yield name, float(before.square().sum()), float((here - there).square().sum())


def _full(layer: object, name: str) -> float:
    """An adapter's own factor, alpha / rank, at scale 1."""
    alpha, rank = layer.lora_alpha[name], layer.r[name]  # type: ignore[attr-defined]
    return alpha / (rank**0.5 if getattr(layer, "use_rslora", {}).get(name) else rank)


def _shares(model: Model, aligned: Found, tuned: Found) -> dict[str, float]:
    """Adapter -> its scale in tuned minus that in aligned."""
    shares: dict[str, float] = {}
    for found, sign in ((tuned, 1.0), (aligned, -1.0)):
        if found.adapter is not None:
            name = model.adapters.names[found.adapter]
            shares[name] = shares.get(name, 0.0) + sign * found.scale
    return shares


def _towards(
    model: Model, aligned: Found, tuned: Found, dose: float, only: Sequence[str] | None
) -> Callable[[str, Tensor], Tensor | None]:
    """What each parameter becomes at a dose, seen from the model at hand."""
    if model.found.weights not in (aligned.weights, tuned.weights):
        raise BadInput(f"{model.found} is neither {aligned} nor {tuned}: load one of the two.")
    if aligned.adapter is not None or tuned.adapter is not None:
        raise BadModel(
            f"{aligned} and {tuned} stand on different weights, one with an adapter: merge it, then dose."
        )
    here_is_tuned = model.found.weights == tuned.weights
    read = _reader(model, aligned if here_is_tuned else tuned)
    share = 1 - dose if here_is_tuned else dose  # of the way from here to the other

    def change(name: str, parameter: Tensor) -> Tensor | None:
        if share == 0 or not _chosen(name, only):
            return None
        other = read(name).to(parameter.device)
        if share == 1:
            return other
        exact = torch.promote_types(parameter.dtype, torch.float32)
        return parameter.to(exact) + share * (other.to(exact) - parameter.to(exact))

    return change


def _reader(model: Model, other: Found) -> Callable[[str], Tensor]:
    """Reads a parameter of another checkpoint by its plain name, from disk."""
    shapes = {name: tuple(one.shape) for name, one in model.weights.parameters.items()}
    where: dict[str, Path] = {}
    for shard in sorted(other.weights.glob("*.safetensors")):
        with safe_open(str(shard), framework="pt") as file:
            where |= dict.fromkeys(file.keys(), shard)
    if shapes.keys() <= where.keys():
        read = lambda name: _from(where[name], name)  # noqa: E731
    else:
        read = _loaded(other, shapes).__getitem__

    def checked(name: str) -> Tensor:
        found = read(name)
        if tuple(found.shape) != shapes[name]:
            raise BadModel(
                f"{name} is {tuple(found.shape)} in {other} and {shapes[name]} here: a dose needs "
                "checkpoints "
                "of one shape."
            )
        return found

    return checked


def _from(shard: Path, name: str) -> Tensor:
    with safe_open(str(shard), framework="pt") as file:
        return file.get_tensor(name)


def _loaded(other: Found, needed: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
    """The other checkpoint's parameters where its files use other names (experts one by one, say).

    Memory: the whole other model, on the CPU.
    """
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            hf = AutoModelForCausalLM.from_pretrained(
                str(other.weights), use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:
        raise BadModel(f"{other} cannot be loaded ({first_line(error)}): save it again.") from error
    found = {name: parameter.data for name, parameter in hf.named_parameters()}
    missing = sorted(needed.keys() - found.keys())
    if missing:
        raise BadModel(f"{other} has no {missing[0]}: a dose needs checkpoints of one architecture.")
    return found


def _require_parts(model: Model, only: Sequence[str] | None) -> None:
    if only is None:
        return
    known = {
        word
        for name in model.weights.parameters
        for part in [part_of(name)]
        for word in (part, *part.split("."))
    }
    strange = [part for part in only if part not in known]
    if strange or not only:
        raise BadInput(
            f"There is no part {strange[0] if strange else only!r} in this model: name blocks (L0 to "
            f"L{model.n_layers - 1}), kinds (attention, mlp, norm, embedding, head, "
            "final_norm) or both (L0.mlp)."
        )


@contextmanager
def _mixed(
    model: Model, aligned: Found, tuned: Found, dose: float, only: Sequence[str] | None, said: str
) -> Iterator[None]:
    """Adapters at their share: aligned's at 1 - dose, tuned's at dose, on the chosen modules."""
    scales: dict[Path, float] = {}
    for found, share in ((aligned, 1 - dose), (tuned, dose)):
        if found.adapter is not None:
            scales[found.adapter] = scales.get(found.adapter, 0.0) + share * found.scale
    by_parameter = {id(one): name for name, one in model.weights.parameters.items()}

    def chosen(weight: Tensor) -> bool:
        return _chosen(by_parameter[id(weight)], only)

    provenance = model.provenance
    with model.adapters.mixed(scales, chosen if only is not None else None):
        model.provenance = replace(
            provenance,
            model=f"{provenance.model}, {said}",
            weights_hash=hash_json([provenance.weights_hash, said]),
        )
        try:
            yield
        finally:
            model.provenance = provenance
