"""Trajectories over training: where the model stands at every checkpoint, and where it changes.

A waypoint is what is kept of one checkpoint: each question's place along the direction, its gap between the
answers, and its harm margin. Waypoints are read one checkpoint at a time (:func:`trajectory_of`), saved, and
compared afterwards (:func:`trajectories`), so the number of checkpoints costs disk, not memory.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import einsum, reduce
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.activations import Activations, read
from erosion.directions import Direction
from erosion.errors import BadInput, BadRun
from erosion.experiments.changes import change_point, one_bend, one_jump
from erosion.experiments.dynamics_paired import Frame, paired, questions_of, random_vectors
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.files import write_atomically
from erosion.linalg import in_double
from erosion.metrics import Scores, harm_margin
from erosion.models import Model
from erosion.prompts import Contrast
from erosion.shapes import Array, Float, Tensor
from erosion.stats import Band

__all__ = ["Waypoint", "load_waypoint", "trajectories", "trajectory_of", "waypoint"]


Opens = Callable[[Any], AbstractContextManager[Model]]
"""What gives a model to use in a ``with`` block and closes it after: ``erosion.load``."""


@dataclass(frozen=True, eq=False)
class Waypoint:
    """One checkpoint: per question the mean activation, the gap between the answers, and the harm margin.

    ``middle`` and ``gap`` are ``[question, d_model]`` at one site (half the sum and the whole difference
    of the two answers), float32; ``margin`` is in nats per token, or None where it was not measured.
    """

    questions: tuple[str, ...]
    middle: Float[Tensor, "question d_model"]
    gap: Float[Tensor, "question d_model"]
    margin: Float[Array, " question"] | None = None

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically; :func:`load_waypoint` reads it back bit for bit."""
        tensors = {"middle": self.middle.contiguous(), "gap": self.gap.contiguous()}
        if self.margin is not None:
            tensors["margin"] = torch.from_numpy(np.asarray(self.margin, dtype=np.float64))
        header = json.dumps({"schema": 1, "questions": self.questions})
        return write_atomically(path, as_safetensors(tensors, {"waypoint": header}))


