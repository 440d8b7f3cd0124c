"""Proofs that a wrapped model is still the model: logits and residual stream, before against after.

A small fixed batch with left padding, mask and position ids is run before the wrap and after it. The logits
must agree, and what the residual hooks see must be transformers' own hidden states (the last one after the
model's final norm), to the precision of the dtype.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from erosion.errors import BadModel
from erosion.models.batches import position_ids
from erosion.shapes import Float, Tensor
from erosion.sites import residuals

__all__ = ["Probe", "probe", "probe_arguments", "probe_logits", "require_finite", "require_same"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@dataclass(frozen=True, eq=False)
class Probe:
    """The logits and hidden states of the probe batch; padded positions are 0."""

    logits: Float[Tensor, "batch position vocab"]
    hidden: tuple[Float[Tensor, "batch position d_model"], ...]


def probe_arguments(hf: Any) -> dict[str, Tensor]:
    """A small fixed batch, left-padded, as a model's arguments."""
    generator = torch.Generator().manual_seed(0)
    vocab = len(hf.get_input_embeddings().weight)
    ids = torch.randint(0, vocab, (2, 12), generator=generator).to(hf.device)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    return {"input_ids": ids, "attention_mask": mask, "position_ids": position_ids(mask)}


def _unpadded(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.to(values.device)[..., None].bool(), values, torch.zeros_like(values)).cpu()


@torch.no_grad()
def probe_logits(hf: PreTrainedModel) -> Float[Tensor, "batch position vocab"]:
    """The logits of the probe batch."""
    arguments = probe_arguments(hf)
    return _unpadded(hf(**arguments, use_cache=False).logits, arguments["attention_mask"])


@torch.no_grad()
def probe(hf: PreTrainedModel, name: str) -> Probe:
    """The logits and hidden states of a model that is not wrapped yet.

    Raises:
        BadModel: they are not finite in the model's dtype.
    """
    arguments = probe_arguments(hf)
    output = hf(**arguments, use_cache=False, output_hidden_states=True)
    mask = arguments["attention_mask"]
    found = Probe(_unpadded(output.logits, mask), tuple(_unpadded(h, mask) for h in output.hidden_states))
    if not all(values.isfinite().all() for values in (found.logits, *found.hidden)):
        dtype = str(hf.dtype).removeprefix("torch.")
        raise BadModel(f"{name} gives NaN or infinite numbers in {dtype}: load it in bfloat16 or float32.")
    return found


@torch.no_grad()
def require_same(before: Probe, hf: PreTrainedModel, bridge: Any, name: str) -> float:
    """Refuse a wrap that changed the model; returns how far the logits moved, relative to the largest.

    Raises:
        BadModel: the logits moved, or a residual hook does not see the hidden state.
    """
    sites = residuals(range(len(bridge.blocks)))
    seen: dict[str, list[Tensor]] = {site.hook: [] for site in sites}
    hooks = [(hook, lambda tensor, hook, into=into: into.append(tensor)) for hook, into in seen.items()]
    with bridge.hooks(fwd_hooks=hooks):
        logits = probe_logits(hf)
    off = _off(before.logits, logits)
    tolerance = _TOLERANCE.get(hf.dtype, 3e-2)
    if not off <= tolerance:
        raise BadModel(
            f"Wrapping changed the logits of {name} by {off:.1e} of the largest: it cannot be measured."
        )
    mask = probe_arguments(hf)["attention_mask"]
    for site, states in zip(sites, before.hidden[1:], strict=True):
        found = seen[site.hook]
        shapes = [tuple(tensor.shape) for tensor in found]
        if shapes != [tuple(states.shape)]:
            raise BadModel(
                f"The hook at {site} of {name} saw {shapes} where one {tuple(states.shape)} was due."
            )
        normed = bridge.ln_final.original_component(found[0]) if site == sites[-1] else found[0]
        if not (moved := _off(states, _unpadded(normed, mask))) <= tolerance:
            raise BadModel(
                f"The hook at {site} of {name} is {moved:.1e} off the hidden state: it cannot be read."
            )
    return off


def _off(before: Tensor, after: Tensor) -> float:
    return ((before - after).abs().max() / before.abs().max().clamp(min=1e-30)).item()


def require_finite(hf: PreTrainedModel, name: str) -> None:
    """Refuse NaN or infinite weights (memory: none; one pass over the weights).

    Raises:
        BadModel: with the first parameter that holds one.
    """
    for parameter_name, parameter in hf.named_parameters():
        if parameter.numel() and not parameter.is_meta:
            low, high = torch.aminmax(parameter.detach())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise BadModel(
                    f"{name} holds NaN or infinite weights in {parameter_name}: train or download it again."
                )
