"""What an audit will do, said before it does it: models, questions, passes, memory and minutes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from erosion.auditing.config import Config
from erosion.models import Shape, matmul_speed
from erosion.prompts.rendering import Rendered
from erosion.triads import Checkpoint

__all__ = ["AuditPlan", "plan_audit"]

_EFFICIENCY = 0.25  # share of a bare matrix product's speed that a forward pass reached where it was measured
_CONCLUSIONS = 20.0  # seconds of statistics, whatever the model
_OVERHEAD = 0.012  # seconds that a pass costs before its first multiplication


@dataclass(frozen=True)
class AuditPlan:
    """Estimates: what is read, how often, and what it takes."""

    models: Mapping[str, str]
    questions: int
    tokens: int
    passes: int
    memory_gb: float
    minutes: float

    def rows(self) -> list[tuple[str, str]]:
        """Name and value, for a table."""
        return [
            *((name, path) for name, path in self.models.items()),
            ("questions", f"{self.questions} ({self.tokens:,} tokens with both answers)"),
            ("passes", f"{self.passes:,} over some or all of them"),
            ("memory", f"about {self.memory_gb:.2g} GB for the largest model and one batch"),
            (
                "time",
                f"about {self.minutes:.1g} min" if self.minutes < 10 else f"about {self.minutes:.0f} min",
            ),
        ]


def _passes(config: Config, models: int) -> tuple[int, int]:
    """Passes over the whole contrast, and what gradients and own answers cost, in such passes."""
    inside = any(config.runs(name) for name in ("dimensions", "dynamics", "causality", "confounds", "tokens"))
    each = 1 + inside + sum(config.runs(name) for name in ("distributions", "dimensions", "rendering"))
    matched, writes = 9, config.runs("dynamics")
    slopes = 12 if config.runs("gradient_geometry") else 0  # forward and backward of samples, and real steps
    own = models if config.runs("rendering") else 0
    return models * each + matched + writes, slopes + own


_REPLAYED = 0.6  # of a pass is left on average where the blocks before an edit are skipped


def _edits(config: Config, models: int, layers: int) -> int:
    """Passes under edits over the held-out questions that sweeps are measured on."""
    draws = config.random_directions
    passes = 0
    if config.runs("causality"):
        passes += 2 * layers * (10 + 6 * draws)
    if config.runs("patching"):
        passes += models * layers * (30 + draws) + 2 * 5 * layers  # and about 16 heads for a larger model
    if config.runs("selection"):
        passes += 4 * layers + 10 + 2 * draws
    if config.runs("dose"):
        passes += 14 + 6 * layers  # parts of every block, restored and grafted
    return passes


def plan_audit(
    config: Config,
    checkpoints: Mapping[str, Checkpoint],
    shapes: Mapping[str, Shape],
    rendered: tuple[Rendered, ...],
) -> AuditPlan:
    """Count the work of an audit (memory: none; time: a tenth of a second to gauge the machine)."""
    tokens = sum(map(len, rendered))
    largest = max(shapes.values(), key=lambda shape: shape.n_parameters)
    whole, equal = _passes(config, len(shapes))
    cells = _edits(config, len(shapes), largest.n_layers)
    held_out = config.split.held_out * len(rendered) / 2
    edited = tokens * min(held_out, config.causal_questions) * 2 / len(rendered)
    work = (whole + equal) * tokens + cells * _REPLAYED * edited
    placement = config.placement
    device = placement.torch_device
    dtype = placement.torch_dtype if isinstance(placement.torch_dtype, torch.dtype) else torch.float32
    seconds = (
        2 * largest.n_parameters * work / (_EFFICIENCY * matmul_speed(device, dtype))
        + (whole + cells) * _OVERHEAD
        + _CONCLUSIONS
    )
    per_parameter = largest.n_bytes / largest.n_parameters if config.dtype == "auto" else dtype.itemsize
    activations = 4 * len(rendered) * largest.n_layers * largest.d_model
    memory = (largest.n_parameters * per_parameter + activations + 2**29) / 1e9
    names = {name: str(checkpoint) for name, checkpoint in checkpoints.items()}
    return AuditPlan(
        names, len({one.question for one in rendered}), tokens, whole + cells, memory, seconds / 60
    )
