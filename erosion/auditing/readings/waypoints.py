"""Checkpoints along a training run, read one at a time on the questions that are held out."""

from typing import Any

from erosion.auditing.bench import Bench
from erosion.auditing.readings.vectors import directions, selected
from erosion.experiments import trajectory_of
from erosion.experiments.trajectories import Waypoint, load_waypoint
from erosion.models import load, shape_of
from erosion.triads import Checkpoint

__all__ = ["trail", "waypoints"]


def trail(bench: Bench) -> dict[str, list[Any]]:
    """Training step -> the hashes that decide the checkpoint, as JSON keys."""
    shapes = {s: shape_of(Checkpoint(where)) for s, where in bench.prepared.config.checkpoints.items()}
    return {str(step): [shape.weights_hash, shape.adapter_hash] for step, shape in shapes.items()}


def waypoints(bench: Bench, name: str) -> dict[int, Waypoint] | None:
    """Training step -> where the model stood at the selected layer; step 0 is the aligned model."""
    prepared = bench.prepared
    if name != "tuned" or not prepared.config.checkpoints:
        return None
    asked = {step: Checkpoint(where) for step, where in prepared.config.checkpoints.items()}
    points = {0: prepared.checkpoints["aligned"], **asked}
    direction, tested = directions(bench)[selected(bench)], prepared.tested
    found = {}
    for step, checkpoint in sorted(points.items()):

        def make(step: int = step, checkpoint: Checkpoint = checkpoint) -> Waypoint:
            bench.close()

            def opened(one: Any) -> Any:
                return load(one, placement=prepared.config.placement, rendering=prepared.rendering)

            way = trajectory_of([(step, checkpoint)], tested, direction=direction, opened=opened)
            return dict(way)[step]

        shape = shape_of(checkpoint)
        found[step] = bench.folder.step(
            f"waypoint-{step}",
            {
                **prepared.inputs("aligned"),
                "checkpoint": [shape.weights_hash, shape.adapter_hash, checkpoint.scale],
                "at": str(direction.site),
                "tested": tested.questions,
            },
            make,
            save=Waypoint.save,
            load=load_waypoint,
            suffix="safetensors",
        )
    return found
