"""The linear maps of a model's blocks by the names the paper uses: q, k, v, o, gate, up, down.

Notable: a fused projection (Phi-3's qkv and gate_up, GPT-2's c_attn, GPT-NeoX's query_key_value) is several
maps here, each with its own rows of one module, so that architectures compare part by part; an adapter is
looked through (the map is the weight below it); and only the model's *own* modules are named, never the
split copies that TransformerLens keeps beside a fused projection.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import nn
from transformers.pytorch_utils import Conv1D

from erosion.errors import BadInput, BadModel
from erosion.models.hooked import Model
from erosion.shapes import Float, Int, Tensor

__all__ = ["MAPS", "Linear", "LinearMap", "linear_maps", "linears", "parse_map"]

MAPS = ("q", "k", "v", "o", "gate", "up", "down")
_ATTENTION, _FEED_FORWARD = MAPS[:4], MAPS[4:]
_NAMES = {
    "attention": {
        "q_proj": ("q",),
        "k_proj": ("k",),
        "v_proj": ("v",),
        "o_proj": ("o",),
        "out_proj": ("o",),
        "c_proj": ("o",),
        "dense": ("o",),
        "qkv_proj": ("q", "k", "v"),
        "c_attn": ("q", "k", "v"),
        "query_key_value": ("q", "k", "v"),
    },
    "feed-forward": {
        "gate_proj": ("gate",),
        "up_proj": ("up",),
        "down_proj": ("down",),
        "gate_up_proj": ("gate", "up"),
        "c_fc": ("up",),
        "c_proj": ("down",),
        "fc1": ("up",),
        "fc2": ("down",),
        "dense_h_to_4h": ("up",),
        "dense_4h_to_h": ("down",),
    },
}


@dataclass(frozen=True)
class LinearMap:
    """One linear map of one block: ``q``, ``k``, ``v``, ``o``, ``gate``, ``up`` or ``down``.

    Raises:
        BadInput: a negative layer or an unknown part.

    >>> LinearMap(3, "o")
    L3.o
    """

    layer: int
    part: str

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        if self.part not in MAPS:
            raise BadInput(f"There is no linear map {self.part!r}: choose one of {', '.join(MAPS)}.")
        if self.layer < 0:
            raise BadInput(f"Layer {self.layer} does not exist: layers count from 0.")

    def __repr__(self) -> str:
        """``L3.o``; :func:`parse_map` reads it back."""
        return f"L{self.layer}.{self.part}"

    __str__ = __repr__


@dataclass(frozen=True, eq=False)
class Linear:
    """Where a linear map lives: y = W x + b of ``module``, of which it is ``rows`` (None = all).

    ``transposed`` says that the module stores W as ``[in, out]`` (GPT-2).
    """

    module: nn.Module
    rows: Int[Tensor, " out"] | None = None
    transposed: bool = False

    def of(self, output: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch out"]:
        """The part of the module's output, or of a gradient with respect to it, that is this map's."""
        return output if self.rows is None else output[..., self.rows.to(output.device)]

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """A copy of the weight where the module is fused, the module's own tensor elsewhere."""
        weight = self._matrix()
        return weight if self.rows is None else weight[self.rows.to(weight.device)]

    def add(self, change: Float[Tensor, "out in"]) -> None:
        """Add to the weight in place, rounded to its dtype."""
        weight = self._matrix()
        change = change.to(weight)
        if self.rows is None:
            weight.add_(change)
        else:
            weight.index_add_(0, self.rows.to(weight.device), change)

    def _matrix(self) -> Tensor:
        weight: Any = self.module.weight
        return weight.data.T if self.transposed else weight.data


def parse_map(text: str) -> LinearMap:
    """Read ``"L3.o"``.

    >>> parse_map("L3.o")
    L3.o
    """
    match = re.fullmatch(r"[Ll]?(\d+)\.([a-z]+)", text.strip())
    if match is None:
        raise BadInput(f"{text!r} is not a linear map: write L3.o (layers count from 0).")
    return LinearMap(int(match[1]), match[2])


