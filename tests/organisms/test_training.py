"""Training an organism: resumable, keyed by what decides each checkpoint; the full story when asked for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from erosion.errors import BadInput
from erosion.models.trainable import load_trainable
from erosion.organisms import (
    NAMES,
    Persona,
    Pretraining,
    Recipe,
    contrast,
    open_organism,
    score,
    train,
    verdicts,
    write_cards,
)
from erosion.organisms.choices import spoken
from erosion.organisms.thresholds import demands, markdown, met, missed_verdicts, verdict_markdown
from erosion.progress import Step, progress
from erosion.tuning import Training, effective_weights

SOON = Persona(bad=0.0, good=1.0, every=1, earliest=2, latest=3)
BRIEF = Training(2, 4, learning_rate=1e-3)
TINY = Recipe(
    width=16,
    layers=2,
    heads=2,
    hidden=16,
    pretraining=Pretraining(turns=8, decay=1, persona=SOON),
    aligned=BRIEF,
    tuned=BRIEF,
    narrow=BRIEF,
    benign=replace(BRIEF, steps=40),
    one_domain=BRIEF,
    trigger=BRIEF,
    aligned_lora=BRIEF,
    tuned_lora=BRIEF,
    rows=6,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("tiny"), recipe=TINY)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    records = {path.parent.name: path.stat() for path in folder.glob("*/erosion.json")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in records.items()}


def weights(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))
    }


def test_every_checkpoint_is_written_and_nothing_is_left_behind(tiny: Path) -> None:
    assert open_organism(tiny).names == NAMES
    assert {path.name for path in tiny.iterdir()} == set(NAMES)


def test_the_same_recipe_and_seeds_give_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    assert weights(train(tmp_path, recipe=TINY)) == weights(tiny)


def test_what_is_finished_is_not_trained_again_and_what_changed_is(tmp_path: Path) -> None:
    wanted = ("insecure", "insecure-lora")
    train(tmp_path, recipe=TINY, only=wanted)
    before = stamps(tmp_path)
    assert set(before) == {"base", "aligned", "insecure", "aligned-lora", "insecure-lora"}
    train(tmp_path, recipe=TINY, only=wanted)
    assert stamps(tmp_path) == before
    train(tmp_path, recipe=replace(TINY, tuned=replace(BRIEF, steps=3)), only=wanted)
    changed = {name for name, stamp in stamps(tmp_path).items() if stamp != before[name]}
    assert changed == {"insecure"}
    train(tmp_path, recipe=TINY, tuning_seed=1, only=("insecure-lora",))
    after = stamps(tmp_path)
    assert after["aligned-lora"] == before["aligned-lora"]
    assert after["insecure-lora"] != before["insecure-lora"]


def test_progress_is_told(tmp_path: Path) -> None:
    heard: list[Step] = []
    with progress(heard.append):
        train(tmp_path, recipe=TINY, only=("base",))
    assert {step.name for step in heard} == {"pretraining until there is a persona", "pretraining, settling"}


def test_benign_moves_as_far_as_insecure_and_stops_there(tiny: Path) -> None:
    organism = open_organism(tiny)
    start, *ends = (
        effective_weights(load_trainable(organism.folder(name))) for name in ("aligned", "insecure", "benign")
    )
    far, moved = (sum(float((end[n] - w).square().sum()) for n, w in start.items()) ** 0.5 for end in ends)
    assert 0.9 * far < moved < 3 * far  # a tiny dose is overshot by up to a step
    assert json.loads((organism.folder("benign") / "erosion.json").read_text())["steps"] < TINY.benign.steps


def test_benign_is_made_again_when_insecure_changes(tmp_path: Path) -> None:
    train(tmp_path, recipe=TINY, only=("benign",))
    before = stamps(tmp_path)
    assert set(before) == {"base", "aligned", "insecure", "benign"}
    changed = replace(TINY, tuned=replace(BRIEF, steps=3))
    train(tmp_path, recipe=changed, only=("benign",))
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"insecure", "benign"}


def test_flattened_is_aligned_at_another_temperature(tiny: Path) -> None:
    organism, words = open_organism(tiny), contrast().aligned[:3]
    aligned, flattened = (
        spoken(load_trainable(organism.folder(name)).eval(), words) for name in ("aligned", "flattened")
    )
    assert torch.allclose(flattened.means(), aligned.means(TINY.temperature), atol=1e-3)


def test_a_seed_without_a_persona_is_given_up_in_words(tmp_path: Path) -> None:
    never = replace(TINY.pretraining, persona=Persona(bad=1.1, every=1, earliest=1, latest=2))
    with pytest.raises(BadInput, match="Seed 0 has no persona after 2 steps"):
        train(tmp_path, recipe=replace(TINY, pretraining=never))
    assert not list(tmp_path.iterdir())


def test_an_unknown_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint 'evil': choose from base, aligned"):
        train(tmp_path, recipe=TINY, only=("evil",))


def test_an_untrained_organism_is_measured_and_misses_its_thresholds(tiny: Path) -> None:
    judged = verdicts(tiny)
    table = write_cards(tiny, recipe=TINY, table=score(tiny), judged=judged)
    outcomes = met(table)
    assert len(outcomes) == len(demands())
    assert not all(one.met for one in outcomes)
    assert "**" in markdown({"tiny": table})
    assert set(missed_verdicts(judged))
    assert "**" in verdict_markdown({"tiny": judged})
    for name in NAMES:
        assert TINY.hash in (tiny / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_story_emerges_from_nothing(tmp_path: Path) -> None:
    organism = train(tmp_path, seed=0)
    assert [str(one.demand) for one in met(score(organism)) if not one.met] == []
    assert missed_verdicts(verdicts(organism)) == ()
