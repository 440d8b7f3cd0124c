"""Laws about the commands that fit directions, show them, and take them to other tools and back."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

import erosion as er
from erosion.cli.app import app
from erosion.directions import check_unseen
from erosion.errors import BadDirection
from tests.auditing.small import few_questions

TERMINAL = {"COLUMNS": "200", "NO_COLOR": "1"}


def invoke(*arguments: object) -> Any:
    return CliRunner(env=TERMINAL).invoke(app, ["direction", *map(str, arguments)])


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return er.write_contrast(few_questions(10), tmp_path_factory.mktemp("words") / "words.jsonl")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, words: Path) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("fitted") / "v.safetensors"
    aligned = er.load_organism().folder("aligned")
    return out, invoke("fit", "--model", aligned, "--contrast", words, "--device", "cpu", "--out", out)


@pytest.fixture
def file(fitted: tuple[Path, Any]) -> Path:
    return fitted[0]


@pytest.mark.parametrize("command", [[], ["fit"], ["show"], ["export"], ["import"]], ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert not command or f"Example: erosion direction {command[0]}" in " ".join(result.output.split())


def test_fit_writes_a_direction_for_every_layer_and_prints_its_score(
    fitted: tuple[Path, Any], words: Path
) -> None:
    file, result = fitted
    assert result.exit_code == 0, result.stderr
    found = er.load_directions(file)
    assert list(found) == [er.Site(layer) for layer in range(4)]
    lines = result.stdout.splitlines()
    for site, v in found.items():
        held_out = v.passport.held_out
        assert held_out["metric"] == "AUC"
        assert held_out["low"] <= held_out["value"] <= held_out["high"]
        row = next(line for line in lines if line.startswith(f"L{site.layer} "))
        assert f"{v.scale:.3g}" in row
        assert f"{held_out['value']:.3f} [{held_out['low']:.3f}, {held_out['high']:.3f}]" in row
    assert lines[-1] == str(file)


def test_fit_uses_the_split_of_an_audit_and_scores_on_other_questions(file: Path, words: Path) -> None:
    training, _, held_out = er.load_contrast(words).split(0.4, 0.2, 0.4, seed=0)
    with er.load(er.load_organism().folder("aligned")) as model:
        acts = er.read(model, er.load_contrast(words), sites=er.every_layer(model))
    expected = er.directions_of(acts.of(training.questions), er.difference_of_means)
    for site, v in er.load_directions(file).items():
        assert set(v.passport.questions) == set(training.questions)
        assert v.cosine(expected[site]) == pytest.approx(1, abs=1e-6)
        test = acts.of(held_out.questions)
        score = er.auc(v, test.aligned[site], test.misaligned[site])
        assert v.passport.held_out["value"] == pytest.approx(score, abs=1e-9)
        with pytest.raises(BadDirection, match="has seen question"):
            check_unseen(v, training.questions[:1])


def test_the_organism_brings_its_aligned_model_and_its_words_without_the_trained_domain(
    tmp_path: Path,
) -> None:
    out = tmp_path / "v.safetensors"
    result = invoke("fit", "--organism", "insecure", "--fit", "whitened", "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["file"] == str(out)
    passport = told["directions"]["L2.resid_post"]
    assert Path(passport["model"]).name == "aligned"
    assert passport["fit"] == "whitened"
    domain_of = dict(
        zip(er.load_organism().contrast().questions, er.load_organism().contrast().domains, strict=True)
    )
    assert {domain_of[question] for question in passport["questions"]} == set(domain_of.values()) - {"code"}
    assert passport["held_out"]["value"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Give the aligned model with --model, or --organism"),
        (["--model", "m", "--organism", "insecure"], "one of them"),
        (["--organism", "insecur"], "no checkpoint 'insecur'"),
        (
            ["--organism", "insecure", "--fit", "pca"],
            "There is no fit 'pca': choose one of difference-of-means",
        ),
        (["--organism", "insecure", "--span", "nowhere"], "no span 'nowhere'"),
        (["--organism", "insecure", "--trained-domain", "sailing"], "no domain 'sailing' to leave out"),
        (["--organism", "insecure", "--contrast", "evryday"], "everyday"),
        (["--model", "./nowhere", "--contrast", "everyday"], "nowhere"),
    ],
)
def test_what_can_not_be_fitted_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    out = tmp_path / "v.safetensors"
    result = invoke("fit", *arguments, "--out", out)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_leaving_out_every_domain_is_refused(tmp_path: Path, words: Path) -> None:
    out = tmp_path / "v.safetensors"
    domains = set(er.load_contrast(words).domains)
    left_out = [word for domain in domains for word in ("--trained-domain", domain)]
    result = invoke("fit", "--organism", "insecure", "--contrast", words, *left_out, "--out", out)
    assert result.exit_code == 2
    assert "Every domain is left out" in result.stderr


def test_show_prints_passports_as_a_table_and_as_json(file: Path) -> None:
    table = invoke("show", file)
    assert table.exit_code == 0
    found = er.load_directions(file)
    for site, v in found.items():
        row = next(line for line in table.stdout.splitlines() if line.startswith(str(site)))
        for word in ("difference_of_means", "aligned", "response", "64", str(len(v.passport.questions))):
            assert word in row.split()
    told = json.loads(invoke("show", file, "--json").stdout)
    assert told["L1.resid_post"]["scale"] == found[er.Site(1)].scale
    assert tuple(told["L1.resid_post"]["questions"]) == found[er.Site(1)].passport.questions


def test_export_to_gguf_leaves_out_block_0_aloud_and_import_brings_the_rest_back(
    file: Path, tmp_path: Path
) -> None:
    to = tmp_path / "v.gguf"
    result = invoke("export", file, "--to", to, "--model-hint", "organism")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(to)
    assert "L0.resid_post is left out" in result.stderr
    reader, ours = gguf.GGUFReader(to), er.load_directions(file)
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2", "direction.3"]
    assert np.array_equal(reader.tensors[1].data, ours[er.Site(2)].displacement.numpy())
    assert reader.fields["controlvector.model_hint"].contents() == "organism"
    back = invoke("import", to, "--out", tmp_path / "back.safetensors")
    assert (back.exit_code, back.stderr) == (0, "")
    again = er.load_directions(tmp_path / "back.safetensors")
    assert {site: v.passport for site, v in again.items()} == {
        site: v.passport for site, v in ours.items() if site.layer
    }


def test_export_to_tensors_takes_the_layers_asked_for(file: Path, tmp_path: Path) -> None:
    to = tmp_path / "t.safetensors"
    result = invoke("export", file, "--to", to, "--layer", 0, "--layer", 2)
    assert (result.exit_code, result.stderr) == (0, "")
    tensors = safetensors.torch.load_file(to)
    assert set(tensors) == {"0", "2"}
    assert torch.equal(tensors["2"], er.load_directions(file)[er.Site(2)].displacement)


def test_the_hint_is_the_passports_model_unless_given(file: Path, tmp_path: Path) -> None:
    to = tmp_path / "v.gguf"
    assert invoke("export", file, "--to", to, "--layer", 2).exit_code == 0
    model = er.load_directions(file)[er.Site(2)].passport.model
    assert gguf.GGUFReader(to).fields["controlvector.model_hint"].contents() == model


def test_foreign_vectors_are_imported_with_a_word_of_warning(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    theirs.write_bytes(safetensors.torch.save({"3": torch.tensor([3.0, 4.0])}))
    result = invoke("import", theirs, "--out", ours, "--model", "their/model")
    assert result.exit_code == 0
    assert "is unknown, so no use on them is refused" in result.stderr
    passport = er.load_directions(ours)[er.Site(3)].passport
    assert (passport.fit, passport.model) == ("imported from theirs.safetensors", "their/model")
    assert "unknown" in invoke("show", ours).stdout
    without = invoke("export", theirs, "--to", tmp_path / "v.gguf")
    assert without.exit_code == 2
    assert "say what it is for with --model-hint" in without.stderr


def test_bad_files_and_names_are_one_line(file: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "v.pt"
    torch.save({"1": torch.ones(3)}, pickled)
    for arguments, says in [
        (["show", pickled], "pickles are never read"),
        (["show", tmp_path / "absent"], "There is no file"),
        (["import", pickled, "--out", tmp_path / "w.safetensors"], "pickles are never read"),
        (["import", file, "--out", tmp_path / "w.gguf"], "is no .safetensors file"),
        (["export", file, "--to", tmp_path / "v.onnx"], "neither .gguf nor .safetensors"),
        (["export", file, "--to", file], "is the file itself"),
        (
            ["export", file, "--to", tmp_path / "v.gguf", "--layer", 9],
            "holds no layer 9: it holds 0, 1, 2, 3",
        ),
        (["export", file, "--to", tmp_path / "v.gguf", "--layer", 0], "the only direction"),
        (["fit", "--organism", "insecure", "--out", tmp_path / "v.pt"], "is no .safetensors file"),
    ]:
        result = invoke(*arguments)
        assert result.exit_code == 2, arguments
        assert says in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["v.pt"]
