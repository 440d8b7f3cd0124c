"""Laws about the command line: exit codes, one line for bad input, help with an example."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import erosion as er
from erosion.cli.app import app
from erosion.cli.audits import VERBS
from erosion.cli.exits import guarded
from tests.auditing.small import QUICK, few_questions

TERMINAL = {"COLUMNS": "200", "NO_COLOR": "1"}


def invoke(*arguments: object) -> Any:
    return CliRunner(env=TERMINAL).invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> er.Run:
    triad = er.load_organism().triad("secure")
    same = er.Triad(base=triad.base, aligned=triad.aligned, tuned=triad.aligned)
    return er.audit(same, few_questions(), out=tmp_path_factory.mktemp("runs") / "kept", **QUICK)


@pytest.fixture(scope="module")
def eroded(tmp_path_factory: pytest.TempPathFactory) -> er.Run:
    options = {**QUICK, "experiments": ["distributions"]}
    out = tmp_path_factory.mktemp("runs") / "eroded"
    return er.audit(er.load_organism().triad("insecure"), few_questions(), out=out, **options)


COMMANDS = [
    ["demo"],
    ["audit"],
    *([verb] for verb in VERBS),
    ["calibrate"],
    ["gate"],
    ["report"],
    ["explore"],
    ["compare"],
    ["organism"],
    ["organism", "train"],
    ["organism", "list"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert command == ["organism"] or "Example: erosion" in " ".join(result.output.split())


def test_help_answers_without_importing_torch() -> None:
    code = "import sys, erosion.cli.app, erosion; sys.exit('torch' in sys.modules or 'plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_gate_exits_0_1_and_2(kept: er.Run, eroded: er.Run, tmp_path: Path) -> None:
    assert invoke("gate", kept.path).exit_code == 0
    assert invoke("gate", eroded.path).exit_code == 1
    missing = invoke("gate", tmp_path / "nowhere")
    assert missing.exit_code == 2
    assert "There is no run" in missing.stderr


def test_the_gate_speaks_json(kept: er.Run) -> None:
    assert json.loads(invoke("gate", kept.path, "--json").stdout)["passed"] is True


def test_report_draws_a_finished_run(kept: er.Run) -> None:
    result = invoke("report", kept.path)
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).is_file()


def test_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path: Path) -> None:
    triad = er.load_organism().triad()
    words = er.write_contrast(few_questions(), tmp_path / "words.jsonl")
    out = tmp_path / "run"
    result = invoke(
        "audit",
        "--aligned",
        triad.aligned,
        "--tuned",
        triad.tuned,
        "--contrast",
        words,
        "--out",
        out,
        "--dry-run",
    )
    assert result.exit_code == 0, result.stderr
    assert "questions" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tuned", "x"], "'aligned' is missing"),
        (["--aligned", "./nowhere", "--tuned", "./nowhere"], "There is no model folder './nowhere'"),
        (["--aligned", "a", "--tuned", "t", "--set", "seeds=3"], "did you mean 'seed'?"),
        (["--aligned", "a", "--tuned", "t", "--set", "seed"], "has no value"),
        (["--aligned", "a", "--tuned", "t", "--set", "seed=["], "no YAML value"),
        (["--aligned", "a", "--tuned", "t", "--set", "seed=-1"], "seed=-1"),
        (["--aligned", "a", "--tuned", "t", "--set", "split=abc", "--set", "split.fit=.3"], "reaches into"),
        (["--aligned", "a", "--tuned", "t", "--contrast", "evryday"], "everyday"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = invoke("audit", *arguments, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_bug_is_one_line_with_the_traceback_in_the_log(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        guarded(lambda: {}["missing"], out=tmp_path)
    assert left.value.code == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert "KeyError" in (tmp_path / "log.txt").read_text()


def test_an_interruption_is_exit_code_3(capsys: Any) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        guarded(stop)
    assert left.value.code == 3
    assert "resumes" in capsys.readouterr().err


def test_organism_list_names_every_checkpoint() -> None:
    result = invoke("organism", "list")
    assert result.exit_code == 0
    assert set(er.load_organism().names) <= set(result.stdout.split())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    from erosion.files import _why_not_written

    assert "No space left" in _why_not_written(tmp_path / "x", OSError(28, "No space left on device"))
