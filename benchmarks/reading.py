"""Reading against a bare forward pass, on the same batch, in one process.

    python benchmarks/reading.py [--quick] [--device cuda]

A random Qwen3 of 12 layers x 512, batch 8 x 256 tokens, float32; alternated runs, medians. Prints the ratios
of time to a plain transformers forward pass (its own fused attention), the peak memory of reading all layers
against the default cache and against keeping the residuals, and time and memory as exchanges grow.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

import erosion as er
from erosion.models.batches import position_ids

LAYERS, WIDTH, BATCH, TOKENS = 12, 512, 8, 256


def fresh_folder(folder: Path) -> Path:
    """A random model and a word-level tokenizer, as an ordinary folder."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=8192,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(8192)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = "{% for m in messages %}w1 {{ m.content }} w2 {% endfor %}"
    PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template).save_pretrained(folder)
    return folder


def medians(jobs: dict[str, Callable[[], object]], runs: int, device: str) -> dict[str, float]:
    """Seconds of each job, alternated, the median of several runs after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def exchanges(count: int, tokens: int) -> list[er.Exchange]:
    """Exchanges of a fixed number of tokens, half of them response."""
    half = tokens // 2 - 2
    words = [" ".join(f"w{3 + (7 * i + j) % 8000}" for j in range(2 * half)).split() for i in range(count)]
    return [
        er.Exchange(f"q{i}", (er.Message("user", " ".join(w[:half])),), " ".join(w[half:]), "all", "aligned")
        for i, w in enumerate(words)
    ]


@torch.no_grad()
def speed(folder: Path, runs: int, device: str) -> None:
    """Rows 1 and 2: the wrapped forward, and a read of all layers."""
    from erosion.models.hooked import every_layer

    plain = Qwen3ForCausalLM.from_pretrained(folder).eval().to(device)
    with er.load(folder, placement=er.Placement(device=device), batch_tokens=BATCH * TOKENS) as model:
        rendered = model.render(exchanges(BATCH, TOKENS))
        batch = model.batch_of(rendered, range(BATCH))
        arguments = {
            "input_ids": batch.ids,
            "attention_mask": batch.mask,
            "position_ids": position_ids(batch.mask),
        }
        sites = every_layer(model)
        chosen = exchanges(BATCH, TOKENS)
        seconds = medians(
            {
                "plain forward (transformers, its own attention)": lambda: plain(
                    **arguments, use_cache=False
                ),
                "wrapped forward": lambda: model.logits(batch),
                "read all layers, response mean (with rendering)": lambda: er.read(
                    model, chosen, sites=sites
                ),
                "TransformerLens bridge.forward": lambda: model.bridge(batch.ids, attention_mask=batch.mask),
                "TransformerLens run_with_cache (default)": lambda: model.bridge.run_with_cache(batch.ids),
            },
            runs,
            device,
        )
    reference = next(iter(seconds.values()))
    print(
        f"\n{LAYERS} layers x {WIDTH}, batch {BATCH} x {len(rendered[0])} tokens, float32, {device}, "
        f"{runs} alternated runs\n"
    )
    print("| work | seconds | ratio |\n|---|---|---|")
    for name, second in seconds.items():
        print(f"| {name} | {second:.3f} | {second / reference:.2f} |")


def peak_of(mode: str, folder: Path, count: int) -> tuple[float, float]:
    """Peak memory (MB) and seconds of one way to read, in a process of its own."""
    command = [sys.executable, __file__, "--child", mode, "--folder", str(folder), "--count", str(count)]
    peak, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:]
    return float(peak), float(seconds)


@torch.no_grad()
def child(mode: str, folder: Path, count: int) -> None:
    """One way to read, and nothing else."""
    from erosion.activations import read_moments
    from erosion.models.hooked import every_layer

    tokens = 64 if mode.startswith("stream") else TOKENS
    with er.load(folder, placement=er.Placement(device="cpu"), batch_tokens=BATCH * TOKENS) as model:
        chosen = exchanges(count, tokens)
        sites = every_layer(model)
        batch = model.batch_of(model.render(chosen[:BATCH]), range(min(BATCH, count)))
        model.run(batch)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted from here
        before = peak_kb()
        start = time.perf_counter()
        if mode == "cache":
            model.bridge.run_with_cache(batch.ids)
        elif mode == "residuals":
            model.bridge.run_with_cache(batch.ids, names_filter=[site.hook for site in sites])
        elif mode == "forward":
            model.logits(batch)
        elif mode == "read":
            er.read(model, chosen, sites=sites)
        else:
            read_moments(model, chosen, sites=sites)
        seconds = time.perf_counter() - start
    print((peak_kb() - before) / 1024, seconds)


def peak_kb() -> int:
    """The process's peak resident memory so far, in kB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def memory(folder: Path, counts: tuple[int, ...]) -> None:
    """Row 3, and growth with the number of exchanges."""
    print("\n| one batch of 8 x 256, all layers | extra peak memory, MB |\n|---|---|")
    names = {
        "cache": "TransformerLens run_with_cache (default)",
        "residuals": "TransformerLens run_with_cache, residuals only",
        "forward": "wrapped forward with logits",
        "read": "er.read",
    }
    for mode, name in names.items():
        print(f"| {name} | {peak_of(mode, folder, BATCH)[0]:.0f} |")
    print(
        "\n| exchanges of 64 tokens | er.read_moments: extra peak MB | seconds | seconds for 1,000 |"
        "\n|---|---|---|---|"
    )
    for count in counts:
        peak, seconds = peak_of("stream", folder, count)
        print(f"| {count} | {peak:.0f} | {seconds:.1f} | {1000 * seconds / count:.1f} |")


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--count", type=int, default=BATCH)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.folder, arguments.count)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = fresh_folder(Path(temporary))
        speed(folder, 3 if arguments.quick else 7, arguments.device)
        memory(folder, (100, 400) if arguments.quick else (100, 400, 1_600))


if __name__ == "__main__":
    main()
