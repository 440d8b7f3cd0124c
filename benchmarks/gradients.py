"""Per-example gradients against one backward pass each, side by side in one process.

    python benchmarks/gradients.py [--quick] [--layers 12] [--device cuda] [--write]

A random Qwen3 of 12 layers x 512, 48 exchanges x 64 tokens, float32; alternated runs, medians. Prints the
time of all pairwise inner products at every linear map, and at one map of the last block, against one
backward pass for each exchange and against a plain batched forward and backward; peak memory; and the error
of sketches against their rank. ``--write`` puts the tables into ``benchmarks/gradients.md``.
"""

import argparse
import gc
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from reading import exchanges, fresh_folder, peak_kb
from transformers import Qwen3ForCausalLM

import erosion as er
from erosion.gradients import GradientProducts, gradient_products, gradient_sketches
from erosion.models.linears import LinearMap, linear_maps, linears
from erosion.models.loading import load
from erosion.prompts.rendering import Rendered

COUNT, TOKENS = 48, 64
RANKS = (8, 16, 32, 64)
LAST = "o"


def shallower(folder: Path, layers: int) -> Path:
    """The same kind of model with fewer layers."""
    fresh_folder(folder)
    if layers != 12:
        config = Qwen3ForCausalLM.from_pretrained(folder).config
        config.num_hidden_layers = layers
        config.layer_types = config.layer_types[:layers]
        torch.manual_seed(0)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def loss_of(hf: Any, one: Rendered) -> torch.Tensor:
    """The mean cross-entropy of one exchange's response."""
    start, stop = one.span("response")
    ids = torch.tensor([one.ids], device=hf.device)
    logits = hf(input_ids=ids, use_cache=False, logits_to_keep=len(one) - start + 1).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits[: stop - start], ids[0, start:stop])


