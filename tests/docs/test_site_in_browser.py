"""The built site in Chromium, opened from its folder: nothing is fetched or cut, and search finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PAGES = ("index.html", "gallery.html", "reference/experiments.html", "explanation/paper.html")


@dataclass
class Seen:
    """A page, what its console said, and which addresses outside the site it asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def seen(browser: Any, site: Path, name: str, *, width: int = 1280, dark: bool = False) -> Iterator[Seen]:
    """A page of the site, opened as a file; requests beyond its folder are cut and kept."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    found = Seen(context.new_page())

    def only_ours(route: Any) -> None:
        if route.request.url.startswith((site.as_uri(), "data:", "blob:")):
            route.continue_()
        else:
            found.asked.append(route.request.url)
            route.abort()

    context.route("**/*", only_ours)
    found.page.on("console", lambda m: found.said.append(m.text) if m.type in ("error", "warning") else None)
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.goto((site / name).as_uri())
    yield found
    context.close()


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (390, True)], ids=["desktop, light", "phone, dark"]
)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_fits(
    browser: Any,
    site: Path,
    name: str,
    width: int,
    dark: bool,
) -> None:
    with seen(browser, site, name, width=width, dark=dark) as found:
        found.page.wait_for_function("document.documentElement.classList.contains('js')")
        across = found.page.evaluate("document.documentElement.scrollWidth")
    assert found.said == []
    assert found.asked == []
    assert across <= width


def test_search_finds_without_a_server(browser: Any, site: Path) -> None:
    with seen(browser, site, "reference/files.html") as found:
        box = found.page.locator("input.md-search__input")
        box.click()
        results = found.page.locator(".md-search-result__item")
        for _ in range(10):  # the index is read in the background
            box.fill("")
            box.press_sequentially("competence margin", delay=20)
            found.page.wait_for_timeout(500)
            if results.count():
                break
        assert results.count() > 0
    assert found.said == []
