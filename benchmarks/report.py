"""The report of a run: its size and how long it takes to write and to draw, as it is and at 64 layers.

python benchmarks/report.py RUN [--write]

RUN is a finished demo. The simulated run repeats its layers up to 64 and its answers up to 200 tokens (400
exchanges or 400,000 make the same report: it holds statistics, not exchanges). Needs Chromium.
"""

import json
import re
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import erosion as er

LAYERS, TOKENS, PROMPT = 64, 200, 60
_BY_LAYER = re.compile(r"L?\d+(\.\w+)?")


def simulated(run: Path, out: Path) -> Path:
    """The run's results with every curve and map over its layers stretched to 64."""
    (out / "results").mkdir(parents=True)
    manifest = json.loads((run / "manifest.json").read_text())
    few = manifest["models"]["aligned"]["n_layers"]
    for file in (run / "results").glob("*.json"):
        found = _grown(json.loads(file.read_text()), few)
        if file.stem == "tokens":
            _longer(found, few)
        (out / "results" / file.name).write_text(json.dumps(found))
    for model in manifest["models"].values():
        model["n_layers"] = LAYERS
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def _grown(value: Any, few: int) -> Any:
    """Bands over all layers, mappings from all layers, and lists of them, at the new depth."""
    layers = list(range(few))
    if isinstance(value, list):
        return list(range(LAYERS)) if value == layers else [_grown(one, few) for one in value]
    if not isinstance(value, dict):
        return value
    if list(value.get("labels") or []) == layers:
        long = {key: one for key, one in value.items() if isinstance(one, list) and len(one) == few}
        rest = {key: _grown(one, few) for key, one in value.items() if key not in long}
        return (
            rest | {key: _stretched(one, few) for key, one in long.items()} | {"labels": list(range(LAYERS))}
        )
    if value and all(_BY_LAYER.fullmatch(key) for key in value):
        parts = list(dict.fromkeys(re.sub(r"\d+", "{}", key, count=1) for key in value))
        of = {part.format(i): part.format(i * few // LAYERS) for part in parts for i in range(LAYERS)}
        return {name: _grown(value[old], few) for name, old in of.items() if old in value}
    return {key: _grown(one, few) for key, one in value.items()}


def _stretched(rows: list[Any], few: int) -> list[Any]:
    return [rows[i * few // LAYERS] for i in range(LAYERS)]


def _longer(found: dict[str, Any], few: int) -> None:
    """Answers of 200 tokens after prompts of 60, no two layers packed alike."""
    for answer in (one for shown in found["ours"]["shown"] for one in shown["answers"].values()):
        start, _ = answer["response"]

        def long(values: list[Any], start: int = start) -> list[Any]:
            before, after = values[:start], values[start:]
            parts = ((before, PROMPT), (after, TOKENS))
            return [part[i % len(part)] for part, count in parts for i in range(count)]

        for kind in ("position", "random"):
            for model, rows in answer[kind].items():
                made = [long(row) for row in _stretched(rows, few)]
                answer[kind][model] = [
                    [value + 0.003 * layer + 0.001 * i for i, value in enumerate(row)]
                    for layer, row in enumerate(made)
                ]
        for key in ("KL", "loss difference", "influence"):
            answer[key] = [answer[key][i % len(answer[key])] for i in range(TOKENS)]
        answer["words"], answer["response"] = long(answer["words"]), [PROMPT, PROMPT + TOKENS]


def drawn(browser: Any, page: Path) -> tuple[float, float, float]:
    """Seconds to the first screen, to draw every chart as for a print, and to mark another layer."""
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    started = time.perf_counter()
    shown.goto(page.as_uri())
    shown.locator("#verdict .main-svg").first.wait_for()
    first = time.perf_counter() - started
    started = time.perf_counter()
    shown.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    every = time.perf_counter() - started
    shown.locator(".tokens").scroll_into_view_if_needed()
    shown.locator(".colored-tokens").first.wait_for()
    started = time.perf_counter()
    shown.evaluate("document.dispatchEvent(new CustomEvent('erosion:layer', {detail: 2}))")
    another = time.perf_counter() - started
    shown.close()
    return first, every, another


def main() -> None:
    """Write and draw, and print the table."""
    run = Path(sys.argv[1])
    rows = [
        "| run | report | MB | written in | first screen | all charts | another layer |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        big = simulated(run, Path(folder) / "big")
        er.report(run, out=Path(folder) / "warm.html")
        for name, one in (("the organism, 4 layers", run), (f"simulated, {LAYERS} layers", big)):
            for slim in (False, True):
                started = time.perf_counter()
                page = er.report(one, out=Path(folder) / "page.html", slim=slim)
                written, size = time.perf_counter() - started, page.stat().st_size / 2**20
                first, every, another = drawn(browser, page)
                rows.append(
                    f"| {name} | {'slim' if slim else 'whole'} | {size:.1f} | {written:.1f} s "
                    f"| {first:.1f} s | {every:.1f} s | {another:.1f} s |"
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    text = "\n".join(rows) + f"\n\nPeak memory of writing, with all that is imported: {peak:.2f} GB.\n"
    print(text)
    if "--write" in sys.argv:
        head = "# The report: size and speed\n\nBy `benchmarks/report.py`, on two shared cores. "
        head += "Aims: under 10 MB, slim under 3.\n\n"
        (Path(__file__).parent / "report.md").write_text(head + text)


if __name__ == "__main__":
    main()
