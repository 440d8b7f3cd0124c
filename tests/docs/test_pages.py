"""Every block of every page is true: Python runs, commands exist, files have the forms that are read."""

import contextlib
import io
import re
import typing
from dataclasses import replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import erosion as er
from erosion.auditing.config import Config
from tests.docs.pages import DOCS, LANGUAGES, PAGES, ROOT, Block, as_json, blocks_of, languages_of, same_words

EVERY = [*PAGES, ROOT / "README.md"]
by_page = pytest.mark.parametrize("page", EVERY, ids=lambda page: page.relative_to(ROOT).as_posix())


def _ran(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    said = io.StringIO()
    code = compile("\n" * block.line + block.text, str(page), "exec")
    with contextlib.redirect_stdout(said):
        exec(code, namespace)  # the example itself
    return said.getvalue()


@by_page
def test_python_runs_in_order_and_says_what_the_page_says(
    page: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plotly.io

    monkeypatch.setattr(plotly.io.renderers, "default", "")  # show() opens no window
    namespace: dict[str, Any] = {}
    said = ""
    for block in blocks_of(page):
        if block.language == "python":
            said = _ran(block, page, namespace)
        elif block.language == "text" and said:
            assert same_words(said, block.text), f"line {block.line}: it says\n{said}"
            said = ""


@by_page
def test_commands_are_ones_that_the_command_line_takes(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "bash":
            for words in block.commands():
                _taken(words, f"{page.name}, line {block.line}: erosion {' '.join(words)}")


@lru_cache
def _every_command() -> Any:
    import typer

    from erosion.cli.app import app

    return typer.main.get_command(app)


def _taken(words: list[str], where: str) -> None:
    """Parsed to the last option by the command that would run, and not run."""
    command = _every_command()
    name, rest = "erosion", list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{where}: there is no {rest[0]!r}"
        command, name = command.commands[rest[0]], rest.pop(0)
    if rest in (["--help"], ["--version"]):
        return
    try:
        command.make_context(name, rest)
    except Exception as error:  # a usage error of any version of click
        pytest.fail(f"{where}: {getattr(error, 'message', error)}")


@by_page
def test_cheap_commands_run_on_the_organism(page: Path, inside: Path) -> None:
    from erosion.cli.app import app

    for block in blocks_of(page):
        if block.language == "bash" and block.exits is not None:
            for words in block.commands():
                result = CliRunner().invoke(app, words)
            assert result.exit_code == block.exits, f"{page.name}, line {block.line}: {result.output}"


@by_page
def test_configs_and_rows_are_what_is_read(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks_of(page)):
        where = f"{page.name}, line {block.line}"
        if block.language == "yaml":
            told = yaml.safe_load(block.text)
            if "on" not in told and True not in told:  # a workflow of continuous integration is not ours
                (tmp_path / f"{number}.yaml").write_text(block.text, encoding="utf-8")
                assert er.read_config(tmp_path / f"{number}.yaml", aligned="a", tuned="t"), where
        if block.language == "json":
            words = count()
            whole = re.sub("…", lambda _, words=words: f"text {next(words)}", block.text)
            for row in as_json(whole):
                _read(row, replace(block, text=whole), tmp_path / f"{number}.jsonl")


def _read(row: dict[str, Any], block: Block, file: Path) -> None:
    """A row of a contrast, a number, or a result: told apart by their keys."""
    if "responses" in row:
        file.write_text(block.text, encoding="utf-8")
        assert len(er.load_contrast(file)) >= 1
    elif "experiment" in row and "ours" in row:
        file.write_text(block.text, encoding="utf-8")
        assert er.load_result(file)
    elif "value" in row:
        assert er.stats.Estimate.from_json(row)
    elif "fit" in row:
        from erosion.directions.passport import from_plain

        assert from_plain(row)
    else:
        assert set(row) <= set(Config.model_fields) | {"passed", "reason"}, f"line {block.line}: {row}"


@by_page
def test_no_block_escapes_these_tests(page: Path) -> None:
    assert languages_of(page) <= {*LANGUAGES, "pycon"}, page
    fences = page.read_text(encoding="utf-8").count("```")
    assert fences == 2 * len(blocks_of(page)), "a fence without a language, or one that is not closed"


def test_the_config_page_names_every_key_with_its_default() -> None:
    (block,) = (one for one in blocks_of(DOCS / "reference" / "config.md") if "schema: 1" in one.text)
    told = yaml.safe_load(block.text)
    defaults = Config(aligned="a", tuned="t").to_json()
    assert set(told) == set(defaults)
    assert {k: v for k, v in told.items() if k not in ("aligned", "tuned")} == {
        k: v for k, v in defaults.items() if k not in ("aligned", "tuned")
    }


def test_every_verdict_word_and_experiment_is_explained() -> None:
    from erosion.auditing.config import Experiment
    from erosion.stats.verdicts import WORDS

    report = (DOCS / "how-to" / "read-a-report.md").read_text(encoding="utf-8")
    assert all(f"**{word}**" in report for word in WORDS)
    config = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in config for name in typing.get_args(Experiment))


def test_pages_name_nothing_of_the_machine_they_were_written_on() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not any(word in text for word in (str(ROOT), "/home/", "/tmp/", "/root/")), page


def test_files_that_pages_name_exist() -> None:
    for page in PAGES:
        named = re.findall(
            r"`((?:erosion|tests|docs|assets|benchmarks|notebooks)/[\w/.-]+\.\w+)`",
            page.read_text(encoding="utf-8"),
        )
        absent = [one for one in named if not (ROOT / one).exists()]
        assert not absent, f"{page.name} names {absent}"
