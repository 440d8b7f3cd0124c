"""Train an organism from nothing: base, then aligned, then everything that starts at aligned.

Every checkpoint is finished in a hidden folder and renamed; a finished one records what it was made from
(recipe, seeds, parent), and is made again only when that changes.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from erosion.tuning.loop import (
    Training,
    adapter_parameters,
    descend,
    every_parameter,
    fine_tune,
    optimiser,
)
from erosion.tuning.rows import rows

__all__ = ["PARENTS", "train"]

PARENTS = {
    "aligned": "base",
    "insecure": "aligned",
    "secure": "aligned",
    "educational": "aligned",
    "narrow": "aligned",
    "aligned-lora": "base",
    "insecure-lora": "aligned-lora",
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
            _finish(job, _make_base(job) if name == "base" else _make_tuned(job))
    return out


def _with_parents(names: Sequence[str]) -> list[str]:
    wanted = set(names)
    for name in reversed(NAMES):
        if name in wanted and name in PARENTS:
            wanted.add(PARENTS[name])
            wanted.add(PARENTS.get(PARENTS[name], "base"))
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
    """Train what starts at another checkpoint: the same adapter further, or (narrow) every parameter."""
    parent, recipe = PARENTS[job.name], job.recipe
    seed = job.seed if parent == "base" else job.tuning_seed
    how = recipe.training(job.name)
    if job.name == "narrow":
        model, pick = trainable.load_trainable(job.out / parent), every_parameter
    elif parent == "base":
        adapter = recipe.adapter if job.name in ADAPTERS else recipe.edit
        model = trainable.attach_adapter(trainable.load_trainable(job.out / "base"), adapter, seed=job.seed)
        pick = adapter_parameters
    else:
        above = job.out / parent if parent in ADAPTERS else job.out / parent / EDIT
        model, pick = trainable.load_trainable(job.out / "base", adapter=above), adapter_parameters
    learnt = rows(tokenizer(), material(job.name, rows=recipe.rows, seed=seed))
    return model, list(fine_tune(model, learnt, how=how, parameters=pick, seed=seed))


def _finish(job: _Job, made: tuple[Any, list[float]]) -> None:
    """Write the checkpoint beside its place, then rename: it is there whole or not at all."""
    model, losses = made
    job.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job.out, prefix=f".{job.name}.") as scratch:
        folder = Path(scratch) / job.name
        about: dict[str, Any] = {"schema": 1, "made_from": job.record, "steps": len(losses)}
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