def load_waypoint(path: str | Path) -> Waypoint:
    """Read what :meth:`Waypoint.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["waypoint"])
            if header["schema"] > 1:
                raise BadRun(
                    f"{path} has schema {header['schema']} and this version reads 1: update erosion."
                )
            margin = file.get_tensor("margin").numpy() if "margin" in set(file.keys()) else None
            return Waypoint(
                tuple(header["questions"]), file.get_tensor("middle"), file.get_tensor("gap"), margin
            )
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(f"{path} holds no waypoint that can be read ({error}): read it again.") from error


def waypoint(acts: Activations, direction: Direction, margin: Scores | None = None) -> Waypoint:
    """What is kept of a checkpoint, from its activations of a contrast at the direction's site.

    Raises:
        BadContrast: a question without both answers, or not scored.
    """
    questions = questions_of(acts)
    both = paired(acts, direction.site, questions)
    middle = reduce(both, "question side d_model -> question d_model", "mean")
    values = None
    if margin is not None:
        scored = dict(zip(margin.questions, margin.values, strict=True))
        missing = next((q for q in questions if q not in scored), None)
        if missing is not None:
            raise BadInput(f"Question {missing!r} was read but not scored: score the same contrast.")
        values = np.array([scored[q] for q in questions])
    return Waypoint(tuple(questions), middle.float().cpu(), (both[:, 0] - both[:, 1]).float().cpu(), values)


def trajectory_of(
    checkpoints: Iterable[tuple[int, object]], contrast: Contrast, *, direction: Direction, opened: Opens
) -> Iterator[tuple[int, Waypoint]]:
    """Read checkpoints one at a time, giving each step with its waypoint as soon as it is there.

    Args:
        checkpoints: training step and what ``opened`` takes (a folder, a name, a checkpoint).
        contrast: the questions, none of which the direction was fitted on.
        direction: where to look, and the line to project on.
        opened: ``erosion.load``, or what else gives a model in a ``with`` block.

    Memory: one model at a time, one batch, and 8 x questions x d_model bytes a waypoint. Passes: two over the
    contrast for each checkpoint.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> few = organism.contrast().only(organism.contrast().questions[:6])
    >>> with er.load(organism.triad().aligned) as model:
    ...     acts = er.read(model, few, sites=[er.Site(1)])
    >>> v = er.directions_of(acts, er.difference_of_means)[er.Site(1)]
    >>> way = dict(trajectory_of([(0, organism.triad().aligned)], few, direction=v, opened=er.load))
    >>> way[0].gap.shape == acts.aligned[er.Site(1)].shape
    True
    """
    for step, checkpoint in checkpoints:
        with opened(checkpoint) as model:
            acts = read(model, contrast, sites=[direction.site])
            found = waypoint(acts, direction, harm_margin(model, contrast))
        yield step, found


def trajectories(
    points: Mapping[int, Waypoint], direction: Direction, *, sampling: Sampling | None = None
) -> Result:
    """Projection, harm margin and angle over training, each with its change point.

    The paper has none. ``projection``: mean place along v of both answers, in fitted gaps from the first
    checkpoint, before random directions. ``gap``: how far the answers lie apart along v, in fitted gaps.
    ``harm margin``: nats per token. ``angle``: degrees between the checkpoint's own v (mean gap) and the
    first checkpoint's.

    Args:
        points: training step -> what was read there; the first is the start (the aligned model).
        direction: fitted in the aligned model on other questions.
        sampling: draws and seed.

    Raises:
        BadInput: fewer than two checkpoints, or not the same questions at each.

    Memory: checkpoints x questions x random directions floats.
    """
    sampling, steps = sampling or Sampling(), sorted(points)
    start = points[steps[0]] if steps else None
    if start is None or len(steps) < 2:
        raise BadInput(f"A trajectory needs at least two checkpoints: got {len(steps)}.")
    odd = next((step for step in steps if points[step].questions != start.questions), None)
    if odd is not None:
        raise BadInput(f"Step {odd} was read on other questions than step {steps[0]}: read the same ones.")
    frame = Frame(start.questions, steps, sampling)
    curves = _curves(points, direction, frame)
    bands = {name: frame.mean(values, unit=unit) for name, (values, unit) in curves.items()}
    bands["projection"] = bands["projection"].with_control(_random(points, direction, frame))
    ours: dict[str, object] = {**bands, "angle": _angles(points, frame)}
    changes = {}
    if len(steps) >= 4:
        for name, (values, _) in curves.items():
            changes[name] = {
                what: change_point(values, frame.questions, steps, shape=shape, sampling=sampling)
                for what, shape in (("jump", one_jump), ("bend", one_bend))
            }
    ours["change"] = changes
    inputs = {"steps": steps, "questions": len(start.questions), "at": str(direction.site)}
    return Result("trajectories", inputs, {}, ours)


def _curves(
    points: Mapping[int, Waypoint], direction: Direction, frame: Frame
) -> dict[str, tuple[Float[Array, "question step"], str]]:
    start = points[int(frame.labels[0])]
    here = [points[int(step)] for step in frame.labels]
    moved = [direction.project(one.middle - start.middle) / direction.scale for one in here]
    gaps = [direction.project(one.gap) / direction.scale for one in here]
    curves = {
        "projection": (np.stack([one.numpy() for one in moved], axis=1), "fitted gaps"),
        "gap": (np.stack([one.numpy() for one in gaps], axis=1), "fitted gaps"),
    }
    margins = [one.margin for one in here if one.margin is not None]
    if len(margins) == len(here):
        curves["harm margin"] = (np.stack(margins, axis=1), "nats per token")
    return curves


def _random(points: Mapping[int, Waypoint], direction: Direction, frame: Frame) -> Band:
    drawn = random_vectors({direction.site: direction}, frame.sampling)[direction.site] / direction.scale
    start = in_double(points[int(frame.labels[0])].middle)
    moved = [(in_double(points[int(step)].middle) - start).mean(0) for step in frame.labels]
    curves = einsum(torch.stack(moved), drawn, "step d, draw d -> draw step").numpy()
    return frame.chance(curves, unit="fitted gaps", what="random directions")


def _angles(points: Mapping[int, Waypoint], frame: Frame) -> Band:
    """Jackknife bands of the angle between mean gaps; the first is 0 by construction."""
    n = len(frame.questions)
    gaps = [in_double(points[int(step)].gap) for step in frame.labels]
    whole = torch.stack([gap.mean(0) for gap in gaps])
    without = torch.stack([(gap.sum(0) - gap) / max(n - 1, 1) for gap in gaps], dim=1)
    return frame.smooth(_degrees(whole, whole[:1]), _degrees(without, without[:, :1]), unit="degrees")


def _degrees(one: Float[Tensor, "*rows step d"], start: Float[Tensor, "*rows 1 d"]) -> Array:
    """The angle by the lengths of sum and difference of unit vectors, exact for small ones too (Kahan)."""
    one, start = (x / x.norm(dim=-1, keepdim=True) for x in (one, start))
    half = torch.atan2((one - start).norm(dim=-1), (one + start).norm(dim=-1))
    return np.degrees(2 * half.numpy())
