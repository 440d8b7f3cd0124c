"""How exactly every architecture is read, as a markdown table: ``python benchmarks/architectures.py``.

Each row is a tiny random model with scaled-up weights. A number is the largest difference over all layers and
the logits, relative to the largest value there, between this package's reads and transformers' (for adapters
PEFT's) own, on one left-padded batch; ``one by one`` compares a batch with its exchanges by themselves.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import agreement
import zoo

from erosion.models import load
from erosion.models.quiet import quiet
from erosion.triads import Checkpoint


def row(name: str, folder: Path) -> str:
    """One architecture's line of the table."""
    with quiet():
        zoo.save(name, folder / "weights")
        zoo.save_adapter(name, folder / "adapter", weights=folder / "weights")
    rendered = agreement.words(*agreement.LENGTHS)
    batch = agreement.batch_of(rendered, side="left")
    plain = load(folder / "weights")
    adapted = load(Checkpoint(str(folder / "weights"), adapter=str(folder / "adapter")))
    found = agreement.states(folder, plain, adapted, batch)
    numbers = [*(found[state] for state in agreement.STATES), agreement.alone(plain, rendered)]
    cells = " | ".join(f"{number:.1e}" if number else "0" for number in numbers)
    return f"| {plain.provenance.architecture} | {plain.provenance.kernel} | {cells} |"


def main() -> None:
    """Print the table."""
    columns = ["architecture", "kernel", *agreement.STATES, "batched vs one by one"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    with tempfile.TemporaryDirectory() as root:
        for name in zoo.CONFIGS:
            print(row(name, Path(root) / name), flush=True)


if __name__ == "__main__":
    main()
