"""The published selection of a refusal direction, derived again from arXiv 2406.11717, in plain torch.

Difference of means; directional ablation of the residual stream as it enters every block and of what
attention and MLP write; activation addition at one block's output; KL of next-token distributions; and the
rule: among candidates with KL below a bound, an induced effect above zero and a layer before the last fifth,
the one whose ablation leaves least.

Knows nothing of this package: only a transformers model of the Llama family.
"""

from contextlib import contextmanager

import torch


def difference_of_means(one, other):
    difference = one.double().mean(0) - other.double().mean(0)
    return difference / difference.norm(), difference


@contextmanager
def hooked(handles):
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def without(x, r):
    return x - (x @ r.to(x))[..., None] * r.to(x)


def ablating(hf, r):
    """Project r out of every block's input and of both writes."""

    def before(module, inputs, keywords):
        if inputs:
            return (without(inputs[0], r), *inputs[1:]), keywords
        return inputs, {**keywords, "hidden_states": without(keywords["hidden_states"], r)}

    def after(module, inputs, output):
        return (without(output[0], r), *output[1:]) if isinstance(output, tuple) else without(output, r)

    handles = []
    for block in hf.model.layers:
        handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(block.self_attn.register_forward_hook(after))
        handles.append(block.mlp.register_forward_hook(after))
    return hooked(handles)


def adding(hf, layer, vector):
    """Add a vector to one block's output at every position."""

    def after(module, inputs, output):
        return output + vector.to(output)

    return hooked([hf.model.layers[layer].register_forward_hook(after)])


def kl(p_logits, q_logits):
    p, q = (torch.log_softmax(logits.double(), dim=-1) for logits in (p_logits, q_logits))
    return (p.exp() * (p - q)).sum(-1)


def selected(bypass, induce, kls, layers, *, n_layers, most_kl=0.1, pruned=0.2):
    """The index of the chosen candidate, None where every one is discarded."""
    best, index = float("inf"), None
    for i, (b, g, k, layer) in enumerate(zip(bypass, induce, kls, layers, strict=True)):
        if k > most_kl or g <= 0 or layer >= n_layers * (1 - pruned):
            continue
        if b < best:
            best, index = b, i
    return index
