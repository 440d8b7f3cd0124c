"""Wrapping a transformers model in TransformerLens hooks, and proving that nothing changed.

``TransformerBridge`` replaces the modules of a live model by hooked ones, in place. Left alone it
recomputes attention step by step (quadratic scores in memory) and splits fused projections into copies
that do not see a LoRA adapter. So every attention block, and every fused feed-forward, is *delegated*: the
hooked module calls its own input hook, then the model's original module, then its output hook. Attention
falls back to the step-by-step computation by itself while something hooks inside it.

The wrap is then proved on a probe batch (left padding, mask and position ids included): logits before and
after, hook shapes, and the residual stream against transformers' own hidden states.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from erosion.errors import BadModel
from erosion.models.batches import position_ids
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["probe_logits", "require_finite", "require_same_logits", "wrap"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


def wrap(hf: PreTrainedModel, folder: Path, tokenizer: Any, *, adapted: bool = False) -> Any:
    """A ``TransformerBridge`` around ``hf``, in place and delegated; the attention kernel is kept.

    Args:
        hf: a loaded model, any adapter already in it.
        folder: where its configuration is (TransformerLens reads the architecture there).
        tokenizer: given a copy, since TransformerLens adds tokens to what it gets.
        adapted: whether an adapter is attached: hooks inside fused projections are then refused, since
            TransformerLens' split copies do not see it.

    Raises:
        BadModel: an architecture that TransformerLens does not know.
    """
    import copy

    from transformer_lens.model_bridge import TransformerBridge

    kernel = hf.config._attn_implementation
    try:
        bridge = TransformerBridge.boot_transformers(str(folder), hf_model=hf, tokenizer=copy.deepcopy(tokenizer))
    except (ValueError, KeyError, AttributeError, TypeError, NotImplementedError) as error:
        kind = type(hf).__name__
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadModel(f"TransformerLens cannot wrap {kind} ({line[:160]}): choose a supported architecture.") from error
    hf.config._attn_implementation = kernel
    components = [component for block in bridge.blocks for component in _to_delegate(block)]
    deep = [_Deep(component, refused=adapted and "Joint" in type(component).__name__) for component in components]
    for one in deep:
        one.delegate()
    _find_silent(hf, deep)
    return bridge


def _to_delegate(block: Any) -> list[Any]:
    """The attention of a block, and its feed-forward where TransformerLens splits a fused projection."""
    parts = [getattr(block, "attn", None), getattr(block, "mlp", None)]
    return [p for p in parts if p is not None and (p is parts[0] or "Joint" in type(p).__name__)]


class _Deep:
    """A hooked module that calls the module it wraps, and computes in the open only when hooked inside.

    ``silent`` are the hook points that do not fire while delegated: hooking one falls back to
    TransformerLens' own step-by-step forward.
    """

    def __init__(self, component: Any, *, refused: bool) -> None:
        self.component, self.refused = component, refused
        self.in_the_open = component.forward
        self.silent: list[Any] = []

    def delegate(self) -> None:
        """Put the delegating forward in place."""
        object.__setattr__(self.component, "forward", self.forward)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Input hook, the model's own module, output hook."""
        hooked = next((point for point in self.silent if point.fwd_hooks or point.bwd_hooks), None)
        if hooked is not None:
            if self.refused:
                raise BadModel(
                    f"{hooked.name} lies inside a fused projection that carries an adapter and cannot be hooked: "
                    "hook the block's input or output instead."
                )
            return self.in_the_open(*args, **kwargs)
        component = self.component
        if args:
            args = (component.hook_in(args[0]), *args[1:])
        else:
            kwargs["hidden_states"] = component.hook_in(kwargs["hidden_states"])
        output = component.original_component(*args, **kwargs)
        if isinstance(output, tuple):
            return (component.hook_out(output[0]), *output[1:])
        return component.hook_out(output)


def _find_silent(hf: PreTrainedModel, deep: list[_Deep]) -> None:
    """Run once and note which hook points inside the delegated modules do not fire."""
    from transformer_lens.hook_points import HookPoint

    fired: set[int] = set()
    points = {one: [m for m in one.component.modules() if isinstance(m, HookPoint)] for one in deep}
    handles = [
        point.register_forward_hook(lambda module, *_: fired.add(id(module))) for inside in points.values() for point in inside
    ]
    try:
        probe_logits(hf)
    finally:
        for handle in handles:
            handle.remove()
    for one, inside in points.items():
        one.silent = [point for point in inside if id(point) not in fired]


def require_finite(hf: PreTrainedModel, name: str) -> None:
    """Refuse NaN or infinite weights (memory: none; one pass over the weights).

    Raises:
        BadModel: with the first parameter that holds one.
    """
    for parameter_name, parameter in hf.named_parameters():
        if parameter.numel() and not parameter.is_meta:
            low, high = torch.aminmax(parameter.detach())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise BadModel(f"{name} holds NaN or infinite weights in {parameter_name}: train or download it again.")


@torch.no_grad()
def probe_logits(hf: PreTrainedModel) -> Float[Tensor, "batch position vocab"]:
    """The logits of a small fixed batch with left padding, mask and position ids; padded positions are 0."""
    generator = torch.Generator().manual_seed(0)
    vocab = hf.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, vocab, (2, 12), generator=generator).to(hf.device)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    logits = hf(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False).logits
    return torch.where(mask[..., None].bool(), logits, torch.zeros_like(logits))


def require_same_logits(before: Tensor, after: Tensor, name: str) -> float:
    """The largest difference relative to max|logit|, refused above the dtype's tolerance.

    Raises:
        BadModel: the wrap changed the model (an architecture or adapter that is not supported).
    """
    largest = before.abs().max().clamp(min=1e-30)
    off = ((before - after).abs().max() / largest).item()
    if not off <= _TOLERANCE.get(before.dtype, 3e-2):
        raise BadModel(f"Wrapping changed the logits of {name} by {off:.1e} of the largest: it cannot be measured.")
    return off


@torch.no_grad()
def require_hooks(bridge: Any, sites: tuple[Site, ...], run: Callable[[], Any], width: int, name: str) -> None:
    """Refuse a model whose residual hooks do not fire once each with shape [batch, position, d_model].

    Raises:
        BadModel: with the site and what was seen there.
    """
    seen: dict[Site, list[tuple[int, ...]]] = {site: [] for site in sites}

    def look(site: Site) -> Callable[..., None]:
        return lambda tensor, hook: seen[site].append(tuple(tensor.shape))

    with bridge.hooks(fwd_hooks=[(site.hook, look(site)) for site in sites]):
        run()
    for site, shapes in seen.items():
        if len(shapes) != 1 or shapes[0][-1] != width:
            raise BadModel(f"The hook at {site} of {name} saw {shapes} where one [batch, position, {width}] was due.")
