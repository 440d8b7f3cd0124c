"""Laws of the notebooks: no outputs kept, nothing defined in them, public names alone. (nbmake runs them.)"""

import ast
import json
import re
from pathlib import Path

import pytest

import erosion as er

FILES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CODE = {
    file: [
        "".join(cell["source"])
        for cell in json.loads(file.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    for file in FILES
}


def test_they_are_numbered_without_a_gap_and_each_asks_one_question():
    assert [int(file.name[:2]) for file in FILES] == list(range(1, len(FILES) + 1))
    assert 6 <= len(FILES) <= 8
    for file in FILES:
        first = "".join(json.loads(file.read_text())["cells"][0]["source"])
        assert re.match(rf"# {int(file.name[:2])}\. .+", first)
        assert first.splitlines()[0].endswith("?") or file.name.startswith(("07", "08"))


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.stem)
def test_no_output_is_kept_and_the_kernel_is_anyones(file):
    notebook = json.loads(file.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.stem)
def test_nothing_is_defined_and_only_public_names_are_used(file):
    for source in CODE[file]:
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef), source
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("erosion"), source
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_"), source
                if isinstance(node.value, ast.Name) and node.value.id == "er":
                    assert hasattr(er, node.attr)


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.stem)
def test_each_has_the_switch_and_says_what_it_does_not_show(file):
    assert 'MODEL = "organism"' in CODE[file][0]
    assert 'if MODEL == "organism":' in CODE[file][1]
    words = file.read_text()
    assert "## What this does not show" in words
    assert "## Try" in words
