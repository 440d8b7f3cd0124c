"""Docstrings as Markdown: roles become links, tables and examples are shown as such."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`([^`]+)`")
RULE = re.compile(r"^\s*=+(?: +=+)+\s*$")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of the package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Walk through the package."""
        _walk(pkg)


def as_markdown(text: str, link: Any = lambda name: f"`{name}`") -> str:
    """A docstring of this house as Markdown; ``link`` turns a role's target into text.

    >>> print(as_markdown("See :func:`read`.\\n>>> 1 + 1\\n2"))
    See `read`.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    <BLANKLINE>
    """
    lines = _fenced(_tables(text.splitlines()))
    out = ROLE.sub(lambda found: link(found.group(1)), "\n".join(lines))
    return re.sub(r"(?<=\S)::$", ":", out, flags=re.MULTILINE)


def _walk(scope: Any) -> None:
    _rewrite(scope)
    for member in getattr(scope, "members", {}).values():
        if not member.is_alias:
            _walk(member)


def _rewrite(one: Any) -> None:
    if one.docstring is not None:
        one.docstring.value = as_markdown(one.docstring.value, lambda name: _link(one, name))


def _link(one: Any, target: str) -> str:
    target = target.strip().lstrip("~!")
    shown = target.removeprefix("erosion.")
    head, *rest = target.split(".")
    try:
        path = target if head == "erosion" and rest else ".".join([one.resolve(head), *rest])
    except griffe.NameResolutionError:
        path = f"erosion.{target}"
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'


def _tables(lines: list[str]) -> list[str]:
    """The simple tables of reStructuredText as tables of Markdown."""
    out: list[str] = []
    at = 0
    while at < len(lines):
        if not RULE.match(lines[at]):
            out.append(lines[at])
            at += 1
            continue
        rules = [i for i in range(at, len(lines)) if RULE.match(lines[i])]
        inside = _block(lines, rules)
        out += inside
        at = rules[min(2, len(rules) - 1) if _has_head(lines, rules) else 1] + 1
    return out


def _has_head(lines: list[str], rules: list[int]) -> bool:
    return len(rules) > 2 and all(lines[i].strip() for i in range(rules[0] + 1, rules[2]))


def _block(lines: list[str], rules: list[int]) -> list[str]:
    spans = [found.span() for found in re.finditer("=+", lines[rules[0]])]
    ends = [start for start, _ in spans[1:]] + [None]
    head = _has_head(lines, rules)
    body = lines[rules[1] + 1 : rules[2]] if head else lines[rules[0] + 1 : rules[1]]
    rows: list[list[str]] = []
    for line in body:
        cells = [line[start:end].strip() for (start, _), end in zip(spans, ends, strict=True)]
        if cells[0] and not (rows and rows[-1][0].endswith(",")):
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    top = [""] * len(spans)
    if head:
        line = lines[rules[0] + 1]
        top = [line[start:end].strip() for (start, _), end in zip(spans, ends, strict=True)]
    rule = ["---"] * len(spans)
    return ["", *("| " + " | ".join(_cell(one) for one in row) + " |" for row in [top, rule, *rows]), ""]


def _cell(text: str) -> str:
    return text.replace("|", "&#124;") if "`" not in text else text.replace("|", "\\|")


def _fenced(lines: list[str]) -> list[str]:
    """Examples of a prompt (``>>>``) between fences, at the depth where they stand."""
    out: list[str] = []
    inside: str | None = None
    for line in lines:
        bare = line.strip()
        if inside is None and bare.startswith(">>> "):
            inside = line[: len(line) - len(line.lstrip())]
            out += [*([""] if out and out[-1].strip() else []), f"{inside}```pycon"]
        elif inside is not None and not bare:
            out.append(f"{inside}```")
            inside = None
        out.append(line)
    return [*out, f"{inside}```", ""] if inside is not None else out
