"""How far a wrapped model is from transformers' own, over reads and logits; tests and benchmark share it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from erosion.models import Batch, Model, every_layer
from erosion.models.batches import make_batch
from erosion.models.quiet import quiet
from erosion.prompts.rendering import Rendered
from erosion.triads import Checkpoint

STATES = ("plain", "adapter on", "adapter off", "adapter half")
_SCALES = {"adapter on": 1.0, "adapter off": 0.0, "adapter half": 0.5}


def words(*lengths: int, seed: int = 0, prompt: int = 3) -> tuple[Rendered, ...]:
    """Exchanges of random tokens: ``prompt`` of them before the response, one after it."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i, length in enumerate(lengths):
        ids = tuple(torch.randint(8, 96, (length,), generator=generator).tolist())
        spans = {"response": (prompt, length - 1), "end_of_turn": (length - 1, length)}
        made.append(Rendered(f"q{i}/aligned", f"q{i}", "", ids, spans))
    return tuple(made)


LENGTHS = (20, 9, 5, 13)


def batch_of(rendered: Sequence[Rendered], *, side: str = "right") -> Batch:
    """All of them in one batch."""
    return make_batch(rendered, range(len(rendered)), pad_id=0, side=side)


@torch.no_grad()
def theirs(hf: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Transformers' own hidden states and logits, by its own rules: position ids from the mask."""
    positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
    output = hf(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=positions,
        use_cache=False,
        output_hidden_states=True,
    )
    return (*output.hidden_states[1:], output.logits)


def ours(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """The same from a wrapped model: resid_post of every layer, the last one normed, and the logits."""
    seen: list[torch.Tensor] = []
    with model.hooked([(site, lambda h: seen.append(h.clone())) for site in every_layer(model)]):
        logits = model.logits(batch)
    with torch.no_grad():
        return (*seen[:-1], model.bridge.ln_final.original_component(seen[-1]), logits)


def off(mine: Sequence[torch.Tensor], yours: Sequence[torch.Tensor], mask: torch.Tensor) -> float:
    """The largest difference where the mask is 1, relative to the largest value of each tensor."""
    real = mask.bool()
    pairs = zip(mine, yours, strict=True)
    return max(((a - b)[real].abs().max() / b[real].abs().max()).item() for a, b in pairs)


def alone(model: Model, rendered: Sequence[Rendered]) -> float:
    """How far a batch is from its rows one by one."""
    whole = ours(model, batch_of(rendered))
    worst = 0.0
    for row, one in enumerate(rendered):
        batch = batch_of([one])
        rows = [tensor[row : row + 1, : len(one)] for tensor in whole]
        worst = max(worst, off(rows, ours(model, batch), batch.mask))
    return worst


@contextmanager
def oracle(folder: Path, state: str) -> Iterator[Any]:
    """Transformers' (and PEFT's) own model in one of :data:`STATES`, never wrapped."""
    from peft import PeftModel

    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(folder / "weights").eval()
        if state in ("adapter on", "adapter half"):
            hf = PeftModel.from_pretrained(hf, str(folder / "adapter")).eval()
        if state == "adapter half":
            with torch.no_grad():
                for name, parameter in hf.named_parameters():
                    if "lora_B" in name:
                        parameter.mul_(0.5)
    yield hf


def states(folder: Path, plain: Model, adapted: Model, batch: Batch) -> dict[str, float]:
    """State -> how far our reads and logits are from transformers'."""
    found = {}
    for state in STATES:
        with oracle(folder, state) as hf:
            expected = theirs(hf, batch)
        if state == "plain":
            found[state] = off(ours(plain, batch), expected, batch.mask)
            continue
        scale, paths = _SCALES[state], (folder / "weights", folder / "adapter")
        with adapted.using(Checkpoint(str(paths[0]), adapter=str(paths[1]), scale=scale)):
            found[state] = off(ours(adapted, batch), expected, batch.mask)
    return found
