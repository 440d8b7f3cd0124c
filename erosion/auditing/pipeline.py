"""The audit: every number of a triad on a contrast, one model in memory at a time, resumable at every step.

    contrast ─► each model: scores, activations ─► directions ─► edits on aligned and tuned ─► verdict

The order of models is base, aligned, tuned; directions are fitted as soon as the aligned model has been
read, so that each model is loaded once. Checkpoints that share their weights (LoRA) are one load.
"""

import contextlib
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from erosion import __version__
from erosion.activations import Activations
from erosion.auditing.bench import Bench
from erosion.auditing.folder import SCHEMA, RunFolder, opened
from erosion.auditing.prepared import Prepared, prepare
from erosion.auditing.run import Run, open_run
from erosion.auditing.summary import summary_of, verdict_of
from erosion.directions import Direction, load_directions, save
from erosion.experiments import (
    Result,
    causality,
    dimensions,
    distributions,
    dynamics,
    load_result,
    select,
)
from erosion.files import write_json
from erosion.metrics import mean_entropy
from erosion.prompts import Contrast, write_contrast
from erosion.sites import Site
from erosion.triads import Triad

__all__ = ["Prepared", "audit", "prepare"]


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
    for each model, and 2 x layers x (4 + 3 x random_directions) over the held-out part, which skip the
    blocks before the edit.
    """
    if out is not None:
        options["out"] = str(out)
    prepared = prepared or prepare(triad, contrast, **options)
    described = f"{prepared.config.tuned} against {prepared.config.aligned} on {prepared.contrast.name}"
    with opened(prepared.config.out, prepared.identity, described) as folder:
        manifest = _manifest(prepared, described)
        folder.finish(manifest)
        write_contrast(prepared.contrast, folder.path / "contrast.jsonl")
        try:
            _compute(prepared, folder)
        finally:
            folder.finish(manifest)
    return open_run(prepared.config.out)


def _compute(prepared: Prepared, folder: RunFolder) -> None:
    """Read every model in turn, then turn what was read into results (written together, when all is read)."""
    config, scored, acts, cells = prepared.config, {}, {}, {}
    directions: dict[Site, Direction] = {}
    fitted: dict[str, Result] = {}
    matched, temperature = None, None
    needs_activations = any(config.runs(name) for name in ("dimensions", "dynamics", "causality"))
    bench = Bench(prepared, folder)
    with contextlib.closing(bench):
        for name in prepared.checkpoints:
            scored[name] = bench.scores(name)
            if needs_activations:
                acts[name] = bench.activations(name)
            if name == "aligned" and needs_activations:
                fitted["dimensions"], directions = _directions(prepared, folder, acts[name])
            if name != "base" and config.runs("causality"):
                cells[name] = bench.cells(name, directions, acts["aligned"])
            if name == "tuned":
                matched, temperature = bench.matched(name, mean_entropy(scored["aligned"]))
    verdict = verdict_of(scored, prepared.domains, config, matched)
    jobs = {
        "dimensions": lambda: fitted["dimensions"],
        "distributions": lambda: distributions(
            scored, prepared.domains, trained_domains=config.trained_domains, sampling=config.sampling
        ),
        "dynamics": lambda: dynamics(
            acts, directions, held_out=prepared.parts["held_out"], sampling=config.sampling
        ),
        "causality": lambda: causality(
            cells["tuned"], cells["aligned"], prepared.tested.questions, sampling=config.sampling
        ),
    }
    results = {name: job() for name, job in jobs.items() if config.runs(name)}
    for result in results.values():
        result.save(folder.results / f"{result.experiment}.json")
    write_json(folder.results / "summary.json", summary_of(verdict, results, temperature))


def _directions(
    prepared: Prepared, folder: RunFolder, acts: Activations
) -> tuple[Result, dict[Site, Direction]]:
    """Fit, score and keep every direction; the difference of means is what later steps use."""
    inputs = {
        **prepared.inputs("aligned"),
        "parts": prepared.parts,
        "sampling": vars(prepared.config.sampling),
    }
    fits = folder.path / "directions"

    def make() -> Result:
        result, fitted = dimensions(
            acts,
            fit=prepared.parts["fit"],
            held_out=prepared.parts["held_out"],
            sampling=prepared.config.sampling,
        )
        chosen = select(fitted["difference of means"], on=acts.of(prepared.parts["select"]))
        result = replace(result, ours={**result.ours, "selected": chosen.to_json()})
        for fit, by_site in fitted.items():
            save(by_site, fits / f"{fit.replace(' ', '-')}.safetensors")
        return result

    kept = fits / "difference-of-means.safetensors"
    if not kept.is_file():
        for stale in (folder.path / "steps").glob("dimensions-*.json"):
            stale.unlink()
    return folder.step("dimensions", inputs, make, save=Result.save, load=load_result), load_directions(kept)


def _manifest(prepared: Prepared, described: str) -> dict[str, Any]:
    packages = ("torch", "transformers", "transformer-lens", "peft", "numpy", "scipy", "scikit-learn")
    return {
        "schema": SCHEMA,
        "identity": prepared.identity,
        "described": described,
        "config": prepared.config.to_json(),
        "models": {
            name: {**vars(s), "name": str(prepared.checkpoints[name])} for name, s in prepared.shapes.items()
        },
        "contrast": {
            "name": prepared.contrast.name,
            "hash": prepared.contrast.hash,
            "questions": len(prepared.contrast),
        },
        "template": {"name": prepared.rendering.name, "hash": prepared.rendering.hash},
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
