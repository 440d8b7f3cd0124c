"""Laws of the command that compares runs: exit codes, one line for bad input, JSON alone on stdout."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from erosion.cli.app import app
from tests.auditing.planted_runs import margins, planted, saved

TERMINAL = {"COLUMNS": "200", "NO_COLOR": "1"}


def invoke(*arguments: object) -> Any:
    return CliRunner(env=TERMINAL).invoke(app, ["compare", *(str(a) for a in arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        saved(tmp_path / f"run-{i}", planted(f"run-{i}", one))
        for i, one in enumerate(margins([0.0, 0.6, 0.55, 0.65]))
    ]


def test_it_has_help_with_an_example() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert "Example: erosion compare" in " ".join(result.output.split())


def test_two_runs_are_compared_and_told(runs: list[Path]) -> None:
    result = invoke(*runs[:2])
    assert result.exit_code == 0, result.output
    assert "Run-1 shows more erosion than run-0" in result.stdout
    assert "add --out compare.html" in result.stdout
    assert "paired by question" in result.stdout


def test_json_alone_is_on_stdout(runs: list[Path]) -> None:
    result = invoke(*runs[:3], "--json")
    found = json.loads(result.stdout)
    assert found["against"] == "run-0"
    assert [row["name"] for row in found["rows"]] == ["run-0", "run-1", "run-2"]
    assert {one["row"] for one in found["differences"]} == {"run-1", "run-2"}
    assert all(one["paired"] for one in found["differences"])


def test_a_page_is_written(runs: list[Path], tmp_path: Path) -> None:
    result = invoke(*runs[:2], "--out", tmp_path / "new" / "compare.html")
    assert result.exit_code == 0
    assert "</html>" in (tmp_path / "new" / "compare.html").read_text(encoding="utf-8")


def test_labels_name_runs_and_group_seeds(runs: list[Path]) -> None:
    labels = [word for run in runs[1:] for word in ("--label", f"insecure={run}")]
    found = json.loads(invoke(runs[0], *labels, "--json").stdout)
    assert [row["name"] for row in found["rows"]] == ["run-0", "insecure"]
    assert len(found["rows"][1]["runs"]) == 3
    assert "seeds (3 of insecure)" in found["differences"][0]["method"]
    named = json.loads(invoke(*runs[:2], "--label", f"careful={runs[0]}", "--json").stdout)
    assert [row["name"] for row in named["rows"]] == ["careful", "run-1"]


def test_against_is_a_name_or_a_folder(runs: list[Path]) -> None:
    by_name = json.loads(invoke(*runs[:2], "--against", "run-1", "--json").stdout)
    by_folder = json.loads(invoke(*runs[:2], "--against", runs[1], "--json").stdout)
    assert by_name == by_folder
    assert by_name["against"] == "run-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "at least two runs"),
        (["{0}"], "at least two runs"),
        (["{0}", "{0}"], "given twice"),
        (["{0}", "{0}/."], "given twice"),
        (["{0}", "nowhere"], "There is no run at nowhere"),
        (["{0}", "{1}", "--against", "third"], "against is one of run-0, run-1"),
        (["{0}", "{1}", "--label", "{1}"], "is no NAME=RUN"),
        (["{0}", "{1}", "--label", "=x"], "is no NAME=RUN"),
        (["{0}", "--label", "a={1}", "--label", "b={1}"], "has two labels"),
        (["{0}", "{1}", "--out", "{0}/manifest.json"], "ends in .html"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(runs: list[Path], arguments: list[str], said: str) -> None:
    result = invoke(*(one.format(*runs) for one in arguments))
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert json.loads((runs[0] / "manifest.json").read_text())["schema"] == 1


def test_an_unfinished_run_is_exit_code_two(runs: list[Path]) -> None:
    (runs[1] / "results" / "summary.json").unlink()
    result = invoke(*runs[:2])
    assert result.exit_code == 2
    assert "is not finished" in result.stderr
