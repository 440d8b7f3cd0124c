"""Laws of comparisons drawn and written: no claim beyond its interval, no name that becomes markup."""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from erosion.comparing import Comparison, compare
from erosion.errors import BadInput
from erosion.figures import comparison, comparison_claims
from erosion.figures.style import DARK
from erosion.reporting import comparison as writing
from erosion.reporting.comparison import report_comparison
from erosion.reporting.comparison_tables import domain_table, main_table
from erosion.stats import Estimate
from tests.auditing.planted_runs import margins, planted, saved
from tests.figures.results import HOSTILE
from tests.reporting.test_report import MIB, Page

NAN = math.nan


def compared(
    folder: Path, eroded: Sequence[float], *, names: Sequence[str] = (), base: bool = True
) -> Comparison:
    named = {}
    for i, one in enumerate(margins(eroded)):
        values = one if base else {k: v for k, v in one.items() if k != "base"}
        run = planted(f"run {i}", values)
        named[names[i] if names else f"run {i}"] = saved(folder / f"r{i}", run)
    return compare(named)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("runs"), [0.3, 0.6, 0.31])


def replaced(three: Comparison, **intervals: tuple[float, float]) -> Comparison:
    """The comparison with other intervals of erosion over all domains."""
    changed = []
    for one in three.differences:
        ends = intervals.get(one.row.replace(" ", "_"))
        if ends and one.quantity == "erosion" and one.domain is None:
            value = sum(ends) / 2
            made = Estimate(value, *ends, "fraction", 96, "t", why="no base" if math.isnan(value) else None)
            one = dataclasses.replace(one, estimate=made)
        changed.append(one)
    return dataclasses.replace(three, differences=tuple(changed))


@pytest.mark.parametrize(
    ("second", "third", "said"),
    [
        ((0.2, 0.4), (0.3, 0.5), "more erosion in run 1 and run 2"),
        ((0.2, 0.4), (-0.4, -0.3), "more erosion in run 1; less erosion in run 2"),
        (
            (-0.2, 0.4),
            (-0.05, 0.05),
            "a difference below 0.1 in run 2; no difference established in run 1",
        ),
        ((NAN, NAN), (-0.2, 0.4), "no difference established in run 2; undefined in run 1"),
    ],
)
def test_a_title_says_what_the_intervals_say(three: Comparison, second: Any, third: Any, said: str) -> None:
    assert (
        comparison_claims.compared_runs(replaced(three, run_1=second, run_2=third))
        == f"Held against run 0: {said}"
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.2, 0.4), "Run 1 shows more erosion than run 0: a difference of 0.30 [0.20, 0.40] fraction"),
        ((0.01, 0.03), "fraction, less than 0.1"),
        ((-0.4, -0.2), "Run 1 shows less erosion than run 0"),
        ((-0.05, 0.05), "Run 1 and run 0 differ by less than 0.1 fraction"),
        ((-0.05, 0.2), "No difference between run 1 and run 0 is established"),
        ((NAN, NAN), "have no difference here: no base"),
    ],
)
def test_the_title_of_two_runs_has_the_number(three: Comparison, ends: Any, said: str) -> None:
    two = dataclasses.replace(three, differences=tuple(d for d in three.differences if d.row == "run 1"))
    assert said in comparison_claims.compared_runs(replaced(two, run_1=ends))


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize("base", [True, False], ids=["with base", "without base"])
def test_two_to_twenty_runs_can_be_drawn(tmp_path: Path, count: int, base: bool) -> None:
    found = compared(tmp_path, [i / count for i in range(count)], base=base)
    figure = comparison.compared_runs(found)
    assert len(figure.layout.yaxis.ticktext) == len(figure.layout.yaxis2.ticktext) == count
    drawn = [len(trace.x) for trace in figure.data if trace.yaxis == "y2"]
    assert drawn == [count - 1]
    assert comparison_claims.compared_runs(found) == figure.layout.title.text.replace("<br>", " ")
    by_domain = comparison.compared_domains(found)
    assert (by_domain is None) == (count - 1 > comparison.MOST)
    assert len(main_table(found).rows) == count
    assert len(domain_table(found).columns) == count


def test_an_undefined_difference_is_said_and_not_drawn(three: Comparison) -> None:
    figure = comparison.compared_runs(replaced(three, run_1=(NAN, NAN)))
    assert "undefined" in [note.text for note in figure.layout.annotations]
    assert [len(trace.x) for trace in figure.data if trace.yaxis == "y2"] == [1]


