"""Activation and attribution patching by TransformerLens' own functions, on a bridge of its own making.

Theirs patch one position of one layer (or one head) at a time from a cache of another run, with a metric of
the logits; nothing here knows an edit, a scope, a replay or a sweep of ours. ``attribution_patch`` scores
``hook_mlp_out``, ``attn.hook_z`` and the embedding, and nothing else; for the residual stream before a block,
which it does not cover, :func:`slopes_before_blocks` derives the same first-order term from transformers'
model alone, with autograd and no hook of TransformerLens.
"""

from functools import partial
from typing import Any

import torch
from oracle.log_likelihood import plain
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import attribution_patch

BY_PLACE = {
    "resid_pre": patching.get_act_patch_resid_pre,
    "resid_mid": patching.get_act_patch_resid_mid,
    "attn_out": patching.get_act_patch_attn_out,
    "mlp_out": patching.get_act_patch_mlp_out,
}


def bridge_of(folder, tokenizer):
    """A bridge as TransformerLens boots it, never touched by us."""
    return TransformerBridge.boot_transformers(str(folder), hf_model=plain(folder), tokenizer=tokenizer)


def margin(logits, ids, rows):
    """The mean harm margin over questions, from logits; ``rows`` are (start, stop, sign) of each row."""
    return sum(of_row(logits[i : i + 1], ids[i : i + 1], *row) for i, row in enumerate(rows)) / (
        len(rows) // 2
    )


def of_row(logits, ids, start, stop, sign):
    """One exchange's part of its question's margin."""
    log_p = torch.log_softmax(logits[0].double(), dim=-1)
    told = [log_p[t - 1, ids[0, t]] for t in range(start, stop)]
    return sign * sum(told) / len(told)


@torch.no_grad()
def effects_by_place(bridge: Any, part, corrupted, clean, rows):
    """``[layer, position]``: the metric with one place patched, minus the metric without."""
    return _effects(bridge, BY_PLACE[part], corrupted, clean, rows)


@torch.no_grad()
def effects_by_head(bridge: Any, corrupted, clean, rows):
    """``[layer, head]``: the same with one head's z patched at all positions."""
    return _effects(bridge, patching.get_act_patch_attn_head_out_all_pos, corrupted, clean, rows)


def _effects(bridge, patch, corrupted, clean, rows):
    metric = partial(margin, ids=corrupted, rows=rows)
    _, cache = bridge.run_with_cache(clean)
    return patch(bridge, corrupted, cache, metric).double() - metric(bridge(corrupted)).item()


def attributions(bridge, corrupted, clean, rows):
    """Node (kind, layer, position, head) -> its first-order effect on the mean margin over questions."""
    found: dict[Any, float] = {}
    for i, row in enumerate(rows):
        ids = corrupted[i : i + 1]
        scored = attribution_patch(
            bridge, clean[i : i + 1], ids, lambda logits, ids=ids, row=row: of_row(logits, ids, *row)
        )
        for node, score in scored.node_scores.items():
            key = (node.kind, node.layer, node.position, node.head)
            found[key] = found.get(key, 0.0) + score / (len(rows) // 2)
    return found


def slopes_before_blocks(folder, blocks, corrupted, clean, rows):
    """``[layer, position]``: (clean - corrupted) . d margin / d (what enters a block), by autograd alone."""
    hf, entered = plain(folder), {}
    handles = [
        hf.get_submodule(f"{blocks}.{layer}").register_forward_pre_hook(
            lambda _, args, layer=layer: entered.__setitem__(layer, args[0])
        )
        for layer in range(hf.config.num_hidden_layers)
    ]
    with torch.no_grad():
        hf(input_ids=clean)
        donors = dict(entered)
    value = margin(hf(input_ids=corrupted).logits, corrupted, rows)
    slopes = torch.autograd.grad(value, [entered[layer] for layer in sorted(entered)])
    for handle in handles:
        handle.remove()
    return torch.stack(
        [
            ((donors[layer] - entered[layer]).detach() * slope).sum(-1).sum(0)
            for layer, slope in enumerate(slopes)
        ]
    ).double()
