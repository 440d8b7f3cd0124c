"""The audit: every number of a triad on a contrast, one model in memory at a time, resumable at every step.

    contrast ─► each model: scores, activations ─► directions ─► edits on aligned and tuned ─► verdict

The order of models is base, aligned, tuned; directions are fitted as soon as the aligned model has been
read, so that each model is loaded once, and again for patches into it. Checkpoints that share their weights
(LoRA) are one load.
"""

import contextlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from erosion import __version__
from erosion.auditing import readings
from erosion.auditing.bench import Bench
from erosion.auditing.folder import SCHEMA, RunFolder, opened
from erosion.auditing.prepared import Prepared, prepare
from erosion.auditing.questions import write_questions
from erosion.auditing.run import BESIDE, Run, open_run
from erosion.auditing.stages import Stage, stages_of
from erosion.auditing.summary import summary_of, verdict_of
from erosion.errors import BadInput
from erosion.experiments import Result, load_result
from erosion.experiments.results import NOT_DONE
from erosion.files import write_atomically, write_json
from erosion.models import find
from erosion.models.loading import read_config as checkpoint_config
from erosion.progress import tracked
from erosion.prompts import Contrast, thinking_states, write_contrast
from erosion.triads import Triad

__all__ = ["Prepared", "audit", "prepare"]

_FOR_THE_VERDICT = (readings.scores, readings.benign_scores, readings.matched, readings.noise)


def audit(
    triad: Triad | None = None,
    contrast: Contrast | str | Path | None = None,
    *,
    out: str | Path | None = None,
    prepared: Prepared | None = None,
    **options: Any,
) -> Run:
    """Compute every number of an audit into a run folder; a killed audit resumes where it stopped.

    Args:
        triad: base (or none), aligned and tuned.
        contrast: a contrast, a built-in name, or a path of JSONL.
        out: the run folder.
        prepared: what :func:`prepare` gave, in place of all other arguments.
        options: any key of :class:`Config` (``seed``, ``trained_domains``, ``dtype``, …), or ``config``, a
            path of CONFIG.yaml that the other arguments override.

    Returns:
        The finished run; :func:`erosion.report` draws it.

    Raises:
        BadInput: whatever can not be used, in one line, before anything is written.
        Interrupted: stopped from outside; the same call resumes.

    Memory: one model, one batch, and 4 x exchanges x layers x d_model bytes. Passes: two over the contrast
    for each model; and, over at most ``causal_questions`` held-out questions and behind the edit alone,
    about 2 x layers x (10 + 6 x random_directions) for causality and models x layers x (30 +
    random_directions) for patching. Disk: patching keeps every token of those questions for each model,
    tokens x layers x 4 x d_model in the model's dtype, in ``steps/``.
    """
    if out is not None:
        options["out"] = str(out)
    prepared = prepared or prepare(triad, contrast, **options)
    described = f"{prepared.config.tuned} against {prepared.config.aligned} on {prepared.contrast.name}"
    with opened(prepared.config.out, prepared.identity, described) as folder:
        manifest = _manifest(prepared, described)
        folder.finish(manifest)
        _write_words(prepared, folder.path)
        try:
            _compute(prepared, folder)
        finally:
            folder.finish(manifest)
    return open_run(prepared.config.out)


def _write_words(prepared: Prepared, path: Path) -> None:
    """Every word that is measured, so that the run can be repeated from its folder alone."""
    write_contrast(prepared.contrast, path / "contrast.jsonl")
    if prepared.benign is not None:
        write_contrast(prepared.benign, path / "benign.jsonl")
    if prepared.texts:
        lines = (json.dumps(vars(text), ensure_ascii=False) for text in prepared.texts)
        write_atomically(path / "texts.jsonl", ("\n".join(lines) + "\n").encode())


def _compute(prepared: Prepared, folder: RunFolder) -> None:
    """Read every model in turn, then turn what was read into results (written together, when all is read)."""
    stages = stages_of(prepared.config)
    needed = dict.fromkeys((*_FOR_THE_VERDICT, *(one for stage in stages for one in stage.needs)))
    bench = Bench(prepared, folder)
    with contextlib.closing(bench):
        for name in bench.names:
            for reading in needed:
                reading(bench, name)
        bench.close()
        results = {stage.name: _concluded(stage, bench) for stage in tracked(stages, name="concluding")}
    warm = readings.matched(bench, "tuned")
    scored, benign = bench.each(readings.scores), bench.each(readings.benign_scores)
    verdict = verdict_of(
        scored,
        prepared.domains,
        prepared.config,
        matched=warm.responses if warm else None,
        benign=benign,
    )
    results = {**_earlier(folder, set(results)), **results}
    for name, result in results.items():
        result.save(folder.results / f"{name}.json")
    summary = summary_of(verdict, results, warm.temperature if warm else None)
    summary["noise"] = dict(bench.each(readings.noise))
    write_questions(
        folder.results,
        scored,
        prepared.domains,
        trained_domains=prepared.config.trained_domains,
        benign=benign,
        contrast=prepared.contrast.hash,
    )
    write_json(folder.results / "summary.json", summary)


def _concluded(stage: Stage, bench: Bench) -> Result:
    """A stage's result, a step of its own: what decides it is what decides the whole run.

    An experiment that these questions are too few for, or of the wrong kind, says so in its result's inputs
    and costs no other experiment.
    """

    def conclude() -> Result:
        try:
            return stage.conclude(bench)
        except BadInput as error:
            return Result(stage.name, {NOT_DONE: str(error)}, {}, {})

    return bench.folder.step(
        f"result-{stage.name}",
        {
            "identity": bench.prepared.identity,
            "versions": bench.prepared.versions,
            "beside": stage.beside(bench),
        },
        conclude,
        save=Result.save,
        load=load_result,
    )


def _earlier(folder: RunFolder, anew: set[str]) -> dict[str, Result]:
    """The results of experiments that this very run held already and was not asked for again."""
    there = sorted(folder.results.glob("*.json"))
    return {
        file.stem: load_result(file) for file in there if file.stem not in anew and file.stem not in BESIDE
    }


def _model(prepared: Prepared, name: str) -> dict[str, Any]:
    """What one model is, from its files."""
    checkpoint = prepared.checkpoints[name]
    architecture = str(checkpoint_config(find(checkpoint).weights).model_type)
    return {**vars(prepared.shapes[name]), "name": str(checkpoint), "architecture": architecture}


def _manifest(prepared: Prepared, described: str) -> dict[str, Any]:
    packages = ("torch", "transformers", "transformer-lens", "peft", "numpy", "scipy", "scikit-learn")
    return {
        "schema": SCHEMA,
        "identity": prepared.identity,
        "described": described,
        "config": prepared.config.to_json(),
        "models": {name: _model(prepared, name) for name in prepared.shapes},
        "contrast": {
            "name": prepared.contrast.name,
            "hash": prepared.contrast.hash,
            "questions": len(prepared.contrast),
        },
        "benign": None
        if prepared.benign is None
        else {
            "name": prepared.benign.name,
            "hash": prepared.benign.hash,
            "questions": len(prepared.benign),
        },
        "texts": {"number": len(prepared.texts), "hash": prepared.texts_hash},
        "template": {
            "name": prepared.rendering.name,
            "hash": prepared.rendering.hash,
            "thinking": thinking_states([one.thinking for one in prepared.rendered]),
        },
        "split": {name: list(ids) for name, ids in prepared.parts.items()},
        "versions": {
            "erosion": __version__,
            "python": platform.python_version(),
            **{p: metadata.version(p) for p in packages},
        },
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
