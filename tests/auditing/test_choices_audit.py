"""Laws of selection and doses in an audit: splits kept apart, one call gives the same, or why not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import erosion as er
from erosion.auditing.readings import choices
from erosion.errors import BadInput, BadModel
from erosion.models.quiet import quiet
from erosion.sweeps import load_sweep
from tests.auditing.small import QUICK

SAMPLING = er.Sampling(QUICK["bootstrap"], QUICK["permutations"], QUICK["random_directions"], 0)
ALONE = {**QUICK, "experiments": ["selection", "dose"], "benign": "none"}


TEXTS = er.load_organism().neutral()[:6]


@pytest.fixture(scope="module")
def run(contrast: er.Contrast, tmp_path_factory: pytest.TempPathFactory) -> er.Run:
    out = tmp_path_factory.mktemp("choices") / "run"
    return er.audit(er.load_organism().triad("insecure"), contrast, out=out, texts=TEXTS, **ALONE)


def split_of(run: er.Run) -> dict[str, list[str]]:
    return json.loads((run.path / "manifest.json").read_text())["split"]


def swept(run: er.Run, step: str) -> set[str]:
    (file,) = (run.path / "steps").glob(f"{step}-*.json")
    return set(load_sweep(file).questions)


def test_what_is_chosen_on_select_is_reported_on_held_out(run: er.Run) -> None:
    split = {name: set(ids) for name, ids in split_of(run).items()}
    for step in ("selection-ablation-aligned", "selection-addition-tuned", "selection-strengths-tuned"):
        assert swept(run, step) == split["select"]
    for step in ("selection-held-out-tuned", "selection-held-out-aligned", "doses-tuned", "grafted-aligned"):
        assert swept(run, step) <= split["held_out"]
    assert not split["select"] & (split["held_out"] | split["fit"])


def test_one_call_selects_what_the_audit_selects(run: er.Run, contrast: er.Contrast) -> None:
    triad, split = er.load_organism().triad("insecure"), split_of(run)
    fit, select = (contrast.only(split[part]) for part in ("fit", "select"))
    with er.load(triad.aligned) as model:
        directions = {
            span: er.directions_of(
                er.read(model, fit, sites=er.every_layer(model), span=span), er.difference_of_means
            )
            for span in ("response", "last_response")
        }
    held_out = contrast.only(sorted(swept(run, "selection-held-out-tuned")))
    found = er.select_causally(
        triad, directions, on=select, texts=TEXTS, report_on=held_out, sampling=SAMPLING
    )
    audited = run.result("selection")
    assert (found["chosen"], found["strength"]) == (audited["chosen"], audited["strength"])
    for one, other in zip(found["rows"], audited["rows"], strict=True):
        assert (one["layer"], one["span"], one["fails"]) == (other["layer"], other["span"], other["fails"])
        assert one["ablation"]["harm margin"].value == pytest.approx(
            other["ablation"]["harm margin"].value, abs=1e-5
        )
        assert one["kl"].value == pytest.approx(other["kl"].value, abs=1e-5)
    ours, theirs = (one["held out"]["harm margin"]["difference"] for one in (found, audited))
    assert ours.value == pytest.approx(theirs.value, abs=1e-5)
    assert ours.control.high == pytest.approx(theirs.control.high, abs=1e-5)


def test_one_call_doses_as_the_audit_does(run: er.Run, contrast: er.Contrast) -> None:
    asked = contrast.only(sorted(swept(run, "doses-tuned")))
    found = er.doses_of(er.load_organism().triad("insecure"), asked, sampling=SAMPLING)
    audited = run.result("doses")
    assert found["changes"] == audited["changes"]
    for name in ("lost by dose", "restored", "grafted share"):
        ours, theirs = (one["harm margin"][name].values for one in (found, audited))
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_choosing_and_reporting_on_one_question_is_refused(contrast: er.Contrast) -> None:
    one, two = contrast.only(contrast.questions[:4]), contrast.only(contrast.questions[3:8])
    with pytest.raises(BadInput, match=f"1 questions are chosen and reported on .*{contrast.questions[3]}"):
        er.select_causally(er.load_organism().triad(), {}, on=one, texts=(), report_on=two)


@pytest.mark.parametrize(
    ("kind", "says"),
    [({"use_dora": True}, "no plain LoRA"), (None, "the same")],
    ids=["DoRA", "nothing tuned"],
)
def test_a_fine_tune_without_doses_says_why_and_the_rest_is_done(
    kind: Any, says: str, contrast: er.Contrast, tmp_path: Path
) -> None:
    aligned = er.load_organism().triad().aligned
    tuned = (
        aligned if kind is None else er.Checkpoint(aligned.weights, adapter=adapted(aligned, tmp_path, kind))
    )
    triad = er.Triad(aligned=aligned, tuned=tuned)
    run = er.audit(triad, contrast, out=tmp_path / "run", texts=TEXTS, **ALONE)
    assert says in run.result("doses").inputs["not done"]
    assert len(run.result("selection")["rows"]) == 8
    assert "Not done: doses" in er.report(run).read_text(encoding="utf-8")


def test_weights_that_refuse_a_dose_only_when_dosed_cost_no_other_experiment(
    contrast: er.Contrast, tmp_path: Path, monkeypatch: Any
) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise BadModel("L0 is quantised: load the model whole.")

    monkeypatch.setattr(choices, "dosed", refused)
    triad = er.load_organism().triad("insecure")
    run = er.audit(triad, contrast, out=tmp_path / "run", **{**ALONE, "experiments": ["dose"]})
    assert run.result("doses").inputs["not done"].endswith("L0 is quantised: load the model whole.")


def adapted(aligned: er.Checkpoint, folder: Path, kind: dict[str, Any]) -> str:
    """An adapter of another kind on aligned's weights, clearly non-zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(aligned.weights)
        made = get_peft_model(hf, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], **kind))
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.02)
        made.save_pretrained(folder / "adapter")
    return str(folder / "adapter")
