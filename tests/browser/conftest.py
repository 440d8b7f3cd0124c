"""The system's Chromium, its network cut, watched for errors in the console and for requests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Watched:
    """An open page, what its console said, and what it asked of anyone but its own origin."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Watched]]:
    """``opened(address, width=1280, dark=False)``: a page in a context of its own; closed afterwards."""
    contexts = []

    def open_page(
        address: str | Path, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> Watched:
        address = address.resolve().as_uri() if isinstance(address, Path) else address
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.on(
            "console", lambda m: watched.said.append(m.text) if m.type in ("error", "warning") else None
        )
        watched.page.on("pageerror", lambda error: watched.said.append(str(error)))
        origin = address.split("?")[0] if address.startswith("file:") else "/".join(address.split("/")[:3])
        context.route("**/*", lambda route: _only(route, origin, watched.asked))
        watched.page.goto(address)
        return watched

    yield open_page
    for one in contexts:
        one.close()


def _only(route: Any, origin: str, asked: list[str]) -> None:
    address = route.request.url
    if address.startswith(origin) or address.startswith(("data:", "blob:")):
        route.continue_()
    else:
        asked.append(address)
        route.abort()
