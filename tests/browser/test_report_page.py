"""The report as a reader meets it: drawn, linked, silent, and with every word shown as a word."""

import json

import pytest

from erosion.reporting import report
from tests.figures import results as made
from tests.reporting.test_report import NAMES, a_run

HOSTILE = (
    "<script>window.broken = 1</script>",
    '"><img src=x onerror="window.broken = 2">',
    "</span><b>",
    "&lt;b&gt;",
    "مرحبا",
    "🍳",
    "x" * 400,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of every section, with hostile names, questions and tokens."""
    folder = tmp_path_factory.mktemp("hostile")
    names = {**NAMES, "tuned": HOSTILE[1], "aligned": HOSTILE[4], "contrast": HOSTILE[0]}
    run = a_run(folder, names=names, domains=(*HOSTILE[:3], "code"))
    made.tokens(4, words=HOSTILE, asked=HOSTILE[0]).save(folder / "results" / "tokens.json")
    return run


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "slim"])
def page(request, run, tmp_path_factory):
    return report(run, out=tmp_path_factory.mktemp("page") / "r.html", slim=request.param)


def ready(watched):
    watched.page.wait_for_selector("html[data-ready]")
    return watched.page


def backgrounds(page):
    tokens = page.locator(".colored-tokens").nth(0).locator("span span")
    return tokens.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_picture_is_drawn_without_an_error_or_a_request(page, opened, width, dark):
    watched = opened(page, width=width, dark=dark)
    shown = ready(watched)
    charts = shown.locator(".chart")
    assert charts.count() > 15
    for i in range(charts.count()):
        charts.nth(i).scroll_into_view_if_needed()
        charts.nth(i).locator(".main-svg").first.wait_for()
    shown.locator(".tokens").scroll_into_view_if_needed()
    shown.locator(".colored-tokens").first.wait_for()
    assert watched.said == []
    assert watched.asked == []
    wide = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "the page scrolls sideways"
    assert shown.evaluate("window.broken") is None


def test_pictures_out_of_sight_wait_and_a_print_draws_them_all(page, opened):
    shown = ready(opened(page))
    assert 0 < shown.locator(".chart .main-svg").count() < 2 * shown.locator(".chart").count()
    shown.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert shown.evaluate(
        "[...document.querySelectorAll('.chart')].every(one => one.querySelector('.main-svg'))"
    )


def test_hostile_words_are_shown_as_they_are(page, opened):
    watched = opened(page)
    shown = ready(watched)
    shown.locator(".tokens").scroll_into_view_if_needed()
    shown.locator(".colored-tokens").first.wait_for()
    tokens = shown.locator(".colored-tokens").nth(0).locator("> span")
    said = [text.replace("\u200b", "").replace("\xa0", " ") for text in tokens.all_inner_texts()]
    assert said == list(HOSTILE)
    assert HOSTILE[0] in shown.locator(".asked-of").inner_text()
    tokens.nth(0).hover()
    assert shown.locator(".tokens script, .tokens img, .tokens b").count() == 0
    assert shown.locator("main img").count() == 0
    assert shown.evaluate("window.broken") is None
    assert watched.said == []


def test_the_layer_changes_the_colours_and_is_marked_in_every_figure(page, opened):
    shown = ready(opened(page))
    shown.locator(".tokens").scroll_into_view_if_needed()
    shown.locator(".colored-tokens").first.wait_for()
    before = backgrounds(shown)
    slider = shown.locator(".tokens input[type=range]")
    slider.focus()
    slider.press("Home")
    assert shown.locator("nav .layer output").inner_text() == "0"
    assert backgrounds(shown) != before
    first = backgrounds(shown)
    shown.locator("nav .layer input").focus()
    shown.locator("nav .layer input").press("End")
    assert shown.locator(".tokens output").inner_text() == "3"
    assert backgrounds(shown) != first
    chart = shown.locator(".over-layers").first
    marks = chart.locator("> div").evaluate(
        "one => one.layout.shapes.filter(s => s.yref === 'paper').map(s => s.x0)"
    )
    assert marks == [3]


def test_a_click_on_a_figure_chooses_its_layer(page, opened):
    shown = ready(opened(page))
    shown.locator("#dynamics").scroll_into_view_if_needed()
    shown.locator("#dynamics .over-layers").first.wait_for()
    shown.locator("#dynamics .over-layers > div").first.evaluate(
        "one => one.emit('plotly_click', {points: [{x: 1}]})"
    )
    assert shown.locator("nav .layer output").inner_text() == "1"


def test_measures_questions_and_the_prompt_can_be_chosen_and_read_as_a_table(page, run, opened):
    shown = ready(opened(page))
    shown.locator(".tokens").scroll_into_view_if_needed()
    shown.locator(".colored-tokens").first.wait_for()
    assert shown.locator(".panel").count() == 4
    shown.locator(".tokens select").nth(1).select_option("KL")
    assert shown.locator(".panel").count() == 2
    shown.locator(".tokens select").nth(0).select_option("1")
    shown.locator(".tokens summary").click()
    asked = run.result("tokens")["shown"][1]["answers"]["aligned"]["KL"]
    cells = shown.locator(".tokens tbody tr td:nth-child(2)").all_inner_texts()
    assert [float(one) for one in cells] == pytest.approx(asked, rel=5e-3)
    shown.locator(".tokens select").nth(1).select_option("position")
    few = shown.locator(".colored-tokens").nth(0).locator("> span").count()
    shown.get_by_label("with the prompt").check()
    assert shown.locator(".colored-tokens").nth(0).locator("> span").count() == few + 3


def test_tables_are_there_when_they_are_opened(page, opened):
    shown = ready(opened(page))
    shown.locator("#distributions details summary").first.click()
    cell = shown.locator("#distributions details").first.locator("th", has_text="harm margin").first
    cell.wait_for()
    assert cell.is_visible()


def test_text_reaches_four_and_a_half_to_one_in_light_and_dark(page, opened):
    """Contrast of WCAG 2 (relative luminance), of every piece of text against what lies behind it."""
    for dark in (False, True):
        shown = ready(opened(page, dark=dark))
        worst = json.loads(shown.evaluate(CONTRAST))
        assert worst["ratio"] >= 4.5, worst


CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = { ratio: 99 };
  const all = "h1, h2, h3, p, dt, dd, td, th, a, span, summary, label, small, code";
  for (const one of document.querySelectorAll(all)) {
    if (one.closest(".colored-tokens") || !one.textContent.trim() || !one.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: one.textContent.slice(0, 60), tag: one.tagName };
  }
  return JSON.stringify(worst);
})()"""