def one_backward_each(hf: Any, rendered: Sequence[Rendered], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """All pairwise inner products, one backward pass for each exchange (down to the first weight)."""
    for parameter in hf.parameters():
        parameter.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    rows: list[list[torch.Tensor]] = [[] for _ in weights]
    for one in rendered:
        for kept, gradient in zip(rows, torch.autograd.grad(loss_of(hf, one), weights), strict=True):
            kept.append(gradient.flatten())
    total = torch.zeros(len(rendered), len(rendered), device=hf.device)
    for kept in rows:
        stacked = torch.stack(kept)
        kept.clear()
        total += stacked @ stacked.T
    return total


def off_by(found: GradientProducts, expected: torch.Tensor) -> float:
    """The largest error of any pair, compared in float64, relative to the product of norms."""
    exact = expected.double().cpu().numpy()
    return float(np.abs(_relative(found.total(), exact)).max())


def plain_step(hf: Any, rendered: Sequence[Rendered]) -> None:
    """One batched forward and backward pass, as training does it."""
    for parameter in hf.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    ids = torch.tensor([one.ids for one in rendered], device=hf.device)
    start, stop = rendered[0].span("response")
    logits = hf(input_ids=ids, use_cache=False, logits_to_keep=len(rendered[0]) - start + 1).logits[:, :-1]
    torch.nn.functional.cross_entropy(
        logits[:, : stop - start].flatten(0, 1), ids[:, start:stop].flatten(), reduction="mean"
    ).backward()
    for parameter in hf.parameters():
        parameter.grad = None


def medians(jobs: dict[str, Callable[[], object]], runs: int, device: str) -> dict[str, float]:
    """Seconds of each job, alternated, the median of several runs after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name, job in jobs.items():
            gc.collect()
            start = time.perf_counter()
            job()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def speed(folder: Path, layers: int, runs: int, device: str) -> list[str]:
    """Every map, and one map of the last block, against their rivals."""
    plain = Qwen3ForCausalLM.from_pretrained(folder).eval().to(device)
    chosen = exchanges(COUNT, TOKENS)
    with load(folder, placement=er.Placement(device=device), batch_tokens=COUNT * TOKENS) as model:
        rendered = model.render(chosen)
        maps, last = linear_maps(model), [LinearMap(layers - 1, LAST)]
        weights = [p for n, p in plain.named_parameters() if n.endswith("proj.weight")]
        one = [plain.get_parameter(f"model.layers.{layers - 1}.self_attn.o_proj.weight")]
        error = max(
            off_by(gradient_products(model, chosen, maps=last), one_backward_each(plain, rendered, one)),
            off_by(gradient_products(model, chosen, maps=maps), one_backward_each(plain, rendered, weights)),
        )
        seconds = medians(
            {
                "all": lambda: gradient_products(model, chosen, maps=maps),
                "each": lambda: one_backward_each(plain, rendered, weights),
                "step": lambda: plain_step(plain, rendered),
                "sketch": lambda: gradient_sketches(model, chosen, rank=32),
                "one": lambda: gradient_products(model, chosen, maps=last),
                "one each": lambda: one_backward_each(plain, rendered, one),
            },
            runs,
            device,
        )
    s = seconds
    return [
        f"{layers} layers x 512, {COUNT} exchanges x {len(rendered[0])} tokens, float32, {device}, "
        f"{torch.get_num_threads()} threads, {runs} alternated runs, medians. Largest error against one "
        f"backward pass each, relative to the product of norms: {error:.1e}.",
        "",
        "| work | seconds | ratio |",
        "|---|---|---|",
        f"| inner products at all {len(maps)} maps (`gradient_products`) | {s['all']:.3f} | |",
        f"| one backward pass for each exchange, all maps | {s['each']:.3f} | {s['all'] / s['each']:.2f} |",
        f"| one plain batched forward and backward pass | {s['step']:.3f} | {s['all'] / s['step']:.2f} |",
        f"| sketches of rank 32 at all maps (`gradient_sketches`) | {s['sketch']:.3f} | "
        f"{s['sketch'] / s['each']:.2f} of one each |",
        f"| inner products at {last[0]} alone | {s['one']:.3f} | |",
        f"| one backward pass for each exchange, truncated at {last[0]} | {s['one each']:.3f} | "
        f"{s['one'] / s['one each']:.2f} |",
        "",
    ]


def peaks(folder: Path) -> list[str]:
    """Extra peak memory of each way, each in a process of its own."""
    names = {
        "all": "inner products at all maps",
        "sketch": "sketches of rank 32",
        "each": "one backward pass each, gradients of all maps kept",
        "step": "one plain batched forward and backward pass",
    }
    lines = ["| work | extra peak memory, MB |", "|---|---|"]
    for mode, name in names.items():
        command = [sys.executable, __file__, "--child", mode, "--folder", str(folder)]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        lines += [f"| {name} | {float(peak):.0f} |"]
    return [*lines, ""]


def child(mode: str, folder: Path) -> None:
    """One way, and nothing else."""
    chosen = exchanges(COUNT, TOKENS)
    with load(folder, placement=er.Placement(device="cpu"), batch_tokens=COUNT * TOKENS) as model:
        rendered, weights = (
            model.render(chosen),
            [place.module.get_parameter("weight") for place in linears(model).values()],
        )
        plain = model.hf
        gradient_products(model, chosen[:2], maps=[LinearMap(0, "o")])
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted from here
        before = peak_kb()
        if mode == "all":
            gradient_products(model, chosen)
        elif mode == "sketch":
            gradient_sketches(model, chosen, rank=32)
        elif mode == "each":
            one_backward_each(plain, rendered, weights)
        else:
            plain_step(plain, rendered)
    print((peak_kb() - before) / 1024)


def errors(folder: Path, seeds: int) -> list[str]:
    """How far sketched inner products lie from the exact ones, relative to the product of norms."""
    lines = [
        "| rank of a sketch | numbers for each map | error, one map | error, all maps | bias, all maps |",
        "|---|---|---|---|---|",
    ]
    chosen = exchanges(COUNT, TOKENS)
    with load(folder, placement=er.Placement(device="cpu"), batch_tokens=COUNT * TOKENS) as model:
        maps = linear_maps(model)
        exact = gradient_products(model, chosen)
        off = ~np.eye(COUNT, dtype=bool)
        for rank in RANKS:
            per_map, whole, bias = [], [], []
            for seed in range(seeds):
                made = gradient_sketches(model, chosen, rank=rank, seed=seed).products()
                per_map += [_relative(made[one], exact[one])[off] for one in maps]
                error = _relative(made.total(), exact.total())[off]
                whole.append(error)
                bias.append(error.mean())
            lines.append(
                f"| {rank} | {rank * rank} | {_rms(per_map):.4f} | {_rms(whole):.4f} | {np.mean(bias):+.4f} |"
            )
    said = f"Root mean square over all pairs and {seeds} seeds, relative to the product of exact norms."
    return [*lines, "", said, ""]


def _relative(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.diag(exact))
    return (found - exact) / np.outer(norms, norms)


def _rms(errors: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.stack(errors)))))


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = shallower(Path(temporary), arguments.layers)
        runs, seeds = (3, 1) if arguments.quick else (7, 4)
        lines = []
        for part in (
            lambda: speed(folder, arguments.layers, runs, arguments.device),
            lambda: peaks(folder) if arguments.device == "cpu" else [],
            lambda: errors(folder, seeds),
        ):
            lines += (found := part())
            print("\n".join(found), flush=True)
    text = "\n".join(lines)
    if arguments.write:
        versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
        head = "# Per-example gradients\n\nMeasured by `python benchmarks/gradients.py --write`"
        where = f"{head} on {platform.machine()}, {versions}.\n\n"
        (Path(__file__).parent / "gradients.md").write_text(where + text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
