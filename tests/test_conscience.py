"""What the house promises about itself."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import erosion

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "erosion").rglob("*.py"))


def test_every_public_name_loads_and_is_documented() -> None:
    for name in erosion.__all__:
        value = getattr(erosion, name)
        assert name.startswith("__") or value.__doc__, name


def test_all_equals_the_public_namespace() -> None:
    assert set(dir(erosion)) == set(erosion.__all__)
    with pytest.raises(AttributeError, match="has no 'nothing'"):
        erosion.nothing  # noqa: B018


def test_editors_see_the_same_names() -> None:
    stub = (ROOT / "erosion" / "__init__.pyi").read_text(encoding="utf-8")
    seen = {
        (room, name)
        for room, name in re.findall(r"^from (\S+) import (\w+) as \w+$", stub, flags=re.MULTILINE)
    }
    there = {(room, name) for room, names in erosion._ROOMS.items() for name in names}
    there |= {("erosion", name) for name in erosion._WHOLE} | {("erosion.progress", "progress")}
    assert seen == there


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_names_only_what_it_has(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if name == "erosion.__main__":
        return
    module = import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), public


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_room_is_a_lumber_room(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "core", "base", "misc"}
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 320, "a module should be about 300 lines at most"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError", text)


def test_nothing_pickles() -> None:
    forbidden = re.compile(
        r"(?<!safetensors\.)torch\.(save|load)\(|import pickle|\bpickle\.(load|dump)|allow_pickle=True"
        r"|import joblib|trust_remote_code=True"
    )
    for path in MODULES:
        assert not forbidden.search(path.read_text(encoding="utf-8")), path


def test_only_the_models_room_knows_transformerlens_and_model_classes() -> None:
    for path in MODULES:
        room = path.relative_to(ROOT / "erosion").parts[0]
        if room == "models":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(("transformer_lens", "peft")), f"{path} imports {name}"
                assert not name.startswith("transformers"), f"{path} imports {name}"


def test_readme_commands_are_the_ones_that_exist() -> None:
    from erosion.cli.app import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    known |= {group.name for group in app.registered_groups}
    named = set(re.findall(r"(?:^|`|&& )erosion ([a-z-]+)", readme, flags=re.MULTILINE))
    assert named
    assert named <= known


def test_readme_python_names_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\ber\.([a-z_]+)", readme)):
        assert hasattr(erosion, name), name
