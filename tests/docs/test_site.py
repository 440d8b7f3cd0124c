"""The site: every public name has an entry, every command and figure a place, and nothing warns."""

import re
import runpy
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import erosion as er
from erosion.experiments.results import NOT_DONE
from tests.docs.pages import DOCS


def _names_of(script: str) -> dict[str, Any]:
    """What a script that writes pages defines; under this name it writes none."""
    return runpy.run_path(str(DOCS / "_pages" / f"{script}.py"), run_name="read")


class _Anchors(HTMLParser):
    """Identifiers of a page, and what it loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.entries: set[str] = set()  # what mkdocstrings wrote an entry of
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids.add(told.get("id") or "")
        if "doc-heading" in (told.get("class") or "").split():
            self.entries.add(told.get("id") or "")
        if tag == "a" and told.get("href"):
            self.links.append(told["href"] or "")
        loads = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
        if tag == "link" and told.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.loaded.append(told.get("href") or "")
        elif tag in loads:
            self.loaded.append(told.get(loads[tag]) or "")


def _read(page: Path) -> _Anchors:
    found = _Anchors()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_public_name_has_an_entry_in_the_reference(site: Path) -> None:
    entries = set().union(*(_read(page).entries for page in (site / "reference").glob("*.html")))
    told = {name: path for names in _names_of("rooms")["rooms"]().values() for name, path in names.items()}
    assert set(told.values()) <= entries, sorted(set(told.values()) - entries)
    public = {f"er.{name}" for name in er.__all__} - {"er.__version__", *(f"er.{one}" for one in er._WHOLE)}
    assert public <= set(told), sorted(public - set(told))
    once = set(told.values())
    for whole in er._WHOLE:
        for name in getattr(er, whole).__all__:
            assert _names_of("rooms")["path_of"](f"erosion.{whole}", name) in once, f"er.{whole}.{name}"


def test_every_room_is_in_the_navigation(site: Path) -> None:
    rooms = _names_of("rooms")
    shown = (site / "reference" / "files.html").read_text(encoding="utf-8")
    for room in rooms["rooms"]():
        page = rooms["address"](room).removeprefix("reference/").replace(".md", ".html")
        assert f'href="{page}"' in shown, page


def test_every_command_has_a_section(site: Path) -> None:
    import typer

    from erosion.cli.app import app

    walk = _names_of("commands")["walk"]
    names = [name for name, _ in walk(typer.main.get_command(app))]
    ids = _read(site / "reference" / "commands.html").ids
    assert len(names) > 20
    assert {name.replace(" ", "-") for name in names} <= ids


def test_every_figure_has_a_place_in_the_gallery(site: Path) -> None:
    gallery = _names_of("gallery")
    assert gallery["unlisted"]() == []
    ids = _read(site / "gallery.html").ids
    assert {name for figures in gallery["listed"]().values() for name in figures} <= ids


def test_calls_of_the_gallery_draw(run: Any) -> None:
    listed = _names_of("gallery")["listed"]()
    calls = [entry["call"] for figures in listed.values() for entry in figures.values()]
    # the small run has neither checkpoints nor neutral texts
    absent = {"trajectories"} | {one for one in run.experiments if NOT_DONE in run.result(one).inputs}
    of_run = [call for call in calls if "run." in call and not any(f'"{one}"' in call for one in absent)]
    of_run.remove('er.figures.damage(run.result("causality"))')
    assert len(of_run) > 35
    for call in of_run:
        assert eval(call, {"er": er, "run": run}) is not None, call


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        outside = [one for one in _read(page).loaded if re.match(r"(https?:)?//", one)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"


def test_every_link_inside_the_site_has_a_target(site: Path) -> None:
    pages = {page: _read(page) for page in site.rglob("*.html") if page.name != "404.html"}
    lost = []
    for page, found in pages.items():
        for link in found.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            there = pages[target].ids if target in pages else None
            if not target.exists() or (there is not None and anchor and anchor not in there):
                lost.append(f"{page.relative_to(site)} -> {link}")
    assert len(pages) > 50
    assert not lost


def test_roles_and_raw_tables_of_docstrings_are_gone(site: Path) -> None:
    for page in (site / "reference").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r":(func|class|meth|mod|data|attr):", text), page.name
        assert "======" not in text, page.name
        assert not re.search(r"\]\[erosion[\w.]*\]", text), f"{page.name}: a reference that nothing answers"


def test_docstrings_become_markdown() -> None:
    as_markdown: Callable[..., str] = _names_of("docstrings")["as_markdown"]
    table = "====  =====\nname  means\n====  =====\none   a | b\n      and c\n====  ====="
    assert as_markdown(table).strip().splitlines() == [
        "| name | means |",
        "| --- | --- |",
        "| one | a &#124; b and c |",
    ]
    assert as_markdown("See :func:`~erosion.read`.") == "See `~erosion.read`."
    assert as_markdown("A list::\n\n    x") == "A list:\n\n    x"
    assert as_markdown(">>> 1 + 1\n2") == "```pycon\n>>> 1 + 1\n2\n```\n"


def test_no_generated_page_lies_among_the_written_ones() -> None:
    written = {path.name for path in (DOCS / "reference").glob("*.md")}
    assert written == {"index.md", "config.md", "files.md"}
    assert not (DOCS / "gallery.md").exists()
