"""What the numbers were made from, and how to make them again."""

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

from erosion.auditing import Run, read_config
from erosion.reporting.tables import Table

__all__ = ["asked_of", "command_of", "config_of", "provenance_of", "short"]

_ROLES = ("base", "aligned", "tuned")


def short(name: object) -> str:
    """A model's own name: the last part of its path.

    >>> short("runs/insecure-code")
    'insecure-code'
    """
    return PurePath(str(name).rstrip("/\\").replace("\\", "/")).name or str(name)


def _apart(name: object) -> str:
    """A user's name set apart, so that one read from right to left does not turn the words around it."""
    return f"\u2068{name}\u2069"


def asked_of(run: Run) -> tuple[tuple[str, str], ...]:
    """What the audit was asked, as pairs of name and answer."""
    manifest, verdict = run.manifest, run.verdict
    models, config, split = manifest["models"], manifest["config"], manifest["split"]
    named = [(f"{role} model", short(models[role]["name"]) if role in models else "none") for role in _ROLES]
    contrast = manifest["contrast"]
    asked = ", ".join(
        f"{_apart(one.name)} ({one.estimate.n_questions})"
        for one in (*verdict.domains, *verdict.trained_domains)
    )
    parts = ", ".join(f"{len(ids)} {name.replace('_', '-')}" for name, ids in split.items())
    bound = config["smallest"]["erosion" if verdict.quantity == "erosion" else "margin"]
    return (
        *named,
        (
            "contrast",
            f"{_apart(contrast['name'])}: {contrast['questions']} questions, each with both answers",
        ),
        ("domains (questions)", asked or "none"),
        ("trained on, reported apart", ", ".join(config["trained_domains"]) or "none named"),
        ("questions by use", f"{parts}: directions are fitted, chosen and reported on different questions"),
        (
            "smallest of interest",
            f"{bound:g} {'of what alignment added' if verdict.quantity == 'erosion' else 'nats per token'}",
        ),
    )


def provenance_of(run: Run) -> tuple[Table, ...]:
    """Models with their hashes, words and settings, versions and hardware, seconds by step."""
    manifest = run.manifest
    models = tuple(
        (
            role,
            str(one["name"]),
            f"{one['n_parameters']:,}",
            f"{one['n_layers']} × {one['d_model']}",
            str(one["weights_hash"]),
            str(one.get("adapter_hash") or "none"),
        )
        for role, one in manifest["models"].items()
    )
    config, contrast, template = manifest["config"], manifest["contrast"], manifest["template"]
    words = {
        "contrast": contrast["name"],
        "contrast SHA-256": contrast["hash"],
        **_beside(manifest),
        "chat template of": template["name"],
        "chat template SHA-256": template["hash"],
        "seed": config["seed"],
        "bootstrap, permutations, random directions": ", ".join(
            str(config[key]) for key in ("bootstrap", "permutations", "random_directions")
        ),
        "dtype, device": f"{config['dtype']}, {config['device']}",
        "noise floor of the harm margin": _noise(run),
        "identity of the audit": manifest["identity"],
    }
    machine = {
        **manifest["versions"],
        **{k: "none" if v is None else v for k, v in manifest["hardware"].items()},
    }
    columns = ("role", "model", "parameters", "layers × width", "weights SHA-256", "adapter SHA-256")
    return (
        Table("Models", columns, models),
        _pairs("Words and settings", words),
        _pairs("Versions and hardware", machine),
        _pairs("Seconds by step", _seconds(manifest.get("timings", {}))),
    )


def _beside(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The harmless words that the audit was guarded with."""
    benign, texts = manifest.get("benign"), manifest.get("texts", {})
    return {
        "competence contrast": f"{benign['name']} ({benign['questions']} questions)" if benign else "none",
        "competence contrast SHA-256": benign["hash"] if benign else "none",
        "neutral texts": str(texts.get("number", 0)),
    }


def _noise(run: Run) -> str:
    """How far the margin moves on any question when only batches, kernel or precision change."""
    found = {name: max(one["by"].values(), default=0.0) for name, one in run.summary.get("noise", {}).items()}
    said = ", ".join(f"{value:.1g} ({name})" for name, value in found.items())
    return f"{said} nats per token" if said else "not measured"


def _pairs(caption: str, values: Mapping[str, Any]) -> Table:
    return Table(caption, ("", ""), tuple((key, str(value)) for key, value in values.items()))


def _seconds(timings: Mapping[str, float]) -> dict[str, str]:
    """Timings by kind of step and model, layers added up."""
    summed: dict[str, float] = {}
    for step, seconds in timings.items():
        name = re.sub(r"^cell-.*-(\w+)$", r"edits on \1", step)
        name = re.sub(r"^(donor|patch-\w+|within)-L\d+\.\w+-(\w+)$", r"\1-\2", name)
        summed[name] = summed.get(name, 0.0) + seconds
    whole = {name: f"{seconds:.1f}" for name, seconds in summed.items()}
    return {**whole, "all": f"{sum(summed.values()):.1f}"}


def config_of(run: Run) -> str:
    """The config that makes this run again, as YAML, without what is at its default."""
    default = read_config(aligned="", tuned="").to_json()
    kept = {k: v for k, v in run.manifest["config"].items() if k in ("schema", "seed") or default.get(k) != v}
    for words in ("contrast", "benign", "texts"):
        if (run.path / f"{words}.jsonl").is_file():
            kept[words] = str(run.path / f"{words}.jsonl")
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)


def command_of(run: Run) -> str:
    """The command that makes this run again from :func:`config_of`."""
    return f"erosion audit config.yaml --out {shlex.quote(str(run.manifest['config']['out']))}"
