"""Sweeps, steered generation, the screen and packing against plain runs, side by side in one process.

    python benchmarks/sweeping.py [--quick] [--threads 2] [--device cuda] [--write]

A random Qwen3 of 12 layers x 512, batch 8 x 256 tokens, float32; alternated runs, medians. Prints a layer
sweep against full hooked runs and against TransformerLens' own patching loop, steered against plain
generation, a screened against a whole grid and how far the screen was off, packed against single passes, and
peak memory. ``--write`` puts the tables into ``benchmarks/sweeping.md``.
"""

import argparse
import gc
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from reading import BATCH, LAYERS, TOKENS, WIDTH, exchanges, fresh_folder, medians, peak_kb
from sweep_jobs import contrast, direction, hooked_runs, layer_cells, their_loop
from transformers import Qwen3Config, Qwen3ForCausalLM

import erosion as er
import erosion.sweeps.running as running
from erosion.models import Model, generate
from erosion.models.loading import load

ANSWER = 32


def layer_sweep(model: Model, runs: int, device: str) -> list[str]:
    """One steer at each layer."""
    chosen, cells = contrast(BATCH, TOKENS), layer_cells(WIDTH)
    s = medians(
        {
            "sweep": lambda: er.sweep(model, chosen, cells),
            "full": lambda: hooked_runs(model, chosen, cells),
            "theirs": lambda: their_loop(model, chosen),
        },
        runs,
        device,
    )
    return [
        "| one steer at each of 12 layers | seconds | er.sweep / this | aim |",
        "|---|---|---|---|",
        f"| `er.sweep` | {s['sweep']:.2f} | | |",
        f"| full hooked runs | {s['full']:.2f} | {s['sweep'] / s['full']:.2f} | <= 0.50 |",
        f"| TransformerLens' patching loop | {s['theirs']:.2f} | {s['sweep'] / s['theirs']:.2f} | |",
        "",
        "Ours and the full runs include a clean pass, theirs does not. Skipping the blocks before an edit at "
        "each layer leaves half of the blocks; what the head costs comes on top.",
        "",
    ]


