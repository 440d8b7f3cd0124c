"""The hard way: kill -9 at random moments, resume each time, and end in the same bytes."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import erosion as er
from tests.auditing.small import few_questions


def command(out: Path, words: Path) -> list[str]:
    triad = er.load_organism().triad("insecure")
    assert triad.base is not None
    models = [
        "--base",
        triad.base.weights,
        "--aligned",
        triad.aligned.weights,
        "--tuned",
        triad.tuned.weights,
    ]
    options = ["--trained-domain", "code", "--dtype", "float32", "--set", "random_directions=10"]
    return [
        sys.executable,
        "-m",
        "erosion",
        "audit",
        *models,
        "--contrast",
        str(words),
        *options,
        "--out",
        str(out),
    ]


def results(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((out / "results").iterdir())}


@pytest.mark.slow
def test_ten_kills_change_no_byte(tmp_path: Path) -> None:
    words = er.write_contrast(few_questions(), tmp_path / "words.jsonl")
    start = time.monotonic()
    subprocess.run(command(tmp_path / "whole", words), check=True, capture_output=True)
    whole = time.monotonic() - start
    rng, kills = random.Random(0), 0
    while kills < 10:
        process = subprocess.Popen(
            command(tmp_path / "killed", words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=rng.uniform(0.3, 1.0) * whole)
            shutil.rmtree(tmp_path / "killed" / "results")  # it got through: make it work again
            for step in rng.sample(sorted((tmp_path / "killed" / "steps").iterdir()), 8):
                step.unlink()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run(command(tmp_path / "killed", words), check=True, capture_output=True)
    print(f"{kills} kills")
    assert kills == 10
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.part"))
