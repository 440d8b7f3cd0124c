"""The experiments of an audit: what each needs from the models, and how it is concluded from that.

A stage is a pure conclusion from readings that lie in the run folder, so it is a step of its own: killed
or selected alone, nothing is read twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from erosion.auditing import conclusions as of
from erosion.auditing import readings
from erosion.auditing.bench import Bench
from erosion.auditing.config import Config
from erosion.experiments import Result

__all__ = ["STAGES", "Stage", "stages_of"]

Reading = Callable[[Bench, str], Any]


@dataclass(frozen=True, eq=False)
class Stage:
    """One result: the experiment that asks for it, the readings it needs, and how it is concluded.

    ``beside`` is what decides it beside all that decides the run.
    """

    name: str
    experiment: str
    needs: tuple[Reading, ...]
    conclude: Callable[[Bench], Result]
    beside: Callable[[Bench], Any] = field(default=lambda bench: None)


_BENIGN = (readings.benign_activations, readings.texts)

STAGES = (
    Stage("distributions", "distributions", (readings.scores, readings.benign_scores), of.distributions),
    Stage(
        "divergences",
        "distributions",
        (readings.scores, readings.heads, readings.benign_heads, readings.continuations),
        of.divergences,
    ),
    Stage("loss_geometry", "loss_geometry", (readings.every_score, readings.benign_scores), of.loss_geometry),
    Stage("gradient_geometry", "gradient_geometry", (readings.products,), of.gradient_geometry),
    Stage(
        "gradient_bridge",
        "gradient_geometry",
        (readings.activations, readings.bridges, readings.steps),
        of.gradient_bridge,
    ),
    Stage("dimensions", "dimensions", (readings.activations,), readings.fitted),
    Stage("sharing", "dimensions", (readings.last, readings.benign_last, readings.texts), of.sharing),
    Stage("dynamics", "dynamics", (readings.activations, *_BENIGN, readings.writes), of.dynamics),
    Stage(
        "trajectories",
        "dynamics",
        (readings.activations, readings.waypoints),
        of.trajectories,
        beside=readings.trail,
    ),
    Stage(
        "causality",
        "causality",
        (readings.activations, readings.cells, readings.domain_cells, readings.damages),
        of.causality,
    ),
    Stage(
        "selection",
        "selection",
        (readings.activations, readings.last, readings.ablations, readings.tried),
        of.selection,
    ),
    Stage("doses", "dose", (readings.dose_sweeps,), of.doses),
    Stage(
        "patching",
        "patching",
        (readings.activations, readings.donors, readings.within, readings.patches),
        of.patching,
    ),
    Stage(
        "rendering",
        "rendering",
        (readings.scores, readings.plain_scores, readings.special_rows),
        of.rendering,
    ),
    Stage("on_policy", "rendering", (readings.own_answers,), of.on_policy),
    Stage("confounds", "confounds", (readings.scores, readings.activations), of.confounds),
    Stage(
        "tokens",
        "tokens",
        (readings.scores, readings.activations, readings.token_measures),
        of.tokens,
        beside=lambda bench: bench.prepared.config.shown,
    ),
)


def stages_of(config: Config) -> tuple[Stage, ...]:
    """The stages of the experiments that were asked for."""
    asked = tuple(stage for stage in STAGES if config.runs(stage.experiment))
    return asked if config.checkpoints else tuple(stage for stage in asked if stage.name != "trajectories")
