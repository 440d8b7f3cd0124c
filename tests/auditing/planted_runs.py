"""Finished runs with planted margins: in memory for statistics, on disk for files and commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erosion.auditing.questions import Asked, write_questions
from erosion.comparing.opening import Opened
from erosion.experiments import Result
from erosion.files import hash_json, write_json
from erosion.metrics import Responses
from erosion.stats import Band, Margins, verdict

DOMAINS = ("cooking", "garden", "health", "home")
SMALLEST = {"erosion": 0.1, "margin": 0.1}


def ids(n: int) -> list[str]:
    """Question ids."""
    return [f"q{i:03d}" for i in range(n)]


def domains_of(n: int) -> list[str]:
    """Each question's domain, in turn."""
    return [DOMAINS[i % len(DOMAINS)] for i in range(n)]


def margins(
    eroded: Sequence[float],
    *,
    n: int = 96,
    seed: int = 0,
    shared: float = 0.8,
    skewed: bool = False,
) -> list[dict[str, np.ndarray]]:
    """Margins of one run for each planted erosion, the same questions in all; their noise is ``shared``."""
    rng = np.random.default_rng(seed)

    def noise() -> np.ndarray:
        return rng.exponential(size=n) - 1 if skewed else rng.normal(size=n)

    base = rng.normal(size=n) * 0.1
    gained = 0.4 + 0.08 * rng.normal(size=n)
    aligned, common = base + gained, noise()
    return [
        {
            "base": base,
            "aligned": aligned,
            "tuned": aligned
            - one * gained
            - 0.1 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * noise()),
        }
        for one in eroded
    ]


def manifest(name: str = "tuned", *, contrast: str = "words", base: bool = True, **changed: Any) -> dict:
    """What a run says of itself; ``changed`` entries replace those of the config."""
    shape = {"adapter_hash": None, "n_layers": 4, "d_model": 64, "n_parameters": 1000}
    roles = ("base", "aligned", "tuned") if base else ("aligned", "tuned")
    config = {"smallest": SMALLEST, "dtype": "float32", "trained_domains": [], "seed": 0, "system": None}
    models = {
        role: {
            **shape,
            "name": f"models/{name if role == 'tuned' else role}",
            "weights_hash": hash_json(role),
        }
        for role in roles
    }
    return {
        "schema": 1,
        "identity": hash_json([name, contrast, changed]),
        "described": "planted",
        "config": {**config, **changed},
        "models": models,
        "contrast": {"name": "everyday", "hash": hash_json(contrast), "questions": 96},
        "template": {"name": "aligned", "hash": hash_json("template")},
        "versions": {"erosion": "0.1.0"},
    }


def planted(
    name: str,
    values: Mapping[str, np.ndarray],
    *,
    trained: Sequence[str] = (),
    contrast: str = "words",
    kept: bool = True,
) -> Opened:
    """A run in memory, with (or, as older ones, without) its margins by question."""
    n = len(values["aligned"])
    questions, domains = ids(n), domains_of(n)
    judged = Margins(values["aligned"], values["tuned"], values.get("base"), questions, domains)
    asked = Asked(
        hash_json(contrast), tuple(questions), tuple(domains), tuple(d in trained for d in domains), values
    )
    made = manifest(name, contrast=contrast, base="base" in values, trained_domains=list(trained))
    found = verdict(judged, trained_domains=trained)
    return Opened(name, Path(name), made, found, asked if kept else None, ())


def saved(folder: Path, run: Opened, *, curve: Band | None = None, **changed: Any) -> Path:
    """The same run as a folder; ``changed`` entries replace those of the config."""
    made = {**run.manifest, "config": {**run.manifest["config"], **changed}}
    write_json(folder / "manifest.json", made)
    summary = {"schema": 1, "verdict": run.verdict.to_json(), "matched": None, "numbers": []}
    if run.asked is not None:
        asked = run.asked
        write_questions(
            folder / "results",
            {model: responses(asked.questions, values) for model, values in asked.margins.items()},
            dict(zip(asked.questions, asked.domains, strict=True)),
            trained_domains=sorted(asked.trained_domains),
            contrast=asked.contrast,
        )
    if curve is not None:
        ours = {"by fit": {"difference of means": {"held-out AUC": curve}}}
        Result("dimensions", {}, {}, ours).save(folder / "results" / "dimensions.json")
    write_json(folder / "results" / "summary.json", summary)
    return folder


def responses(questions: Sequence[str], values: np.ndarray) -> Responses:
    """One token an answer, the aligned one likelier by ``values``."""
    n = len(questions)
    said = [np.array([value]) for value in (*values, *np.zeros(n))]
    return Responses(
        (*questions, *questions),
        ("aligned",) * n + ("misaligned",) * n,
        ((1,),) * n + ((2,),) * n,
        tuple(said),
        tuple(np.ones(1) for _ in said),
        np.zeros(2 * n),
    )
