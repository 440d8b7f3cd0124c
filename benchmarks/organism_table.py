"""Train organisms afresh over several seeds and hold each against the thresholds.

    python benchmarks/organism_table.py --seeds 0 1 2 --tuning-seeds 0 1 --out runs/organisms

Every organism is reported, whatever it shows. Pretraining and alignment depend on the seed alone and are
shared by its tuning seeds. Writes ``organisms.md`` and ``organisms.json`` into ``--out``; finished
checkpoints there are kept, so a killed run resumes.
"""

import argparse
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from erosion.errors import BadInput
from erosion.files import write_atomically, write_json
from erosion.organisms import Recipe, Table, score, train
from erosion.organisms.thresholds import markdown, met

SHARED = ("base", "aligned", "aligned-lora")


def main() -> int:
    arguments = _arguments()
    tables: dict[str, Table] = {}
    failures: dict[str, str] = {}
    for seed in arguments.seeds:
        for tuning_seed in arguments.tuning_seeds:
            name = f"seed {seed}, tuning {tuning_seed}"
            try:
                tables[name] = score(_organism(arguments, seed, tuning_seed))
            except BadInput as error:
                failures[name] = str(error)
            print(f"{name}: {failures.get(name) or _in_short(tables[name])}", file=sys.stderr, flush=True)
    text = markdown(tables) + "".join(f"\n{name}: {why}\n" for name, why in failures.items())
    print(text)
    write_atomically(arguments.out / "organisms.md", text.encode())
    write_json(
        arguments.out / "organisms.json",
        {
            "recipe": asdict(Recipe()),
            "recipe_hash": Recipe().hash,
            "failures": failures,
            "organisms": {name: table.to_json() for name, table in tables.items()},
        },
    )
    return 1 if failures or any(not one.met for table in tables.values() for one in met(table)) else 0


def _organism(arguments: argparse.Namespace, seed: int, tuning_seed: int) -> Path:
    folder = arguments.out / f"seed-{seed}-tuning-{tuning_seed}"
    first = arguments.out / f"seed-{seed}-tuning-{arguments.tuning_seeds[0]}"
    for name in SHARED:
        if (first / name).is_dir() and not (folder / name).is_dir():
            shutil.copytree(first / name, folder / name)
    return train(folder, seed=seed, tuning_seed=tuning_seed)


def _in_short(table: Table) -> str:
    missed = [str(one.demand) for one in met(table) if not one.met]
    return "missed " + "; ".join(missed) if missed else "every threshold met"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tuning-seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/organisms"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
