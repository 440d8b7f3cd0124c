"""Write the reference of the command line from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import mkdocs_gen_files
import typer

from erosion.cli.app import app

EXITS = """
| exit code | means |
| --- | --- |
| 0 | done |
| 1 | the gate did not pass (`erosion gate` only) |
| 2 | bad input: one line on stderr says the fact, the values and the remedy |
| 3 | interrupted and resumable (Ctrl-C, SIGTERM) |
| 4 | a bug of ours: one line on stderr, the traceback in a `log.txt` that the line names |
"""


def walk(command: Any, name: str = "erosion") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for short, one in getattr(command, "commands", {}).items():
        full = f"{name} {short}"
        if hasattr(one, "commands"):
            yield from walk(one, full)
        else:
            yield full, one


def section(name: str, command: Any) -> str:
    """One command: what it does, its example, its arguments and options."""
    said = [part.strip() for part in (command.help or "").split("\n\n")]
    lines = [f"## {name}", ""]
    for part in said:
        if part.startswith("Example: "):
            lines += ["```bash", " ".join(part.removeprefix("Example: ").split()), "```", ""]
        else:
            lines += [_escaped(" ".join(part.split())), ""]
    context = typer.Context(command, info_name=name)
    for kind in ("argument", "option"):
        asked = (one for one in command.params if one.param_type_name == kind and one.name != "help")
        records = [record for one in asked if (record := one.get_help_record(context))]
        if records:
            rows = [f"| `{_escaped(takes)}` | {_escaped(means)} |" for takes, means in records]
            lines += [f"| {kind} | meaning |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[")


def _page() -> str:
    intro = "Written from the commands themselves. `--help` says the same; `--json` answers a program."
    sections = [section(name, one) for name, one in walk(typer.main.get_command(app))]
    return "\n".join(["# Commands", "", intro, EXITS, *sections])


if __name__ == "<run_path>":  # how mkdocs-gen-files runs it; tests import it
    with mkdocs_gen_files.open("reference/commands.md", "w") as _file:
        _file.write(_page())
