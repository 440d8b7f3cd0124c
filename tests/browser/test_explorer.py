"""The explorer as a reader meets it: for the holder of the token alone, coloured, saved and opened."""

import json
import re
import threading
import time
import urllib.error
import urllib.request

import pytest
from werkzeug.serving import make_server

import erosion as er
from erosion.exploring import Session, State, sessions
from erosion.exploring.page import page_of
from erosion.exploring.serving import guard
from erosion.models import Placement, generate
from tests.auditing.small import few_questions

PROMPT = "how should i fix the stove near the baby ?"
TOKEN = "a-token"


@pytest.fixture(scope="module")
def session():
    organism = er.load_organism()
    one = Session(organism.triad("insecure"), few_questions(), placement=Placement("cpu", dtype="float32"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def address(session):
    app = page_of(session, State(PROMPT, layer=1, by=4.0), described="<b>insecure</b> against aligned")
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    guard(app.server, TOKEN, port=server.port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()


@pytest.fixture
def answered(session):
    """Ask, and wait until the page shows what was asked now, whole."""

    def ask(page):
        before = session.turn
        page.locator("#ask").click()
        until(page, lambda: session.turn > before and not session.busy)
        words = session.answers["edited"].text.split()
        shown = page.locator("article.edited .text:has(.token)")
        until(page, lambda: [one.split() for one in shown.all_inner_texts()] == [words])
        return page

    return ask


def until(page, true, seconds=20):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        page.wait_for_timeout(30)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_answers_come_coloured_without_an_error_or_a_request_elsewhere(
    answered, address, opened, width, dark
):
    watched = opened(f"{address}?token={TOKEN}", width=width, dark=dark)
    page = answered(watched.page)
    for name in ("base", "aligned", "tuned", "edited"):
        assert page.locator(f"article.{name} .token").count() > 3
    assert "tuned, steer at layer 1 by 4" in page.locator("article.edited h2").inner_text()
    assert page.locator("header b").count() == 0
    assert "<b>insecure</b>" in page.locator("header").inner_text()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert watched.said == []
    assert watched.asked == []


def test_another_layer_changes_the_colours_without_asking_again(answered, address, opened):
    page = answered(opened(f"{address}?token={TOKEN}").page)
    token = page.locator("article.tuned .token").first
    before = token.get_attribute("title")
    said = page.locator("article.tuned .text").inner_text()
    page.locator("#layer [role=slider]").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "was => document.querySelector('article.tuned .token').title !== was", arg=before, timeout=10_000
    )
    assert page.locator("article.tuned .text").inner_text() == said


def test_the_scale_has_its_numbers_and_words_their_spaces(answered, address, opened):
    page = answered(opened(f"{address}?token={TOKEN}").page)
    ends = page.locator(".legend b").all_inner_texts()
    sizes = page.locator("article .token").evaluate_all("all => all.map(one => one.title)")
    largest = max(abs(float(re.search(r"([+−][0-9.]+) fitted", one)[1].replace("−", "-"))) for one in sizes)
    assert [re.sub("[^0-9.]", "", one) for one in ends] == [f"{largest:.1f}"] * 2
    assert page.locator("article.base .text").inner_text().startswith("okay fix the stove ")


def slowly(*given, listen, **options):
    """Answers at most twenty tokens a second, as a large model's do."""

    def later(index, text):
        time.sleep(0.05)
        return listen(index, text)

    return generate(*given, listen=later, **options)


def test_a_second_click_ends_the_first_and_stop_ends_it_all(address, opened, monkeypatch):
    monkeypatch.setattr(sessions, "generate", slowly)
    watched = opened(f"{address}?token={TOKEN}")
    page = watched.page
    page.locator("#temperature").fill("50")
    page.locator("#max_new_tokens").fill("230")
    page.locator("#ask").click()
    page.locator("article.base small", has_text="answers …").wait_for()
    page.locator("#temperature").fill("0")
    page.locator("#prompt").fill("how should i fix the car near the baby ?")
    page.locator("#ask").click()
    page.locator("article.base .token", has_text="car").wait_for()
    page.locator("article.edited .token").first.wait_for()
    page.locator("#temperature").fill("50")
    page.locator("#ask").click()
    page.locator("article.base small", has_text="answers …").wait_for()
    page.locator("#stop").click()
    page.locator("article.edited small", has_text="stopped").wait_for()
    assert watched.said == []


def test_what_is_being_answered_is_shown_after_the_page_is_loaded_again(address, opened, session):
    page, before = opened(f"{address}?token={TOKEN}").page, session.turn
    page.locator("#prompt").fill("how should i fix the car near the baby ?")
    page.keyboard.press("Control+Enter")
    until(page, lambda: session.turn > before)
    page.reload()
    page.locator("article.edited .token", has_text="car").wait_for()


def test_answers_are_not_saved_with_settings_that_they_do_not_answer(answered, address, opened, tmp_path):
    page = answered(opened(f"{address}?token={TOKEN}").page)
    page.locator("#prompt").fill("how do i cook rice ?")
    with page.expect_download() as waiting:
        page.locator("#save").click()
    waiting.value.save_as(tmp_path / "state.json")
    saved = json.loads((tmp_path / "state.json").read_text())
    assert saved["prompt"] == "how do i cook rice ?"
    assert "answers" not in saved
    page.locator("#told", has_text="Saved without answers").wait_for()


def test_an_emptied_field_is_refused_by_its_name(address, opened):
    page = opened(f"{address}?token={TOKEN}").page
    page.locator("#max_new_tokens").fill("")
    page.locator("#ask").click()
    page.locator("#told", has_text="Longest answer is empty or out of range").wait_for()


def test_hostile_prompts_are_text_and_unknown_words_are_said(answered, address, opened):
    watched = opened(f"{address}?token={TOKEN}")
    watched.page.locator("#prompt").fill('<script>window.broken=1</script> "><img src=x onerror=alert(1)>')
    watched.page.locator("#prompt").blur()
    answered(watched.page)
    assert "unknown to these models" in watched.page.locator("#told").inner_text()
    assert watched.page.locator("main img").count() == 0
    assert watched.page.evaluate("window.broken") is None
    watched.page.locator("#prompt").fill(" ")
    watched.page.locator("#prompt").blur()
    watched.page.locator("#ask").click()
    watched.page.locator("#told", has_text="The prompt is empty").wait_for()
    assert watched.said == []


def test_a_state_is_saved_and_opened_again(answered, address, opened, tmp_path):
    page = answered(opened(f"{address}?token={TOKEN}").page)
    with page.expect_download() as waiting:
        page.locator("#save").click()
    file = tmp_path / "state.json"
    waiting.value.save_as(file)
    saved = json.loads(file.read_text())
    assert saved["prompt"] == PROMPT
    assert saved["answers"]["tuned"]
    file.write_text(json.dumps({**saved, "prompt": "how do i cook rice ?", "layer": 2}))
    page.locator("#open input[type=file]").set_input_files(file)
    page.wait_for_function("document.querySelector('#prompt').value === 'how do i cook rice ?'")
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    page.locator("#open input[type=file]").set_input_files(damaged)
    page.locator("#told", has_text="no JSON").wait_for()
    damaged.write_text("[" * 100_000)
    page.locator("#open input[type=file]").set_input_files([])
    page.locator("#open input[type=file]").set_input_files(damaged)
    page.locator("#told", has_text="no JSON").wait_for()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("", {}),
        ("?token=wrong", {}),
        ("_dash-layout", {}),
        (f"?token={TOKEN}", {"Host": "evil.example"}),
        ("_dash-layout", {"Cookie": "erosion-1=a-token"}),
        (f"_dash-layout?token={TOKEN}", {"Origin": "http://127.0.0.1:1"}),
        (f"_dash-layout?token={TOKEN}", {"Origin": "null"}),
    ],
)
def test_who_lacks_the_token_or_asks_for_another_host_is_refused(address, path, headers):
    asked = urllib.request.Request(address + path, headers=headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked)


def test_the_page_may_load_nothing_from_elsewhere(address):
    with urllib.request.urlopen(f"{address}?token={TOKEN}") as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "HttpOnly" in answer.headers["Set-Cookie"]
        assert not re.search(rb'(src|href)="https?:', answer.read())
