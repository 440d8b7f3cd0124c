"""A model's own parameters by their plain names, and changing some of them for a while.

Wrapping and adapters rename parameters inside a live model; :class:`Named` keeps the names under which a
checkpoint stores them. A change holds inside a ``with`` block and is undone bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from erosion.files import hash_json
from erosion.shapes import Tensor

__all__ = ["Named", "changed_weights", "named_weights"]

Change = Callable[[str, Tensor], Tensor | None]
"""Name and parameter -> what it becomes, None where it stays."""


@dataclass(frozen=True, eq=False)
class Named:
    """Plain name -> parameter, each once, and those of LoRA adapters apart.

    ``embedding`` names the token embedding, ``head`` the output head's matrix (its name even where the two
    are tied and it is no parameter of its own).
    """

    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    lora: Mapping[str, Tensor] = field(default_factory=dict)
    embedding: str = ""
    head: str = ""

    @property
    def tied(self) -> bool:
        """Whether the output head is the token embedding."""
        return self.head not in self.parameters


def named_weights(hf: Any) -> Named:
    """The parameters of a model that is not wrapped yet, adapters looked through and left out."""
    parameters = {
        name.replace(".base_layer", ""): parameter
        for name, parameter in hf.named_parameters()
        if "lora_" not in name and ".modules_to_save." not in name
    }
    every = dict(hf.named_parameters(remove_duplicate=False))
    embedding, head = hf.get_input_embeddings().weight, hf.get_output_embeddings().weight
    token = next((name for name, one in parameters.items() if one is embedding), "")
    own = [name.replace(".base_layer", "") for name, one in every.items() if one is head]
    lora = {name: parameter for name, parameter in hf.named_parameters() if "lora_" in name}
    return Named(parameters, lora, token, next((name for name in own if name != token), token))


@contextmanager
def changed_weights(model: Any, change: Change, *, said: str) -> Iterator[int]:
    """Put other values into some of a model's parameters inside the block; yields how many were changed.

    While it holds, the model's provenance says so and has another weights hash.

    Args:
        model: a loaded model.
        change: gives the new value of a parameter (cast to its dtype once), or None.
        said: what is done, for the provenance.

    Memory: a copy of every parameter that changes.
    """
    before: dict[str, Tensor] = {}
    provenance = model.provenance
    try:
        with torch.no_grad():
            for name, parameter in model.weights.parameters.items():
                new = change(name, parameter)
                if new is not None:
                    before[name] = parameter.data
                    parameter.data = new.to(parameter).contiguous()
        model.provenance = replace(
            provenance,
            model=f"{provenance.model}, {said}",
            weights_hash=hash_json([provenance.weights_hash, said]),
        )
        yield len(before)
    finally:
        for name, data in before.items():
            model.weights.parameters[name].data = data
        model.provenance = provenance
