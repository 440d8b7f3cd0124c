"""The page of a comparison as a reader meets it: drawn, silent, no wider than the screen, names as names."""

from pathlib import Path
from typing import Any

import pytest

from erosion.comparing import compare
from erosion.reporting.comparison import report_comparison
from tests.auditing.planted_runs import margins, planted, saved

HOSTILE = (
    "<script>window.broken = 1</script>",
    '"><img src=x onerror="window.broken = 2">',
    "مرحبا",
    "x" * 300,
)


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "slim"])
def page(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    named = {
        name: saved(folder / f"r{i}", planted(name, one))
        for i, (name, one) in enumerate(zip(HOSTILE, margins([0.0, 0.6, 0.4, 0.5]), strict=True))
    }
    return report_comparison(compare(named), out=folder / "compare.html", slim=request.param)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_both_pictures_are_drawn_without_an_error_or_a_request(
    page: Path, opened: Any, width: int, dark: bool
) -> None:
    watched = opened(page, width=width, dark=dark)
    shown = watched.page
    shown.wait_for_selector("html[data-ready]")
    charts = shown.locator(".chart")
    assert charts.count() == 2
    for i in range(2):
        charts.nth(i).scroll_into_view_if_needed()
        charts.nth(i).locator(".main-svg").first.wait_for()
    assert watched.said == []
    assert watched.asked == []
    assert shown.evaluate("window.broken") is None
    wide = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
