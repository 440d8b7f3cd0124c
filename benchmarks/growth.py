"""Memory and time of the streamed reads as the number of exchanges grows from 100 to 10,000.

    python benchmarks/growth.py [--quick]

A random Qwen3 of 4 layers x 128 with 8,192 words, exchanges of 64 tokens, one thread, each count in a process
of its own. Extra peak is counted from a process that has loaded the model, made one pass and holds the
exchanges as words; what grows with the words themselves is reported beside it.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import reading
import torch

import erosion as er
from erosion.activations import read_moments
from erosion.gradients import gradient_sketches

LAYERS, WIDTH, TOKENS = 4, 128, 64


def jobs(model: er.Model, chosen: list[er.Exchange]) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    sites = er.every_layer(model)
    return {
        "moments": lambda: read_moments(model, chosen, sites=sites),
        "read": lambda: er.read(model, chosen, sites=sites),
        "scores": lambda: er.score_responses(model, chosen),
        "sketches": lambda: gradient_sketches(model, chosen, rank=4),
    }


KEPT = {
    "moments": "means and covariances",
    "read": "one vector for each exchange and layer",
    "scores": "two numbers for each response token",
    "sketches": "rank 4: 16 numbers for each exchange and map",
}


def child(job: str, folder: Path, count: int) -> None:
    """One job, and nothing else; prints extra peak MB and seconds."""
    torch.set_num_threads(1)
    with er.load(folder, placement=er.Placement(device="cpu"), batch_tokens=2048) as model:
        jobs(model, reading.exchanges(64, TOKENS))[job]()
        chosen = reading.exchanges(count, TOKENS)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted from here
        before, start = reading.peak_kb(), time.perf_counter()
        jobs(model, chosen)[job]()
        seconds = time.perf_counter() - start
    print((reading.peak_kb() - before) / 1024, seconds)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", choices=list(KEPT))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--count", type=int)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.folder, arguments.count)
        return
    reading.LAYERS, reading.WIDTH = LAYERS, WIDTH
    counts = (100, 1_000) if arguments.quick else (100, 1_000, 10_000)
    print(
        "| job | kept | "
        + " | ".join(f"{n:,}: MB" for n in counts)
        + " | "
        + " | ".join(f"{n:,}: s" for n in counts)
        + " |"
    )
    print("|" + "---|" * (2 + 2 * len(counts)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = reading.fresh_folder(Path(temporary))
        for job, kept in KEPT.items():
            found = [measured(job, folder, count) for count in counts]
            cells = [f"{peak:.0f}" for peak, _ in found] + [f"{seconds:.1f}" for _, seconds in found]
            print(f"| {job} | {kept} | " + " | ".join(cells) + " |", flush=True)


def measured(job: str, folder: Path, count: int) -> tuple[float, float]:
    """Extra peak and seconds of one job, in a process of its own."""
    command = [sys.executable, __file__, "--child", job, "--folder", str(folder), "--count", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak, seconds = done.stdout.split()[-2:]
    return float(peak), float(seconds)


if __name__ == "__main__":
    main()
