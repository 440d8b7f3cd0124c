"""Train organisms afresh over several seeds and hold each against the thresholds and required verdicts.

    python benchmarks/organism_table.py --seeds 0 1 2 --tuning-seeds 0 1 2 --out runs/organisms

Every organism is reported, whatever it shows. Pretraining and alignment depend on the seed alone and are
shared by its tuning seeds. Writes ``organisms.md`` and ``organisms.json`` into ``--out``; finished
checkpoints there are kept, so a killed run resumes.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from erosion.errors import BadInput
from erosion.files import write_atomically, write_json
from erosion.models.trainable import load_trainable
from erosion.organisms import Recipe, Table, open_organism, score, train, verdicts
from erosion.organisms.organism import ADAPTERS
from erosion.organisms.thresholds import markdown, met, missed_verdicts, verdict_markdown
from erosion.stats import Verdict
from erosion.tuning import effective_weights, weight_change

SHARED = ("base", "aligned", "aligned-lora")


@dataclass(frozen=True)
class Found:
    """What one organism showed, and how far its fine-tunes moved."""

    table: Table
    judged: Mapping[str, Verdict]
    doses: Mapping[str, float]

    @property
    def missed(self) -> list[str]:
        """Every threshold and every required verdict that it missed."""
        numbers = [str(one.demand) for one in met(self.table) if not one.met]
        return numbers + [f"the verdict on {name}" for name in missed_verdicts(self.judged)]


def main() -> int:
    arguments = _arguments()
    found: dict[str, Found] = {}
    failures: dict[str, str] = {}
    for seed in arguments.seeds:
        for tuning_seed in arguments.tuning_seeds:
            name = f"seed {seed}, tuning {tuning_seed}"
            try:
                folder = _organism(arguments, seed, tuning_seed)
                found[name] = Found(score(folder), verdicts(folder), _doses(folder))
            except BadInput as error:
                failures[name] = str(error)
            print(f"{name}: {failures.get(name) or _in_short(found[name])}", file=sys.stderr, flush=True)
    _write(arguments.out, found, failures)
    return 1 if failures or any(one.missed for one in found.values()) else 0


def _write(out: Path, found: Mapping[str, Found], failures: Mapping[str, str]) -> None:
    """The tables as markdown, and everything as JSON."""
    parts = [
        f"# Organisms\n\nRecipe `{Recipe().hash}`.\n\n## Verdicts\n",
        verdict_markdown({name: one.judged for name, one in found.items()}),
        "\n## Numbers\n",
        markdown({name: one.table for name, one in found.items()}),
        "\n## Norm of the weight change since aligned\n",
        _dose_markdown({name: one.doses for name, one in found.items()}),
        *(f"\n{name}: {why}\n" for name, why in failures.items()),
    ]
    text = "\n".join(parts)
    print(text)
    write_atomically(out / "organisms.md", text.encode())
    organisms = {
        name: {
            "scores": one.table.to_json(),
            "doses": dict(one.doses),
            "verdicts": {tuned: verdict.to_json() for tuned, verdict in one.judged.items()},
        }
        for name, one in found.items()
    }
    about = {"recipe": asdict(Recipe()), "recipe_hash": Recipe().hash, "failures": failures}
    write_json(out / "organisms.json", about | {"organisms": organisms})


def _doses(folder: Path) -> dict[str, float]:
    """The Frobenius norm of every merged fine-tune's weight change since aligned."""
    organism = open_organism(folder)
    start = effective_weights(load_trainable(organism.folder("aligned")))
    names = [name for name in organism.names if name not in (*ADAPTERS, "base", "aligned")]
    return {name: weight_change(load_trainable(organism.folder(name)), start) for name in names}


def _dose_markdown(doses: Mapping[str, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for found in doses.values() for name in found))
    lines = [["fine-tune", *doses], ["---", *("---:" for _ in doses)]]
    lines += [[name, *(f"{found[name]:.2f}" for found in doses.values())] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _organism(arguments: argparse.Namespace, seed: int, tuning_seed: int) -> Path:
    folder = arguments.out / f"seed-{seed}-tuning-{tuning_seed}"
    first = arguments.out / f"seed-{seed}-tuning-{arguments.tuning_seeds[0]}"
    for name in SHARED:
        if (first / name).is_dir() and not (folder / name).is_dir():
            shutil.copytree(first / name, folder / name)
    return train(folder, seed=seed, tuning_seed=tuning_seed)


def _in_short(found: Found) -> str:
    return "missed " + "; ".join(found.missed) if found.missed else "every threshold and verdict met"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tuning-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/organisms"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
