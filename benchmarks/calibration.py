"""The calibration table and its figures: ``python benchmarks/calibration.py [--simulations N]``.

Writes ``calibration.json``, ``calibration.md`` and two figures as HTML into the folder.
"""

import argparse
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from erosion.experiments import Result, load_result
from erosion.experiments.calibration import COLUMNS, calibrate, power_rows, rows
from erosion.figures import calibration as figures
from erosion.figures import calibration_claims as claims

POWER = ("noise", "true erosion", "questions", "audits", "eroded", "kept", "inconclusive", "undefined")


def table(columns: tuple[str, ...], body: tuple[tuple[str, ...], ...]) -> str:
    """A table in Markdown."""
    lines = [columns, ("---",) * len(columns), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(result: Result, note: str) -> str:
    """The whole table as a page."""
    return "\n\n".join(
        [
            "# Calibration",
            note,
            claims.calibration(result) + ".",
            claims.power(result) + ".",
            "A rate is a *pass* inside its target, a *miss* where its whole exact binomial interval lies "
            "outside, else *unclear*. Coverage is promised from 96 questions on; at the smallest erosion of "
            "interest (0.1) both *eroded* and *kept* are false. Controls have no target: they show what a "
            "failure looks like.",
            "## Rates",
            table(COLUMNS, rows(result)),
            "## Power: which word is said",
            table(POWER, power_rows(result)),
        ]
    )


def main() -> None:
    """Simulate (or read an earlier ``calibration.json``), and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--read", type=Path, help="draw this calibration.json instead of simulating")
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    if args.read:
        result, took = load_result(args.read), ""
    else:
        with ProcessPoolExecutor(args.processes) as pool:
            result = calibrate(simulations=args.simulations, seed=args.seed, each=pool.map)
        took = (
            f" in {time.perf_counter() - start:.0f} s of {args.processes} processes on {platform.machine()}"
        )
    result.save(args.out / "calibration.json")
    note = f"`python benchmarks/calibration.py`: {result.inputs['audits']:,} simulated audits{took}."
    (args.out / "calibration.md").write_text(page(result, note) + "\n", encoding="utf-8")
    for name, draw in (("rates", figures.rates), ("power", figures.power)):
        draw(result).write_html(args.out / f"{name}.html")
    print(page(result, note))


if __name__ == "__main__":
    main()
