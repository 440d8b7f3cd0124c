"""A model's own parameters by their plain names, and changing some of them for a while.

Wrapping and adapters rename parameters inside a live model; :class:`Named` keeps the names that they had
before. A change holds inside a ``with`` block and is undone bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from erosion.errors import BadModel
from erosion.files import hash_json
from erosion.models.provenance import Provenance
from erosion.models.wrapping import renew_copies
from erosion.shapes import Tensor

__all__ = ["Named", "changed_weights", "edited", "named_weights"]

Change = Callable[[str, Tensor], Tensor | None]
"""Name and parameter -> what it becomes, None where it stays."""


@dataclass(frozen=True, eq=False)
class Named:
    """Plain name -> parameter (or saved buffer), each once, and those of LoRA adapters apart.

    ``embedding`` names the token embedding, ``head`` the output head's matrix (its name even where the two
    are tied and it is no parameter of its own); ``changed`` those that are changed at
    present.
    """

    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    lora: Mapping[str, Tensor] = field(default_factory=dict)
    embedding: str = ""
    head: str = ""
    changed: set[str] = field(default_factory=set)

    @property
    def tied(self) -> bool:
        """Whether the output head is the token embedding."""
        return self.head not in self.parameters


def named_weights(hf: Any) -> Named:
    """The parameters of a model that is not wrapped yet, adapters looked through and left out."""
    stored = hf.state_dict()
    buffers = {n: one for n, one in hf.named_buffers() if n in stored and one.is_floating_point()}
    parameters = {
        name.replace(".base_layer", ""): parameter
        for name, parameter in (dict(hf.named_parameters()) | buffers).items()
        if "lora_" not in name and ".modules_to_save." not in name
    }
    every = dict(hf.named_parameters(remove_duplicate=False))
    embedding, head = hf.get_input_embeddings().weight, hf.get_output_embeddings().weight
    token = next((name for name, one in parameters.items() if one is embedding), "")
    own = [name.replace(".base_layer", "") for name, one in every.items() if one is head]
    lora = {name: parameter for name, parameter in hf.named_parameters() if "lora_" in name}
    return Named(parameters, lora, token, next((name for name in own if name != token), token))


@contextmanager
def changed_weights(model: Any, change: Change, *, said: str, key: Any) -> Iterator[int]:
    """Put other values into some of a model's parameters inside the block; yields how many were changed.

    While it holds, the model's provenance says so and has another weights hash.

    Args:
        model: a loaded model.
        change: gives the new value of a parameter (cast to its dtype once), or None.
        said: what is done, for the provenance.
        key: plain values that tell this change from every other, for the hash.

    Raises:
        BadModel: weights that are quantised or not in memory.

    Memory: a copy of every parameter that changes.
    """
    _require_numbers(model)
    before: dict[str, Tensor] = {}
    mine: set[str] = set()
    provenance, parameters = model.provenance, model.weights.parameters
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                new = change(name, parameter)
                if new is not None:
                    before[name] = parameter.data
                    parameter.data = new.to(parameter).contiguous()
        renew_copies(model.bridge, [parameters[name] for name in before])
        mine = before.keys() - model.weights.changed
        model.weights.changed.update(mine)
        model.provenance = edited(provenance, said, key)
        yield len(before)
    finally:
        for name, data in before.items():
            parameters[name].data = data
        renew_copies(model.bridge, [parameters[name] for name in before])
        model.weights.changed.difference_update(mine)
        model.provenance = provenance


def edited(provenance: Provenance, said: str, key: Any) -> Provenance:
    """The provenance of a model whose weights are changed: named so, and under a hash of its own."""
    return replace(
        provenance,
        model=f"{provenance.model}, {said}",
        weights_hash=hash_json([provenance.weights_hash, said, key]),
    )


def _require_numbers(model: Any) -> None:
    for name, one in model.weights.parameters.items():
        if one.is_meta or not one.is_floating_point() or one.element_size() < 2:
            what = "not in memory" if one.is_meta else str(one.dtype).removeprefix("torch.")
            raise BadModel(
                f"{name} is {what}: quantised or off-loaded weights cannot be changed; load the model whole, "
                "in bfloat16 or float32."
            )
