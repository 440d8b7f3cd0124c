"""Write one reference page for each room of the house, with every public name in it, and their index."""

import re
import sys
from importlib import import_module

import mkdocs_gen_files

import erosion

PAGES = {"erosion.reporting.comparison": "erosion.reporting"}  # a room's own rooms share its page
FROM_THE_TOP = (
    "exploring",
    "reporting",
    "figures",
    "comparing",
    "auditing",
    "organisms",
    "tuning",
    "experiments",
    "sweeps",
    "effects",
    "token_activations",
    "token_projections",
    "activations",
    "gradients",
    "metrics",
    "models",
    "interventions",
    "directions",
    "stats",
    "moments",
    "linalg",
    "prompts",
    "sites",
    "triads",
    "progress",
    "errors",
)
WHOLE = tuple(f"erosion.{name}" for name in erosion._WHOLE)  # er.figures and so on: every name in it


def rooms() -> dict[str, dict[str, str]]:
    """Room -> heading -> the path that is documented, for everything public, from the top of the house.

    A room that nobody placed stands at the end.
    """
    found: dict[str, dict[str, str]] = {}
    for room, names in {**erosion._ROOMS, "erosion.progress": ("progress",)}.items():
        page = found.setdefault(PAGES.get(room, room), {})
        page.update({f"er.{name}": path_of(room, name) for name in names})
    for room in WHOLE:
        page = found.setdefault(room, {})
        documented = set(page.values())
        short = room.removeprefix("erosion.")
        for name in import_module(room).__all__:
            if path_of(room, name) not in documented:
                page[f"er.{short}.{name}"] = path_of(room, name)
    placed = {f"erosion.{name}": i for i, name in enumerate(FROM_THE_TOP)}
    return dict(sorted(found.items(), key=lambda one: placed.get(one[0], len(placed))))


def path_of(room: str, name: str) -> str:
    """Where a public name is found; where a module of that name hides it, where it was defined."""
    value, path = getattr(import_module(room), name), f"{room}.{name}"
    return f"{value.__module__}.{value.__qualname__}" if path in sys.modules else path


def address(room: str) -> str:
    """The page of a room."""
    return f"reference/{room.removeprefix('erosion.')}.md"


def _page(room: str, names: dict[str, str]) -> str:
    lines = [f"# {room}", "", f"::: {room}", *_options(members="false", heading=""), ""]
    for heading, path in sorted(names.items(), key=lambda one: (one[0].count("."), one[0].lower())):
        aliases = {f"erosion.{heading.removeprefix('er.')}", f"{room}.{heading.split('.')[-1]}"} - {path}
        lines += [*(f"[](){{ #{alias} }}" for alias in sorted(aliases)), ""]
        lines += [f"::: {path}", *_options(heading=heading), ""]
    return "\n".join(lines)


def _options(*, heading: str, members: str = "") -> list[str]:
    lines = ["    options:"]
    if heading:
        lines += [f"      heading: {heading}", f"      toc_label: {heading}"]
    if members:
        lines += [
            f"      members: {members}",
            "      show_root_heading: false",
            "      show_root_toc_entry: false",
        ]
    return lines


def _index(found: dict[str, dict[str, str]]) -> str:
    rows = []
    for room, names in found.items():
        line = (import_module(room).__doc__ or "").strip().splitlines()[0]
        line = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line)
        short = room.removeprefix("erosion.")
        listed = " ".join(f"[`{heading}`][{path}]" for heading, path in sorted(names.items()))
        rows += [f"### [{short}]({short}.md)", "", line, "", listed, ""]
    return "\n".join(rows)


def write() -> None:
    """Write the pages into the site that is being built."""
    for room, names in rooms().items():
        with mkdocs_gen_files.open(address(room), "w") as file:
            file.write(_page(room, names))
    with mkdocs_gen_files.open("reference/index.md", "a") as file:
        file.write("\n" + _index(rooms()))


if __name__ == "<run_path>":  # how mkdocs-gen-files runs it; tests import it
    write()
