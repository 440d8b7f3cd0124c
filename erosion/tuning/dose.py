"""The dose of a fine-tune: how far the weights have moved, whatever parameters moved them."""

from collections.abc import Mapping
from typing import Any

import torch

from erosion.shapes import Tensor

__all__ = ["effective_weights", "weight_change"]


def effective_weights(model: Any) -> dict[str, Tensor]:
    """A copy of every weight as the model uses it, LoRA updates added in: W + (alpha / r) B A.

    Memory: one more copy of the weights.
    """
    plain = {name: value.detach() for name, value in model.state_dict().items() if ".lora_" not in name}
    found = {name.replace(".base_layer.", "."): value.clone() for name, value in plain.items()}
    for name, module in model.named_modules():
        for adapter in getattr(module, "active_adapters", ()) if hasattr(module, "get_delta_weight") else ():
            found[f"{name}.weight"] += module.get_delta_weight(adapter).detach()
    return found


def weight_change(model: Any, start: Mapping[str, Tensor]) -> float:
    """The Frobenius norm of all weights' change since ``start``: sqrt(sum_W ||W - W_start||^2).

    Args:
        model: the model now.
        start: its :func:`effective_weights` then.
    """
    moved = effective_weights(model)
    squares = [float((moved[name] - then).double().square().sum()) for name, then in start.items()]
    return float(torch.tensor(squares, dtype=torch.float64).sum().sqrt())