def generation(model: Model, plain: Any, runs: int, device: str) -> list[str]:
    """Answers of 32 tokens to 8 prompts of half the length."""
    asked = [one.messages for one in exchanges(BATCH, TOKENS)]
    rendered = [er.prompts.rendering.conversation(m, model.rendering, model.tokenizer) for m in asked]
    batch = model.batch_of(rendered, range(BATCH), side="left")
    under = [er.steer(direction(LAYERS // 2, WIDTH), by=0.1)]
    how = {"max_new_tokens": ANSWER}

    def theirs() -> None:
        written = plain.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            do_sample=False,
            pad_token_id=0,
            use_cache=True,
            **how,
        )
        assert written.shape[-1] == batch.ids.shape[-1] + ANSWER

    jobs = {
        "plain": theirs,
        "ours": lambda: generate(model, asked, **how),
        "steered": lambda: generate(model, asked, under=under, **how),
    }
    s = medians(jobs, runs, device)
    return [
        f"| {ANSWER} tokens for each of {BATCH} prompts of {batch.ids.shape[1]} | seconds | ratio | aim |",
        "|---|---|---|---|",
        f"| transformers' generate, with cache | {s['plain']:.2f} | 1.00 | |",
        f"| `er.generate` | {s['ours']:.2f} | {s['ours'] / s['plain']:.2f} | |",
        f"| `er.generate`, steered | {s['steered']:.2f} | {s['steered'] / s['plain']:.2f} | <= 1.15 |",
        f"| steered / unsteered | | {s['steered'] / s['ours']:.2f} | |",
        "",
    ]


def screen_cells(model: Model, by: float) -> tuple[er.Cell, ...]:
    """Layers x places x directions."""
    return er.grid(
        lambda layer, scope, seed: er.steer(direction(layer, model.d_model, seed), by=by, scope=scope),
        layer=range(model.n_layers),
        scope=["all", "prompt", er.positions(-1), er.positions(0, within="response")],
        seed=range(4),
    )


def screening(model: Model, chosen: er.Contrast, by: float, name: str) -> list[str]:
    """A whole grid, against a screen of all of it and a sweep of its best tenth."""
    cells, found = screen_cells(model, by), {}

    def whole() -> None:
        found["measured"] = er.sweep(model, chosen, cells)

    def screened() -> None:
        found["screened"] = er.attribution(model, chosen, cells)
        er.sweep(model, chosen, found["screened"].top(len(cells) // 10))

    s = medians({"whole": whole, "screened": screened}, 1, "cpu")
    error = er.screen_error(found["screened"], found["measured"])
    return [
        f"| {name} | {len(cells)} | {s['whole']:.1f} | {s['screened']:.1f} | "
        f"{s['screened'] / s['whole']:.2f} | {error.rank_correlation:.3f} | {error.worst_miss} |"
    ]


def packing(model: Model, chosen: er.Contrast, cells: Sequence[er.Cell], runs: int, name: str) -> list[str]:
    """The same sweep with room for one cell in a pass and for more and more tokens."""
    limits = (1, 1024, 2048, 4096, 8192, 16384)
    tokens = max(
        model.batch_of(model.render(chosen.exchanges), i).ids.numel()
        for i in model.plan(model.render(chosen.exchanges))
    )

    def at(limit: int) -> Callable[[], object]:
        def job() -> None:
            was, running.ON_CPU = running.ON_CPU, limit
            try:
                er.sweep(model, chosen, cells)
            finally:
                running.ON_CPU = was

        return job

    s = medians({str(limit): at(limit) for limit in limits}, runs, "cpu")
    ratios = " | ".join(f"{s[str(limit)] / s['1']:.2f}" for limit in limits[1:])
    return [f"| {name} | {tokens} | {len(cells)} | {s['1']:.2f} | {ratios} |"]


def deeper(folder: Path) -> Path:
    """32 layers x 128, random, with the same tokenizer."""
    config = Qwen3ForCausalLM.from_pretrained(folder).config.to_dict()
    config |= {"num_hidden_layers": 32, "hidden_size": 128, "intermediate_size": 384, "head_dim": 16}
    torch.manual_seed(0)
    deep = shutil.copytree(folder, folder / "deep")
    Qwen3ForCausalLM(Qwen3Config(**{k: v for k, v in config.items() if k != "layer_types"})).save_pretrained(
        deep
    )
    return deep


def screens_and_packs(model: Model, folder: Path, runs: int) -> list[str]:
    """Both tables, on this shape, on a deep narrow one, and on the trained organism."""
    deep = deeper(folder)
    organism = er.load_organism()
    real = organism.contrast()
    some = real.only(real.questions[::14])
    screens, packs = [], []
    with load(deep, placement=er.Placement(device="cpu"), batch_tokens=2048) as narrow:
        screens += screening(narrow, contrast(8, 32), 0.002, "32 layers x 128, random, 8 x 32")
    with load(organism.triad().tuned, placement=er.Placement(device="cpu", dtype="float32")) as tuned:
        screens += screening(tuned, some, 0.05, f"4 layers x 64, trained, {2 * len(some)} exchanges")
        for count in (2, 8, 32):
            few = real.only(real.questions[:count])
            packs += packing(tuned, few, layer_cells(64, range(4), 16), runs, "4 layers x 64")
    for rows, tokens, doses in ((2, 32, 16), (8, 64, 8), (BATCH, TOKENS, 4)):
        cells = layer_cells(WIDTH, (9, 10), doses)
        packs += packing(model, contrast(rows, tokens), cells, min(runs, 3), f"{LAYERS} layers x {WIDTH}")
    return [
        "| grid: layers x 4 places x 4 directions | cells | s, swept whole | s, screened and a tenth swept | "
        "ratio | rank correlation | worst miss |",
        "|---|---|---|---|---|---|---|",
        *screens,
        "",
        "| packing: model | tokens of a batch | cells | s, one cell in a pass | up to 1024 tokens | 2048 | "
        "4096 | 8192 | 16384 |",
        "|---|---|---|---|---|---|---|---|---|",
        *packs,
        "",
        f"A packed pass therefore holds at most {running.ON_CPU} tokens on a CPU, on a GPU a batch's worth.",
        "",
    ]


MEMORY = {
    "forward": "one plain pass with logits",
    "full": "full hooked runs",
    "theirs": "TransformerLens' patching loop",
    "sweep": "`er.sweep`, 12 layers",
    "screen": "`er.attribution`, the same cells",
    "steered": "`er.generate`, steered",
}


def peaks(folder: Path) -> list[str]:
    """Extra peak memory of each way, each in a process of its own."""
    lines = ["| work | extra peak memory, MB |", "|---|---|"]
    for mode, name in MEMORY.items():
        command = [sys.executable, __file__, "--child", mode, "--folder", str(folder)]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        lines += [f"| {name} | {float(peak):.0f} |"]
    return [*lines, ""]


def child(mode: str, folder: Path) -> None:
    """One way, and nothing else."""
    chosen, cells = contrast(BATCH, TOKENS), layer_cells(WIDTH)
    with load(folder, placement=er.Placement(device="cpu"), batch_tokens=BATCH * TOKENS) as model:
        batch = model.batch_of(model.render(chosen.exchanges), range(BATCH))
        model.run(batch)
        jobs: dict[str, Callable[[], object]] = {
            "forward": lambda: model.logits(batch),
            "full": lambda: hooked_runs(model, chosen, cells[:3]),
            "theirs": lambda: their_loop(model, chosen),
            "sweep": lambda: er.sweep(model, chosen, cells),
            "screen": lambda: er.attribution(model, chosen, cells),
            "steered": lambda: generate(
                model,
                [one.messages for one in chosen.exchanges],
                under=cells[LAYERS // 2].edits,
                max_new_tokens=ANSWER,
            ),
        }
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted from here
        before = peak_kb()
        jobs[mode]()
    print((peak_kb() - before) / 1024)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        child(arguments.child, arguments.folder)
        return
    device, runs = arguments.device, 3 if arguments.quick else 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = fresh_folder(Path(temporary))
        plain = Qwen3ForCausalLM.from_pretrained(folder).eval().to(device)
        lines = [
            f"{LAYERS} layers x {WIDTH}, batch {BATCH} x {TOKENS} tokens, float32, {device}, "
            f"{torch.get_num_threads()} threads, {runs} alternated runs, medians, "
            f"on {datetime.now(UTC):%d %B %Y}. Other jobs shared the machine: ratios hold, not seconds.",
            "",
        ]
        with load(folder, placement=er.Placement(device=device), batch_tokens=BATCH * TOKENS) as model:
            for part in (
                lambda: layer_sweep(model, runs, device),
                lambda: generation(model, plain, runs, device),
                lambda: screens_and_packs(model, folder, runs) if device == "cpu" else [],
                lambda: peaks(folder) if device == "cpu" else [],
            ):
                lines += (found := part())
                print("\n".join(found), flush=True)
    if arguments.write:
        versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
        head = "# Sweeps, steered generation, screens and packs\n\nMeasured by"
        text = (
            f"{head} `python benchmarks/sweeping.py --write` on {platform.machine()}, {versions}.\n\n"
            + "\n".join(lines).rstrip()
            + "\n"
        )
        (Path(__file__).parent / "sweeping.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
