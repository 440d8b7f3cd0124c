"""The output head as a value: what turns the last state of a token into logits, without the model around it.

Saved beside the states that it reads, it gives a model's distributions back after the model is gone. It is
taken from the weights and settings that the architecture is known to use (bias, scale, softcap), and
**proved** against the model's own logits, so an unknown kind of head is refused rather than guessed at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erosion.errors import BadModel
from erosion.shapes import Float, Tensor

__all__ = ["Head", "head_of", "listening", "require_head"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@dataclass(frozen=True, eq=False)
class Head:
    """logits = cap(scale (W h + b)), in the model's own dtype; cap(x) = c tanh(x/c) where there is a cap.

    >>> head = Head(torch.eye(2), None, scale=0.5)
    >>> head.logits(torch.tensor([[2.0, 4.0]]))
    tensor([[1., 2.]])
    """

    weight: Float[Tensor, "vocab d_model"]
    bias: Float[Tensor, " vocab"] | None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, states: Float[Tensor, "*token d_model"]) -> Float[Tensor, "*token vocab"]:
        """The logits that these states give. Memory: tokens x vocabulary, once."""
        logits = nn.functional.linear(states, self.weight, self.bias)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits

    def to(self, device: torch.device) -> "Head":
        """The same head on another device."""
        bias = None if self.bias is None else self.bias.to(device)
        return Head(self.weight.to(device), bias, self.scale, self.softcap)


def head_of(hf: Any, name: str) -> Head:
    """A copy of a transformers model's output head, on the CPU.

    Knows what transformers 5 does: a bias, Gemma's ``final_logit_softcapping``, Cohere's ``logit_scale``,
    Granite's ``logits_scaling``. Prove it by :func:`require_head`.

    Raises:
        BadModel: the head is not one matrix (an adapter on it, say).

    Memory: vocabulary x d_model in the model's dtype.
    """
    linear, config = _linear(hf, name), hf.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
        getattr(config, "logits_scaling", None) or 1.0
    )
    cap = getattr(config, "final_logit_softcapping", None)
    bias = None if linear.bias is None else linear.bias.detach().to("cpu", copy=True)
    return Head(linear.weight.detach().to("cpu", copy=True), bias, scale, None if cap is None else float(cap))


@contextmanager
def listening(hf: Any, name: str) -> Iterator[list[Tensor]]:
    """Collect what the head reads, pass by pass, inside the block.

    Raises:
        BadModel: as :func:`head_of`.
    """
    heard: list[Tensor] = []
    handle = _linear(hf, name).register_forward_pre_hook(lambda _, args: heard.append(args[0].detach()))
    try:
        yield heard
    finally:
        handle.remove()


def require_head(
    head: Head, states: Float[Tensor, "*token d_model"], logits: Float[Tensor, "*token vocab"], *, name: str
) -> float:
    """Refuse a head that does not give the model's own logits; returns how far off it is, relatively.

    Raises:
        BadModel: by more than rounding in the model's dtype.
    """
    made = head.to(states.device).logits(states)
    if made.shape != logits.shape:
        raise BadModel(f"The head of {name} gives {made.shape[-1]} logits and the model {logits.shape[-1]}.")
    off = ((made - logits).abs().max() / logits.abs().max().clamp(min=1e-30)).item()
    if not off <= _TOLERANCE.get(logits.dtype, 3e-2):
        raise BadModel(
            f"The output head of {name} does something that is not known here (its logits are {off:.1e} of "
            "the largest off): its distributions cannot be compared token by token; leave divergences out."
        )
    return off


def _linear(hf: Any, name: str) -> nn.Linear:
    found = hf.get_output_embeddings()
    linear = getattr(found, "original_component", found)
    if not isinstance(linear, nn.Linear):
        raise BadModel(
            f"The output head of {name} is a {type(linear).__name__}, not one matrix: merge its adapter, or "
            "leave divergences out."
        )
    return linear
