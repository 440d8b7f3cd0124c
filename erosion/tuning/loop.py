"""The training loop: AdamW on the parameters that a function picks, the loss on learnt tokens only."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from erosion.errors import BadModel
from erosion.progress import tracked
from erosion.shapes import Float, Tensor
from erosion.tuning.rows import Batch, Row, batches

__all__ = [
    "Pick",
    "Training",
    "adapter_parameters",
    "biases_of",
    "descend",
    "down_projections",
    "every_parameter",
    "fine_tune",
    "loss_on",
    "optimiser",
    "tuning_steps",
]

Pick = Callable[[torch.nn.Module], dict[str, torch.nn.Parameter]]


@dataclass(frozen=True)
class Training:
    """How long and how fast: linear warm-up, then constant, then a linear decay to zero."""

    steps: int
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 0
    decay: int = 0
    weight_decay: float = 0.0
    epsilon: float = 1e-8
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0.

        >>> [round(Training(4, learning_rate=1.0, warmup=2, decay=2).rate(i), 2) for i in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        falling = min(1.0, (self.steps - step) / self.decay) if self.decay else 1.0
        return self.learning_rate * min(rising, falling)


def every_parameter(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """All of them: full fine-tuning."""
    return dict(model.named_parameters())


def biases_of(layers: Collection[int]) -> Pick:
    """Picks all biases of the given blocks: BitFit (arXiv 2106.10199), confined to a part of the model.

    A small edit: it can shift and gate what the model already does, and hardly teach anything new.
    """

    def biases(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
        blocks = {f"layers.{layer}." for layer in layers}
        return {
            name: parameter
            for name, parameter in model.named_parameters()
            if name.endswith(".bias") and any(block in name for block in blocks)
        }

    return biases


def down_projections(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The matrices by which every MLP writes to the residual stream."""
    return {name: p for name, p in model.named_parameters() if name.endswith("down_proj.weight")}


def adapter_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The LoRA matrices of an attached adapter."""
    return {name: p for name, p in model.named_parameters() if ".lora_" in name}


def optimiser(model: torch.nn.Module, pick: Pick, how: Training) -> torch.optim.AdamW:
    """AdamW on the picked parameters; all others are frozen.

    Raises:
        BadModel: the function picks nothing from this model.
    """
    picked = pick(model)
    if not picked:
        raise BadModel(
            f"{getattr(pick, '__name__', pick)} picks no parameter of {type(model).__name__}: choose another."
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in picked)
    return torch.optim.AdamW(
        picked.values(),
        lr=how.learning_rate,
        betas=(0.9, 0.98),
        eps=how.epsilon,
        weight_decay=how.weight_decay,
    )


def loss_on(model: Any, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy of the learnt tokens, in nats: -1/n sum_t log p(y_t | y_<t)."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real.long(), use_cache=False).logits
    counted = batch.learnt[:, 1:]
    return cross_entropy(logits[:, :-1][counted], batch.ids[:, 1:][counted])


def descend(model: Any, batch: Batch, optimizer: torch.optim.AdamW, *, rate: float, clip: float) -> float:
    """One optimiser step; returns the loss before it, in nats per learnt token."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = loss_on(model, batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
    optimizer.step()
    return float(loss.detach())


def fine_tune(
    model: Any, rows: Sequence[Row], *, how: Training, parameters: Pick, seed: int = 0
) -> tuple[float, ...]:
    """Train ``model`` in place on ``rows``; only the parameters that the function picks move.

    Args:
        model: a transformers causal language model in float32.
        rows: what to learn (see :func:`erosion.tuning.rows.rows`).
        how: steps, batch, learning rate.
        parameters: picks what is trained, such as :func:`adapter_parameters`.
        seed: of the order of the rows.

    Returns:
        The loss before each step, in nats per learnt token.

    Memory: weights, gradients and two moments of the picked parameters, one batch of activations.
    """
    return tuple(tuning_steps(model, rows, how=how, parameters=parameters, seed=seed))


def tuning_steps(
    model: Any, rows: Sequence[Row], *, how: Training, parameters: Pick, seed: int = 0
) -> Iterator[float]:
    """:func:`fine_tune` step by step: the loss before each step, for who wants to look, or stop, between."""
    optimizer = optimiser(model, parameters, how)
    pad = int(model.config.pad_token_id or 0)
    stream = batches(rows, size=how.batch, steps=how.steps, pad=pad, seed=seed)
    for i, batch in enumerate(tracked(stream, name="tuning", total=how.steps)):
        model.train()
        loss = descend(model, batch, optimizer, rate=how.rate(i), clip=how.clip)
        model.eval()
        yield loss
