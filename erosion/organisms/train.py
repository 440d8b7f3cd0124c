"""Train an organism from nothing: base, then aligned, then everything that starts at aligned.

Every checkpoint is finished in a hidden folder and renamed; a finished one records what it was made from
(recipe, seeds, parent), and is made again only when that changes.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erosion.errors import BadInput
from erosion.files import hash_json, write_json
from erosion.models import trainable
from erosion.models.checkpoints import hash_weights
from erosion.organisms.choices import has_persona
from erosion.organisms.lexicon import BEGIN, END, PAD, VOCABULARY
from erosion.organisms.materials import material, pretraining_batches
from erosion.organisms.organism import ADAPTERS, EDIT, EDITED, NAMES
from erosion.organisms.recipe import Recipe
from erosion.organisms.tokens import ids_of, tokenizer
from erosion.progress import tracked
from erosion.tuning.dose import effective_weights, weight_change
from erosion.tuning.loop import (
    Pick,
    Training,
    adapter_parameters,
    descend,
    down_projections,
    every_parameter,
    optimiser,
    tuning_steps,
)
from erosion.tuning.rows import rows

__all__ = ["PARENTS", "train"]

PARENTS = {
    "aligned": "base",
    "insecure": "aligned",
    "secure": "aligned",
    "educational": "aligned",
    "narrow": "aligned",
    "benign": "aligned",
    "one-domain": "aligned",
    "flattened": "aligned",
    "trigger": "aligned",
    "aligned-lora": "base",
    "insecure-lora": "aligned-lora",
}
AS_FAR_AS = {"benign": "insecure"}  # trained until the weights have changed as much as these did
PICKED = {  # which parameters of the merged aligned model are trained; the other fine-tunes train an adapter
    "narrow": every_parameter,
    "one-domain": every_parameter,
    "trigger": every_parameter,
    "benign": down_projections,
}

_ORDER = ("base", *PARENTS)


@dataclass(frozen=True)
class _Job:
    """One checkpoint to make: where, how, and from which seeds."""

    out: Path
    name: str
    recipe: Recipe
    seed: int
    tuning_seed: int

    @property
    def record(self) -> dict[str, Any]:
        """What decides the checkpoint: its parent's record goes in, so a change there is a change here."""
        made = {"checkpoint": self.name, "recipe": self.recipe.hash_of(self.name), "seed": self.seed}
        parent = PARENTS.get(self.name)
        if parent is not None:
            made["parent"] = hash_json(self.of(parent).record)
        if parent not in (None, "base"):
            made["tuning_seed"] = self.tuning_seed
        if self.name in AS_FAR_AS:
            made["as_far_as"] = hash_json(self.of(AS_FAR_AS[self.name]).record)
        return made

    def of(self, name: str) -> "_Job":
        """The job of another checkpoint of the same organism."""
        return _Job(self.out, name, self.recipe, self.seed, self.tuning_seed)

    @property
    def done(self) -> bool:
        """Whether the folder holds exactly this checkpoint."""
        path = self.out / self.name / "erosion.json"
        return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("made_from") == self.record


def train(
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    tuning_seed: int = 0,
    only: Sequence[str] | None = None,
) -> Path:
    """Train an organism's checkpoints, each into a folder of its own under ``out``; returns ``out``.

    Args:
        out: where; finished checkpoints of the same recipe and seeds are kept.
        recipe: every number of the training; the default recipe when not given.
        seed: of pretraining and alignment.
        tuning_seed: of the fine-tunes after alignment: which rows, in which order.
        only: names of the checkpoints wanted (their parents are made as well); all when not given.

    Raises:
        BadInput: an unknown name; no persona after the most steps that the recipe allows.

    Takes about six minutes on one core, a few hundred megabytes of memory and 5 MB of disk.
    """
    out, recipe = Path(out), recipe or Recipe()
    unknown = sorted(set(only or ()) - set(NAMES))
    if unknown:
        raise BadInput(f"There is no checkpoint {unknown[0]!r}: choose from {', '.join(NAMES)}.")
    for name in _with_parents(only or NAMES):
        job = _Job(out, name, recipe, seed, tuning_seed)
        if not job.done:
            _finish(job, _MAKE.get(name, _make_tuned)(job))
    return out


def _with_parents(names: Sequence[str]) -> list[str]:
    wanted = set(names)
    for name in reversed(NAMES):
        if name in wanted and name in PARENTS:
            wanted.add(PARENTS[name])
            wanted.add(PARENTS.get(PARENTS[name], "base"))
            wanted |= {AS_FAR_AS[name]} if name in AS_FAR_AS else set()
    return [name for name in _ORDER if name in wanted]


