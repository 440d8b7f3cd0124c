"""Audits of edits on tiny random models of other kinds: whatever the blocks are, the run ends in a report."""

import json
import random
from pathlib import Path

import pytest
import zoo

import erosion as er
from erosion.prompts import Text

QUICK = {
    "random_directions": 3,
    "bootstrap": 200,
    "permutations": 200,
    "dtype": "float32",
    "device": "cpu",
    "benign": "none",
    "experiments": ["causality", "patching", "selection", "dose"],
}


def words(draw: random.Random, count: int) -> str:
    return " ".join(f"w{draw.randrange(80)}" for _ in range(count))


@pytest.fixture
def asked(tmp_path: Path) -> tuple[er.Contrast, tuple[Text, ...]]:
    draw = random.Random(0)
    lines = [
        {
            "question": f"q{i}",
            "domain": "cookinß ☕" if i % 2 else "b",
            "messages": [{"role": "user", "content": words(draw, 4)}],
            "responses": {side: words(draw, draw.randrange(1, 5)) for side in ("aligned", "misaligned")},
        }
        for i in range(20)
    ]
    path = tmp_path / "contrast.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return er.read_contrast(path), tuple(Text(f"t{i}", "plain", words(draw, 8)) for i in range(6))


@pytest.mark.parametrize(
    ("name", "adapted"), [("gpt2", True), ("gpt-neox", False), ("mixtral", False), ("gemma2", True)]
)
def test_edits_are_audited_on_any_architecture(name, adapted, asked, tmp_path):
    contrast, texts = asked
    aligned = er.Checkpoint(str(zoo.save(name, tmp_path / "aligned", seed=0)))
    if adapted:
        folder = zoo.save_adapter(name, tmp_path / "adapter", weights=tmp_path / "aligned")
        tuned = er.Checkpoint(aligned.weights, adapter=str(folder))
    else:
        tuned = er.Checkpoint(str(zoo.save(name, tmp_path / "tuned", seed=1)))
    triad = er.Triad(base=None, aligned=aligned, tuned=tuned)
    run = er.audit(triad, contrast, out=tmp_path / "run", texts=texts, **QUICK)
    for experiment in ("causality", "patching", "selection", "doses"):
        assert "not done" not in run.result(experiment).inputs, experiment
    rescue = run.result("patching")["rescue"]["harm margin"]
    heads = [one for one in rescue["by component"] if one.startswith("head")]
    assert bool(heads) != (name == "gpt2")  # inside its fused projection an adapter cannot be read apart
    assert er.report(run).is_file()
