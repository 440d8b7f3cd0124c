"""What else differs between the runs beside the fine-tune, and what makes a comparison doubtful."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from erosion.comparing.opening import Opened

__all__ = ["changes_of", "setup_of", "warnings_of"]

_ROLES = ("base", "aligned", "tuned")


def setup_of(run: Opened) -> dict[str, str]:
    """What one run was made from, in words."""
    manifest = run.manifest
    models, config = manifest["models"], manifest["config"]
    tuned = models["tuned"]
    named = {role: _short(models[role]["name"]) if role in models else "none" for role in _ROLES}
    return {
        **named,
        "kind": "adapter" if tuned.get("adapter_hash") else "weights",
        "architecture": str(models["aligned"].get("architecture", "not recorded")),
        "parameters": f"{models['aligned']['n_parameters']:,}",
        "layers": str(models["aligned"]["n_layers"]),
        "d_model": str(models["aligned"]["d_model"]),
        "dtype": "the checkpoint's" if config["dtype"] == "auto" else str(config["dtype"]),
        "contrast": str(manifest["contrast"]["name"]),
        "questions": str(manifest["contrast"]["questions"]),
        "trained on": ", ".join(config["trained_domains"]) or "none named",
        "seed": str(config["seed"]),
        "erosion": str(manifest["versions"]["erosion"]),
    }


def changes_of(setups: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Which entries of the setups are not the same in all runs."""
    first = next(iter(setups.values()))
    return tuple(key for key in first if len({setup[key] for setup in setups.values()}) > 1)


def warnings_of(runs: Sequence[Opened]) -> tuple[str, ...]:
    """One line for each reason why the runs may not be comparable."""
    found = [
        said
        for what, of, why in (
            ("contrasts", _contrast, "they were asked other questions, so nothing can be paired"),
            ("chat templates", _template, "differences are of model and template together"),
            ("system prompts", _system, "differences are of model and prompt together"),
            ("versions of erosion", _version, "a number may be made in another way"),
            ("smallest erosions of interest", _smallest, "the words kept and eroded mean other things"),
            (
                "trained domains",
                _trained,
                "each verdict is over other domains; a paired difference is over those that neither was "
                "trained on",
            ),
            ("dtypes", _dtype, "small differences may be rounding"),
            ("pairs of base and aligned models", _start, "erosion is a share of another gain in each"),
        )
        if (said := _differing(runs, what, of, why))
    ]
    same = [_same(runs, one) for one in runs]
    return (*found, *dict.fromkeys(said for said in same if said))


def _differing(
    runs: Sequence[Opened], what: str, of: Callable[[Opened], tuple[Any, str]], why: str
) -> str | None:
    """A line where the runs have several: which, and what follows."""
    kinds: dict[Any, tuple[str, list[str]]] = {}
    for run in runs:
        key, said = of(run)
        kinds.setdefault(key, (said, []))[1].append(run.name)
    if len(kinds) < 2:
        return None
    listed = "; ".join(f"{said} ({_some(names)})" for said, names in list(kinds.values())[:4])
    more = f"; and {len(kinds) - 4} more" if len(kinds) > 4 else ""
    return f"{len(kinds)} {what}: {listed}{more}: {why}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _contrast(run: Opened) -> tuple[Any, str]:
    one = run.manifest["contrast"]
    return one["hash"], f"{one['name']} {str(one['hash'])[:8]}"


def _template(run: Opened) -> tuple[Any, str]:
    one = run.manifest["template"]
    return one["hash"], f"{one['name']} {str(one['hash'])[:8]}"


def _system(run: Opened) -> tuple[Any, str]:
    said = run.manifest["config"].get("system")
    return said, "none" if said is None else f"{str(said)[:40]!r}"


def _version(run: Opened) -> tuple[Any, str]:
    said = str(run.manifest["versions"]["erosion"])
    return said, said


def _smallest(run: Opened) -> tuple[Any, str]:
    erosion, margin = run.judged("erosion"), run.judged("loss")
    return (erosion, margin), f"{erosion:g} or {margin:g} nats"


def _trained(run: Opened) -> tuple[Any, str]:
    named = tuple(sorted(run.manifest["config"]["trained_domains"]))
    return named, ", ".join(named) or "none"


def _dtype(run: Opened) -> tuple[Any, str]:
    said = str(run.manifest["config"]["dtype"])
    return said, said


def _start(run: Opened) -> tuple[Any, str]:
    models = [run.manifest["models"].get(role) for role in ("base", "aligned")]
    key = tuple(one and (one["weights_hash"], one.get("adapter_hash")) for one in models)
    return key, " and ".join("none" if one is None else _short(one["name"]) for one in models)


def _same(runs: Sequence[Opened], one: Opened) -> str | None:
    """Runs that are the same audit, made twice or copied."""
    again = [run.name for run in runs if run.manifest["identity"] == one.manifest["identity"]]
    return f"{_some(again)} are the same audit." if len(again) > 1 else None


def _short(name: object) -> str:
    """A model's own name: the last part of its path."""
    return PurePath(str(name).rstrip("/\\").replace("\\", "/")).name or str(name)