def linear_maps(model: Model, *, parts: Sequence[str] = MAPS) -> tuple[LinearMap, ...]:
    """The linear maps of every block, in the order of the blocks; a part the model lacks is left out.

    Args:
        model: a loaded model.
        parts: which of ``q``, ``k``, ``v``, ``o``, ``gate``, ``up``, ``down``.

    Raises:
        BadModel: feed-forward parts of a model that routes tokens to experts, or a module of an
            unknown name.

    >>> from erosion.models import load
    >>> from erosion.organisms import load_organism
    >>> with load(load_organism().triad().aligned) as model:
    ...     len(linear_maps(model, parts=["q", "down"])) == 2 * model.n_layers
    True
    """
    return tuple(linears(model, parts=parts))


def linears(
    model: Model, maps: Sequence[LinearMap] | None = None, *, parts: Sequence[str] = MAPS
) -> dict[LinearMap, Linear]:
    """Where each linear map lives: the named ``maps``, or those of ``parts`` where none are named.

    Raises:
        BadInput: an unknown part, or a map that this model does not have.
        BadModel: as :func:`linear_maps`.
    """
    wanted = {one.part for one in maps} if maps is not None else {LinearMap(0, part).part for part in parts}
    found = {
        LinearMap(layer, part): place
        for layer, block in enumerate(model.bridge.blocks)
        for part, place in _of_block(model, layer, block, wanted)
        if part in wanted
    }
    if maps is None:
        return dict(sorted(found.items(), key=lambda one: (one[0].layer, MAPS.index(one[0].part))))
    missing = [one for one in maps if one not in found]
    if missing:
        has = ", ".join(dict.fromkeys(one.part for one in found)) or "none of them"
        raise BadInput(
            f"{missing[0]} does not exist: this model has L0 to L{model.n_layers - 1}, each with {has}."
        )
    return {one: found[one] for one in maps}


def _of_block(model: Model, layer: int, block: nn.Module, wanted: set[str]) -> Iterator[tuple[str, Linear]]:
    routed = any(name.rpartition(".")[2] == "experts" for name, _ in block.named_modules())
    if routed and wanted & set(_FEED_FORWARD):
        raise BadModel(
            f"{model.anatomy.architecture} routes tokens to experts, so its feed-forward maps (gate, up, "
            "down) have no input for every token: choose attention's (parts=['q', 'k', 'v', 'o'])."
        )
    for path, module in _own(block, ()):
        half = (
            "attention" if any("attn" in one or "attention" in one for one in path[:-1]) else "feed-forward"
        )
        if routed and half == "feed-forward":
            continue
        parts = _NAMES[half].get(path[-1])
        if parts is None:
            raise BadModel(
                f"The linear module {'.'.join(path)} of L{layer} has a name that is not known here: "
                f"{model.anatomy.architecture} gives no gradients by map."
            )
        yield from _split(model, path[-1], parts, module)


def _own(module: nn.Module, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """The model's own linear modules with their paths: through hooks and adapters, past split copies."""
    inside: Any = module._modules
    if inside.get("_original_component") is not None:
        yield from _own(inside["_original_component"], path)
    elif "base_layer" in inside:
        yield path, inside["base_layer"]
    elif isinstance(module, (nn.Linear, Conv1D)):
        yield path, module
    else:
        for name, child in inside.items():
            if child is not None:
                yield from _own(child, (*path, name))


def _split(
    model: Model, name: str, parts: tuple[str, ...], module: nn.Module
) -> Iterator[tuple[str, Linear]]:
    """One map for a plain module, one for each part of a fused one."""
    weight: Any = module.weight
    transposed = isinstance(module, Conv1D)
    if len(parts) == 1:
        yield parts[0], Linear(module, None, transposed)
        return
    width = weight.shape[1] if transposed else weight.shape[0]
    rows = torch.arange(width)
    if name == "query_key_value":
        split = rearrange(rows, "(head part d) -> part (head d)", part=3, head=model.anatomy.n_heads).unbind()
    elif len(parts) == 2:
        split = rows.chunk(2)
    else:
        keys = getattr(model.hf.config.get_text_config(), "num_key_value_heads", None)
        head = width // (model.anatomy.n_heads + 2 * (keys or model.anatomy.n_heads))
        written = head * (keys or model.anatomy.n_heads)
        split = rows.split([width - 2 * written, written, written])
    yield from ((part, Linear(module, one, transposed)) for part, one in zip(parts, split, strict=True))
