"""Wrapping a transformers model in TransformerLens hooks, and proving that nothing changed.

``TransformerBridge`` replaces the modules of a live model by hooked ones, in place. Left alone it
recomputes attention step by step (quadratic scores in memory) and splits fused projections into copies
that do not see a LoRA adapter. So every attention block, and every fused feed-forward, is *delegated*: the
hooked module calls its own input hook, then the model's original module, then its output hook. Attention
falls back to the step-by-step computation by itself while something hooks inside it.

That nothing changed is proved in :mod:`erosion.models.proofs`.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from erosion.errors import BadModel
from erosion.models.proofs import probe_logits
from erosion.models.quiet import first_line
from erosion.shapes import Tensor

__all__ = ["renew_copies", "wrap"]


def wrap(hf: Any, folder: Path, tokenizer: Any, *, adapted: bool = False) -> Any:
    """A ``TransformerBridge`` around ``hf``, in place and delegated; the attention kernel is kept.

    Args:
        hf: a loaded model, any adapter already in it.
        folder: where its configuration is (TransformerLens reads the architecture there).
        tokenizer: given a copy, since TransformerLens adds tokens to what it gets.
        adapted: whether an adapter is attached: hooks inside fused projections are then refused, since
            TransformerLens' split copies do not see it.

    Raises:
        BadModel: an architecture that TransformerLens does not know, or a ``PeftModel`` (some boot with
            wrong logits, and nobody notices).
    """
    if not isinstance(hf, PreTrainedModel):
        raise BadModel(
            f"A {type(hf).__name__} is never wrapped (some give wrong logits): name the adapter's folder."
        )
    from transformer_lens.model_bridge import TransformerBridge

    kernel = hf.config._attn_implementation
    try:
        bridge = TransformerBridge.boot_transformers(
            str(folder), hf_model=hf, tokenizer=copy.deepcopy(tokenizer)
        )
    except Exception as error:  # it raises whatever it stumbles on; each means that it does not know the kind
        raise BadModel(
            f"TransformerLens cannot wrap {type(hf).__name__} ({first_line(error)}): "
            "choose an architecture that it supports."
        ) from error
    hf.config._attn_implementation = kernel
    components = [component for block in bridge.blocks for component in _to_delegate(block)]
    deep = [
        _Deep(component, refused=adapted and "Joint" in type(component).__name__) for component in components
    ]
    for one in deep:
        one.delegate()
    _find_silent(hf, deep)
    return bridge


def renew_copies(bridge: Any, changed: Sequence[Tensor]) -> None:
    """Split the fused projections among ``changed`` anew: what hooks inside them compute with is a copy."""
    ids = {id(one) for one in changed}
    for component in (one for block in bridge.blocks for one in _to_delegate(block)):
        original = component.original_component
        if not any(id(one) in ids for one in original.parameters()):
            continue
        for split, names in (("split_qkv_matrix", "q k v"), ("split_gate_up_matrix", "gate in")):
            if hasattr(component, split):
                for name, fresh in zip(names.split(), getattr(component, split)(original), strict=True):
                    for copied, new in zip(_own(getattr(component, name)), fresh.parameters(), strict=True):
                        copied.data = new.data.to(copied)


def _own(part: Any) -> list[Tensor]:
    return list(part.original_component.parameters())


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
                    f"{hooked.name} lies inside a fused projection that carries an adapter and cannot be "
                    "hooked: hook the block's input or output instead."
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
        point.register_forward_hook(lambda module, *_: fired.add(id(module)))
        for inside in points.values()
        for point in inside
    ]
    try:
        probe_logits(hf)
    finally:
        for handle in handles:
            handle.remove()
    for one, inside in points.items():
        one.silent = [point for point in inside if id(point) not in fired]
