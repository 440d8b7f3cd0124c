"""Laws of what a terminal shows at the end of an audit, and of the explorer's command."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import erosion as er
from erosion.cli import terminal
from erosion.cli.app import app
from erosion.reporting.headline import first_screen
from tests.auditing.small import few_questions


def invoke(*arguments: object) -> Any:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def test_an_audit_ends_with_what_the_first_screen_says(
    run: er.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal.OUTPUT.capture() as captured:
        terminal.show_verdict(run)
    said = " ".join(captured.get().split())
    screen = first_screen(run.verdict)
    assert screen["word"].upper() in said
    assert screen["meaning"] in said
    assert screen["sentence"][:60] in said
    for one in screen["numbers"]:
        assert one["name"] in said
        assert f"{one['value']} {one['interval']}" in said
    assert all(domain.name in said for domain in run.verdict.domains)


def test_json_carries_the_first_screen(tmp_path: Path) -> None:
    words = er.write_contrast(few_questions(3), tmp_path / "words.jsonl")
    out = tmp_path / "run"
    flags = ["--set", "bootstrap=200", "--set", "permutations=200", "--set", "shown=1"]
    done = invoke("tokens", "--organism", "insecure", "--contrast", words, "--out", out, *flags, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["first_screen"] == json.loads(json.dumps(first_screen(er.open_run(out).verdict)))
    assert len(found["results"]["tokens"]["ours"]["shown"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name one"),
        (("runs/none", "--organism", "insecure"), "Name one"),
        (("runs/none",), "There is no run"),
        (("--aligned", "a"), "--tuned"),
        (("runs/none", "--state", "nothing.json"), "no state that can be read"),
    ],
)
def test_what_cannot_be_explored_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = invoke("explore", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_dash_the_remedy_is_named(run: er.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "erosion.exploring.page", None)
    done = invoke("explore", run.path, "--no-browser")
    assert done.exit_code == 2
    assert "[explore]" in done.stderr


def test_without_a_browser_an_image_is_refused_in_words(
    run: er.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plotly.graph_objects as go

    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("Kaleido requires Google Chrome")

    monkeypatch.setattr(go.Figure, "to_image", fail)
    with pytest.raises(er.BadInput, match=r"needs Chromium or Chrome"):
        er.figures.save(er.figures.headline(run.verdict), tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
