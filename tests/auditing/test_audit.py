"""Laws about run folders: complete, resumable to the byte, refusing what is not theirs."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import erosion as er
from erosion.auditing import bench
from erosion.auditing.readings import edits
from erosion.auditing.stages import STAGES
from tests.auditing.small import QUICK


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "results").iterdir())}


def copied(run: er.Run, to: Path) -> Path:
    shutil.copytree(run.path, to, ignore=shutil.ignore_patterns(".lock"))
    return to


def again(out: Path, contrast: er.Contrast, **changed: Any) -> er.Run:
    return er.audit(er.load_organism().triad("insecure"), contrast, out=out, **{**QUICK, **changed})


def test_an_audit_writes_every_experiment_and_the_verdict(run: er.Run) -> None:
    assert run.experiments == tuple(sorted(stage.name for stage in STAGES if stage.name != "trajectories"))
    assert run.verdict.word == "eroded"
    assert {part.name for part in run.verdict.trained_domains} == {"code"}
    assert (run.path / "manifest.json").is_file()
    assert (run.path / "directions" / "difference-of-means.safetensors").is_file()


def test_results_hold_no_time_path_or_host(run: er.Run) -> None:
    text = "".join(content.decode() for content in contents(run.path).values())
    assert str(run.path) not in text
    assert os.uname().nodename not in text
    assert not re.search(r"\d{4}-\d\d-\d\d|/home|/tmp", text)


def test_every_number_has_interval_unit_questions_and_a_control_entry(run: er.Run) -> None:
    assert len(run.summary["numbers"]) > 100
    for number in run.summary["numbers"]:
        assert {"value", "low", "high", "unit", "n_questions", "control"} <= number.keys()
        assert number["value"] is not None or number["why"]


def test_results_load_equal(run: er.Run) -> None:
    for name in run.experiments:
        assert run.result(name).to_json() == json.loads((run.path / "results" / f"{name}.json").read_text())


def test_a_finished_audit_is_not_computed_again(run: er.Run, contrast: er.Contrast, monkeypatch: Any) -> None:
    before = contents(run.path)
    monkeypatch.setattr(bench, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    again(run.path, contrast)
    assert contents(run.path) == before


def test_a_killed_audit_resumes_to_the_same_bytes(run: er.Run, contrast: er.Contrast, tmp_path: Path) -> None:
    cut = copied(run, tmp_path / "cut")
    shutil.rmtree(cut / "results")
    for step in sorted((cut / "steps").glob("*tuned*")):
        step.unlink()
    again(cut, contrast)
    assert contents(cut) == contents(run.path)


def test_the_cache_may_be_deleted(run: er.Run, contrast: er.Contrast, tmp_path: Path) -> None:
    bare = copied(run, tmp_path / "bare")
    shutil.rmtree(bare / "steps")
    again(bare, contrast)
    assert contents(bare) == contents(run.path)


def test_an_interruption_keeps_what_is_finished(
    contrast: er.Contrast, tmp_path: Path, monkeypatch: Any
) -> None:
    out = tmp_path / "run"
    whole = edits.causal_cell

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(edits, "causal_cell", stop)
    with pytest.raises(KeyboardInterrupt):
        again(out, contrast)
    assert list((out / "steps").glob("activations-aligned*"))
    assert not (out / "results" / "summary.json").exists()
    assert not list(out.rglob("*.part"))
    with pytest.raises(er.BadRun, match="not finished"):
        er.open_run(out)
    monkeypatch.setattr(edits, "causal_cell", whole)
    assert again(out, contrast).verdict.word == "eroded"


def test_another_audit_does_not_get_the_folder(run: er.Run, contrast: er.Contrast) -> None:
    with pytest.raises(er.BadRun, match=r"belongs to another audit .* choose another --out"):
        again(run.path, contrast, seed=1)


def test_a_folder_with_something_else_is_refused(contrast: er.Contrast, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(er.BadRun, match="holds no audit"):
        again(tmp_path, contrast)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_process_is_refused(run: er.Run, contrast: er.Contrast) -> None:
    with FileLock(run.path / ".lock"), pytest.raises(er.BadRun, match="another process"):
        again(run.path, contrast)


def test_without_base_the_verdict_is_on_the_loss(contrast: er.Contrast, tmp_path: Path) -> None:
    triad = er.load_organism().triad("insecure")
    found = er.audit(
        er.Triad(aligned=triad.aligned, tuned=triad.tuned), contrast, out=tmp_path / "run", **QUICK
    )
    assert found.verdict.quantity == "margin"
    assert found.verdict.word == "eroded"
    assert "erosion" not in found.result("distributions")["overall"]


def test_adapters_on_the_same_weights_are_one_load(
    contrast: er.Contrast, tmp_path: Path, monkeypatch: Any
) -> None:
    loads = []
    whole = bench.load

    def counted(*args: Any, **kwargs: Any) -> Any:
        loads.append(args)
        return whole(*args, **kwargs)

    monkeypatch.setattr(bench, "load", counted)
    options = {**QUICK, "experiments": ["distributions"]}
    er.audit(er.load_organism().triad("insecure-lora"), contrast, out=tmp_path / "run", **options)
    assert len(loads) == 1


def test_the_same_fine_tune_as_aligned_is_kept(contrast: er.Contrast, tmp_path: Path) -> None:
    triad = er.load_organism().triad("insecure")
    same = er.Triad(base=triad.base, aligned=triad.aligned, tuned=triad.aligned)
    found = er.audit(same, contrast, out=tmp_path / "run", **QUICK)
    assert found.verdict.word == "kept"
    assert found.verdict.estimate.value == 0


def test_a_trained_domain_that_does_not_exist_is_named(contrast: er.Contrast, tmp_path: Path) -> None:
    with pytest.raises(er.BadContrast, match=r"'coding' .* has code, cooking"):
        again(tmp_path / "run", contrast, trained_domains=["coding"])
    assert not (tmp_path / "run").exists()


def test_too_few_questions_to_split_are_refused_before_anything_is_written(
    contrast: er.Contrast, tmp_path: Path
) -> None:
    with pytest.raises(er.BadContrast):
        again(tmp_path / "run", contrast.only(contrast.questions[:1]), trained_domains=[])
    assert not (tmp_path / "run").exists()


def test_the_plan_counts_models_questions_and_passes(contrast: er.Contrast) -> None:
    plan = er.prepare(er.load_organism().triad(), contrast, **QUICK).plan
    assert set(plan.models) == {"base", "aligned", "tuned"}
    assert plan.questions == len(contrast)
    assert plan.passes > 3
    assert plan.minutes > 0


def test_a_changed_setting_is_another_model(contrast: er.Contrast, tmp_path: Path) -> None:
    lora = er.load_organism().folder("insecure-lora")
    mine = shutil.copytree(lora, tmp_path / "lora")
    triad = er.load_organism().triad("insecure-lora")
    assert triad.base is not None

    def prepared() -> Any:
        tuned = er.Checkpoint(triad.base.weights, adapter=str(mine))  # type: ignore[union-attr]
        return er.prepare(er.Triad(base=triad.base, aligned=triad.aligned, tuned=tuned), contrast, **QUICK)

    before = prepared()
    settings = json.loads((mine / "adapter_config.json").read_text())
    (mine / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 0.01}))
    after = prepared()
    assert before.identity != after.identity
    assert before.inputs("tuned") != after.inputs("tuned")
    assert before.inputs("base") == after.inputs("base")


def test_the_scale_of_an_adapter_is_kept(contrast: er.Contrast) -> None:
    triad = er.load_organism().triad("insecure-lora")
    half = er.Checkpoint(triad.tuned.weights, adapter=triad.tuned.adapter, scale=0.5)
    prepared = er.prepare(er.Triad(base=triad.base, aligned=triad.aligned, tuned=half), contrast, **QUICK)
    assert prepared.checkpoints["tuned"].scale == 0.5


def test_trained_domains_take_no_part_inside_the_model(run: er.Run) -> None:
    split = run.manifest["split"]
    assert not any(question.startswith("code") for part in split.values() for question in part)


def test_a_domain_called_overall_is_refused(contrast: er.Contrast) -> None:
    from dataclasses import replace

    def renamed(side: tuple[er.Exchange, ...]) -> tuple[er.Exchange, ...]:
        return tuple(replace(one, domain="overall") for one in side if one.domain == "cooking")

    odd = er.Contrast(renamed(contrast.aligned), renamed(contrast.misaligned))
    with pytest.raises(er.BadContrast, match="rename it"):
        er.prepare(er.load_organism().triad(), odd, **{**QUICK, "trained_domains": []})


def test_a_failed_beginning_does_not_hold_the_folder(
    contrast: er.Contrast, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bench, "load", lambda *_, **__: (_ for _ in ()).throw(er.BadModel("broken weights")))
    with pytest.raises(er.BadModel):
        again(tmp_path / "run", contrast)
    monkeypatch.undo()
    assert again(tmp_path / "run", contrast, seed=1).verdict.word == "eroded"


def test_the_layer_is_selected_on_questions_of_its_own(run: er.Run) -> None:
    chosen = run.result("dimensions")["selected"]
    assert chosen["site"] in chosen["separation"]


def test_a_folder_taken_over_keeps_no_direction_of_the_other_audit(
    contrast: er.Contrast, tmp_path: Path, monkeypatch: Any
) -> None:
    out, whole = tmp_path / "run", edits.causal_cell

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(edits, "causal_cell", stop)
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            again(out, contrast, seed=seed)
    monkeypatch.setattr(edits, "causal_cell", whole)
    options = {"seed": 0, "experiments": ["dimensions"]}
    again(out, contrast, **options)
    again(tmp_path / "fresh", contrast, **options)
    name = "difference-of-means.safetensors"
    assert (out / "directions" / name).read_bytes() == (tmp_path / "fresh" / "directions" / name).read_bytes()


def test_checkpoints_of_the_fine_tune_become_a_trajectory(contrast: er.Contrast, tmp_path: Path) -> None:
    organism = er.load_organism()
    steps = {30: organism.triad("insecure").tuned.weights, 10: organism.triad("secure").tuned.weights}
    run = again(tmp_path / "run", contrast, experiments=["dynamics"], checkpoints=steps)
    assert run.results_of("dynamics") == ("dynamics", "trajectories")
    margin = run.result("trajectories")["harm margin"]
    assert list(margin.labels) == [0, 10, 30]
    with pytest.raises(er.BadInput, match="count from 1"):
        again(tmp_path / "other", contrast, checkpoints={0: steps[30]})