def test_zero_and_the_smallest_of_interest_are_lines(three: Comparison) -> None:
    figure = comparison.compared_runs(three)
    at = sorted((shape.xref, shape.x0) for shape in figure.layout.shapes)
    assert at == [("x", 0.0), ("x", 0.1), ("x2", -0.1), ("x2", 0.0), ("x2", 0.1)]
    assert "smallest of interest 0.1" in [trace.name for trace in figure.data]


def test_runs_that_are_not_paired_are_marked(tmp_path: Path) -> None:
    one, other = margins([0.3, 0.6])
    found = compare(
        [saved(tmp_path / "a", planted("a", one)), saved(tmp_path / "b", planted("b", other, kept=False))]
    )
    figure = comparison.compared_runs(found)
    assert figure.layout.yaxis2.ticktext == ("a", "b<br><i>unpaired</i>")
    assert figure.layout.yaxis.ticktext == ("a", "b")


def test_every_colour_has_a_dark_twin(three: Comparison) -> None:
    for figure in (comparison.compared_runs(three), comparison.compared_domains(three)):
        assert figure is not None
        words = json.dumps(figure.to_dict(), default=str).split('"')
        assert {one for one in words if one.startswith(("#", "rgba"))} - {"rgba(0,0,0,0)"} <= DARK.keys()


# ---------------------------------------------------------------- page


@pytest.fixture
def plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "get_plotlyjs", lambda: 'window.Plotly = {text: "</script>"};')


@pytest.fixture
def page(three: Comparison, tmp_path: Path, plotly: None) -> Page:
    return Page(report_comparison(three, out=tmp_path / "compare.html").read_text(encoding="utf-8"))


def test_the_page_asks_nothing_of_the_network(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"src", "srcset", "data", "action"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page.css
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_can_be_walked_and_its_pictures_have_words(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    links = [str(a["href"]) for tag, a in page.tags if tag == "a"]
    assert links
    assert all(link[1:] in ids for link in links)
    charts = [a for _, a in page.tags if a.get("class") == "chart"]
    assert page.specs == [DARK]
    assert [a["data-chart"] for a in charts] == ["0", "1"]
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    assert len([tag for tag, _ in page.tags if tag == "h1"]) == 1


def test_the_page_has_all_that_the_script_of_the_report_reads(page: Page) -> None:
    script = (writing._PAGE / "page.js").read_text(encoding="utf-8")
    read = set(re.findall(r"""(?:read|getElementById)\("([a-z]+)"\)""", script))
    assert read
    assert read <= {attributes.get("id") for _, attributes in page.tags}
    assert "nav ul" not in script or any(tag == "nav" for tag, _ in page.tags)


def test_what_the_page_does_not_show_stands_on_it(page: Page) -> None:
    for limit in writing.LIMITS:
        assert limit in page.text
    assert "erosion compare --label" in page.text


def test_no_name_becomes_markup_or_script(tmp_path: Path, plotly: None) -> None:
    names = [*HOSTILE, "line\nbreak\x1b[2J", "rtl \u202e override"]
    found = compared(tmp_path, [0.1 * i for i in range(len(names))], names=names)
    source = report_comparison(found, out=tmp_path / "compare.html").read_text(encoding="utf-8")
    page = Page(source)
    scripts = len([tag for tag, _ in page.tags if tag == "script"])
    assert source.count("<script") == source.count("</script") == scripts == 4
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert "alert(1)" in page.text
    assert "\x1b" not in source
    assert "line break" in page.text
    text = comparison.compared_runs(found).to_json()
    assert "<script" not in text.replace("\\u003c", "<")
    assert "$x$" not in text


def test_the_same_comparison_gives_the_same_bytes(three: Comparison, tmp_path: Path, plotly: None) -> None:
    one, again = (report_comparison(three, out=tmp_path / f"{i}.html").read_bytes() for i in "ab")
    assert one == again


def test_the_whole_page_is_below_six_megabytes(three: Comparison, tmp_path: Path) -> None:
    written = report_comparison(three, out=tmp_path / "whole.html")
    assert len(get_plotlyjs()) < written.stat().st_size < 6 * MIB
    assert report_comparison(three, out=written, slim=True).stat().st_size < 3 * MIB


def test_a_page_is_written_where_a_page_belongs(three: Comparison, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends in \.html"):
        report_comparison(three, out=tmp_path / "manifest.json")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        report_comparison(three, out=tmp_path / "folder.html")