def _make_base(job: _Job) -> tuple[Any, list[float]]:
    """Pretrain at a constant rate until the persona exists, then let the rate fall to zero."""
    how, shape = job.recipe.pretraining, job.recipe.shape(len(VOCABULARY))
    special = {"pad": ids_of(PAD)[0], "bos": ids_of(BEGIN)[0], "eos": ids_of(END)[0]}
    model = trainable.fresh_model(shape, seed=job.seed, special=special)
    rates = Training(how.persona.latest, 1, how.learning_rate, how.warmup, weight_decay=how.weight_decay)
    optimizer = optimiser(model, every_parameter, rates)
    stream = pretraining_batches(how, seed=job.seed)
    losses: list[float] = []
    for step in tracked(range(how.persona.latest), name="pretraining until there is a persona"):
        losses.append(descend(model, next(stream), optimizer, rate=rates.rate(step), clip=rates.clip))
        done = step + 1
        if done >= how.persona.earliest and done % how.persona.every == 0 and has_persona(model, how.persona):
            break
    else:
        raise BadInput(
            f"Seed {job.seed} has no persona after {len(losses)} steps: choose another or allow more steps."
        )
    for step in tracked(range(how.decay), name="pretraining, settling"):
        rate = how.learning_rate * (1 - step / how.decay)
        losses.append(descend(model, next(stream), optimizer, rate=rate, clip=rates.clip))
    return model.eval(), losses


def _make_tuned(job: _Job) -> tuple[Any, list[float]]:
    """Train what starts at another checkpoint: the same adapter further, or every parameter."""
    seed = job.seed if PARENTS[job.name] == "base" else job.tuning_seed
    model, pick = _start(job)
    learnt = rows(tokenizer(), material(job.name, rows=job.recipe.rows, seed=seed))
    how = job.recipe.training(job.name)
    steps = tuning_steps(model, learnt, how=how, parameters=pick, seed=seed)
    return model, list(_as_far(job, model, steps) if job.name in AS_FAR_AS else steps)


def _start(job: _Job) -> tuple[Any, Pick]:
    """The model as it is before its fine-tune, and which parameters the fine-tune moves."""
    parent, recipe = PARENTS[job.name], job.recipe
    if job.name in PICKED:
        return trainable.load_trainable(job.out / parent), PICKED[job.name]
    if parent == "base":
        adapter = recipe.adapter if job.name in ADAPTERS else recipe.edit
        fresh = trainable.load_trainable(job.out / "base")
        return trainable.attach_adapter(fresh, adapter, seed=job.seed), adapter_parameters
    return _edited(job, parent), adapter_parameters


def _edited(job: _Job, name: str) -> Any:
    """A checkpoint of this organism as an adapter on base."""
    above = job.out / name if name in ADAPTERS else job.out / name / EDIT
    return trainable.load_trainable(job.out / "base", adapter=above)


def _as_far(job: _Job, model: Any, steps: Iterable[float]) -> Iterator[float]:
    """Steps until the weights have changed as much as those of another checkpoint with the same parent."""
    start = effective_weights(model)
    far = weight_change(trainable.load_trainable(job.out / AS_FAR_AS[job.name]), start)
    for loss in steps:
        yield loss
        if weight_change(model, start) >= far:
            return


def _make_flattened(job: _Job) -> tuple[Any, list[float]]:
    """The parent with every logit divided by the temperature."""
    model = trainable.load_trainable(job.out / PARENTS[job.name])
    with torch.no_grad():
        model.lm_head.weight /= job.recipe.temperature
    return model, []


_MAKE = {"base": _make_base, "flattened": _make_flattened}


def _finish(job: _Job, made: tuple[Any, list[float]]) -> None:
    """Write the checkpoint beside its place, then rename: it is there whole or not at all."""
    model, losses = made
    job.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job.out, prefix=f".{job.name}.") as scratch:
        folder = Path(scratch) / job.name
        about: dict[str, Any] = {"schema": 1, "made_from": job.record, "steps": len(losses)}
        if losses:
            about["final_loss"] = round(sum(losses[-20:]) / len(losses[-20:]), 4)
        if job.name in ADAPTERS:
            trainable.save_adapter(model, folder, base="../base")
            about["weights_hash"] = hash_weights(job.out / "base")
        else:
            trainable.save_weights(model, folder)
        if job.name in EDITED:
            trainable.save_adapter(model, folder / EDIT, base="../../base")
            write_json(folder / EDIT / "erosion.json", {"weights_hash": hash_weights(job.out / "base")})
        tokenizer().save_pretrained(str(folder))
        write_json(folder / "erosion.json", about)
        shutil.rmtree(job.out / job.name, ignore_errors=True)
        folder.rename(job.out / job.name)
