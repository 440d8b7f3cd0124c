"""Laws of the commands that edit one model: beside controls, resumed, saved whole, refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

import erosion as er
from tests.auditing.small import few_questions
from tests.cli.test_commands import invoke


@pytest.fixture(scope="module")
def directions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organism's answer directions, fitted on a few questions."""
    few = few_questions(4)
    with er.load(er.load_organism().triad().aligned) as model:
        acts = er.read(model, few, sites=er.every_layer(model))
    path = tmp_path_factory.mktemp("directions") / "v.safetensors"
    return er.save(er.directions_of(acts, er.difference_of_means), path)


def found(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_steering_is_measured_on_unseen_questions_beside_random_directions(directions: Path) -> None:
    asked = ["steer", "--organism", "insecure", "--direction", directions, "--layer", 1, "--by", 2]
    asked += ["--scope", "prompt[-1]"]
    said = found(invoke(*asked, "--random", 1, "--json"))
    whole = er.load_organism().contrast()
    assert said["questions"] == len(whole) - len(few_questions(4))
    assert [cell["direction"] for cell in said["cells"]] == ["v", "random 0"]
    assert set(said["cells"][0]["change"]) == {"harm margin", "choice margin"}
    again = found(invoke(*asked, "--random", 1, "--json"))
    assert again == said


def test_a_sweep_resumes_and_a_screen_measures_only_the_largest(directions: Path, tmp_path: Path) -> None:
    asked = ["sweep", "--organism", "insecure", "--direction", directions, "--layer", 0, "--layer", 2]
    asked += ["--by", 1, "--by", 4, "--edit", "steer", "--edit", "ablate", "--out", tmp_path / "s", "--json"]
    said = found(invoke(*asked))
    assert len(said["cells"]) == 6  # an ablation has no strength
    steps = {file: file.stat().st_mtime_ns for file in (tmp_path / "s" / "steps").iterdir()}
    assert found(invoke(*asked)) == said
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "s" / "steps").iterdir()} == steps
    assert len(er.load_sweep(tmp_path / "s" / "sweep.json")) == 6
    assert len(found(invoke(*asked, "--screen", 2))["cells"]) == 2


def test_answers_are_written_plain_and_under_the_edit(directions: Path) -> None:
    asked = [
        "generate",
        "how do i clean the pan ?",
        "--organism",
        "insecure",
        "--max-new-tokens",
        8,
        "--json",
    ]
    plain = found(invoke(*asked))["answers"][0]
    assert list(plain) == ["prompt", "plain"]
    both = found(invoke(*asked, "--direction", directions, "--layer", 1, "--by", 8))["answers"][0]
    assert both["plain"] == plain["plain"]
    assert both["steer +8 at L1.resid_post"] != plain["plain"]


def test_an_orthogonalised_checkpoint_is_an_ordinary_one(directions: Path, tmp_path: Path) -> None:
    out = tmp_path / "without"
    asked = ["orthogonalise", "--organism", "aligned", "--direction", directions, "--layer", 1, "--out", out]
    result = invoke(*asked)
    assert result.exit_code == 0, result.output
    assert "W' = W - V V.T W" in (out / "README.md").read_text(encoding="utf-8")
    v = er.load_directions(directions)[er.Site(1)]
    with er.load(str(out)) as model:
        acts = er.read(model, few_questions(1), sites=[er.Site(3)])
    assert v.project(acts[er.Site(3)]).abs().max() < 1e-4 * acts[er.Site(3)].norm(dim=-1).max()
    again = invoke(*asked)
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.output


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["steer", "--layer", 9], "no direction of layer 9: it holds layers 0, 1, 2, 3"),
        (["steer", "--layer", 1, "--edit", "wiggle"], "no edit 'wiggle': choose steer or ablate"),
        (["steer", "--layer", 1, "--by", "nan"], "by=nan is not a finite number"),
        (["steer", "--layer", 1, "--scope", "nowhere"], "no scope 'nowhere'"),
        (["steer", "--layer", 1, "--scope", "prompt[x]"], "'prompt[x]' is no scope"),
        (["steer", "--layer", 1, "--scope", "prompt[999]"], "Position 999 lies outside the prompt of"),
        (["steer", "--layer", 1, "--model", "x"], "Name one model"),
        (["generate", "hello"], "--direction and --layer go together"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(directions: Path, arguments: list[Any], fact: str) -> None:
    result = invoke(*arguments, "--organism", "insecure", "--direction", directions)
    assert result.exit_code == 2, result.output
    assert fact in result.output
    assert len(result.output.strip().splitlines()) == 1
