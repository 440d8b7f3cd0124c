"""log p of responses by transformers alone: no wrap, no batch, no hook."""

import torch
from transformers import AutoModelForCausalLM

from erosion.models.quiet import quiet


def plain(folder):
    """The unwrapped model of a folder."""
    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder).eval()


@torch.no_grad()
def log_p(hf, ids, start, stop):
    """log p and entropy of tokens ``start`` to ``stop``, one exchange alone, in float64."""
    logits = hf(input_ids=torch.tensor([ids])).logits[0].double()
    log_probabilities = torch.log_softmax(logits, dim=-1)
    values = [log_probabilities[t - 1, ids[t]].item() for t in range(start, stop)]
    spread = [-(row.exp() * row).sum().item() for row in log_probabilities[start - 1 : stop - 1]]
    return values, spread
