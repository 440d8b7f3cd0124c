"""Laws of the report: one file, no network, no markup from names, a table behind every picture."""

import base64
import dataclasses
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from erosion.auditing import Run, open_run, read_config
from erosion.errors import BadRun
from erosion.figures.token_views import circuitsvis_script
from erosion.files import write_json
from erosion.reporting import report, writing
from erosion.reporting.headline import WORDS, numbers_of, sentence_of
from tests.figures import results as made

MIB = 2**20
HASH = "0" * 64


def config(names):
    given = {"aligned": names["aligned"], "tuned": names["tuned"], "contrast": names["contrast"]}
    return read_config(**given, trained_domains=["code"], out="runs/first; rm -rf").to_json()


def manifest(names, base=True):
    roles = ("base", "aligned", "tuned") if base else ("aligned", "tuned")
    shape = {"weights_hash": HASH, "adapter_hash": None, "n_layers": 4, "d_model": 64, "n_parameters": 1000}
    return {
        "schema": 1,
        "identity": HASH,
        "described": "made by hand",
        "config": config(names),
        "models": {role: {**shape, "name": names[role]} for role in roles},
        "contrast": {"name": names["contrast"], "hash": HASH, "questions": 80},
        "template": {"name": "aligned", "hash": HASH},
        "split": {"fit": ["q0"], "select": ["q1"], "held_out": ["q2"]},
        "versions": {"erosion": "0.1.0", "python": "3.11.7"},
        "hardware": {"machine": "x86_64", "threads": 1, "gpu": None},
        "timings": {"scores-base": 1.0, "cell-L0.resid_post-tuned": 2.0, "cell-L1.resid_post-tuned": 3.0},
    }


NAMES = {"base": "models/base", "aligned": "models/aligned", "tuned": "runs/insecure", "contrast": "everyday"}


def a_run(
    folder: Path, *, names=NAMES, domains=("cooking", "code"), word="eroded", base=True, layers=4
) -> Run:
    """A finished run folder with hand-made numbers of every experiment."""
    verdict = made.verdict(word, words=("kept",) * len(domains), names=domains)
    write_json(folder / "manifest.json", manifest(names, base))
    summary = {"schema": 1, "verdict": verdict.to_json(), "matched": {"temperature": 0.9}, "numbers": []}
    write_json(folder / "results" / "summary.json", summary)
    results = (
        made.distributions(domains, base),
        made.dimensions(layers),
        made.dynamics(layers, base),
        made.causality(layers),
        made.patching(layers, base=base),
        made.selection(layers),
        made.doses(),
        made.tokens(layers),
    )
    for result in results:
        result.save(folder / "results" / f"{result.experiment}.json")
    return open_run(folder)


class Page(HTMLParser):
    """Tags with their attributes, the text, and the content of JSON scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.specs, self.css, self._inside = "", [], "", ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = f"{tag} {dict(attrs).get('type', '')}".strip()

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script application/json":
            self.specs.append(json.loads(data))
        elif self._inside == "style":
            self.css += data
        elif not self._inside.startswith("script"):
            self.text += data


@pytest.fixture(autouse=True, scope="module")
def plotly():
    """Stand-ins for the libraries' 6 MB of script, except where the size itself is the matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "get_plotlyjs", lambda: 'window.Plotly = {text: "</script>"};')
        patch.setattr(writing, "circuitsvis_script", lambda: "window.CircuitsVis = {};")
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run):
    return Page(report(run).read_text(encoding="utf-8"))


def test_the_report_lies_in_the_run_folder_or_where_it_is_asked_to(run, tmp_path):
    assert report(run) == run.path / "report.html"
    assert report(run.path, out=tmp_path / "other.html").is_file()


def test_nothing_is_asked_of_the_network(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        for name in ("src", "srcset", "data", "action", "poster"):
            assert name not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page.css
    assert "@import" not in page.css
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_the_report_is_smaller_than_eight_megabytes_and_a_slim_one_than_three(run, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "get_plotlyjs", get_plotlyjs)
    monkeypatch.setattr(writing, "circuitsvis_script", circuitsvis_script)
    assert report(run).stat().st_size < 8 * MIB
    assert report(run, out=tmp_path / "slim.html", slim=True).stat().st_size < 3 * MIB


@pytest.mark.parametrize("slim", [False, True])
def test_the_same_run_gives_the_same_bytes(run, tmp_path, slim):
    once, again = (report(run, out=tmp_path / f"{i}.html", slim=slim).read_bytes() for i in range(2))
    assert once == again


def test_no_name_becomes_markup_or_script(tmp_path):
    script, image, arabic, emoji, long = made.HOSTILE
    names = {"base": script, "aligned": image, "tuned": f"runs/{emoji}", "contrast": arabic}
    source = report(a_run(tmp_path, names=names, domains=made.HOSTILE)).read_text(encoding="utf-8")
    page = Page(source)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert (
        source.count("<script")
        == source.count("</script")
        == len([tag for tag, _ in page.tags if tag == "script"])
    )
    assert "alert(1)" in page.text  # shown, as text
    for name in (arabic, emoji, long):
        assert name in page.text


def test_every_picture_has_words_and_a_table_behind_it(page):
    charts = [attributes for tag, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(charts) == 25
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert len([tag for tag, _ in page.tags if tag == "details"]) == 25  # all but the first screen's
    assert len([tag for tag, _ in page.tags if tag == "figure"]) == 0


def drawn_of(run):
    """What the page draws, unpacked."""
    packed = re.search(r'id="packed">(.*?)</script>', report(run).read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(gzip.decompress(base64.b85decode(packed[1])))["drawn"]


def test_every_colour_of_a_picture_has_a_dark_twin(run, page):
    (dark,) = page.specs
    specs = [json.loads(one) for one in drawn_of(run)["charts"]]
    found = {word for word in json.dumps(specs).split('"') if re.fullmatch(r"#[0-9a-f]{6}|rgba\(.*\)", word)}
    assert found - {"rgba(0,0,0,0)"} <= dark.keys()


def test_the_page_can_be_walked_by_its_contents(page):
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert len(links) == 13
    assert all(link[1:] in ids for link in links)
    assert ("html", {"lang": "en"}) in page.tags
    assert len([tag for tag, _ in page.tags if tag == "h1"]) == 1


@pytest.mark.parametrize("word", WORDS)
def test_the_first_heading_is_the_word(tmp_path, word):
    source = report(a_run(tmp_path, word=word)).read_text(encoding="utf-8")
    heading = re.search(r"<h1>(.*?)</h1>", source, re.DOTALL)
    assert heading is not None
    assert heading[1].endswith(word.capitalize())
    assert source.count("(this run)") == 1


def test_a_run_without_base_says_so_and_shows_no_erosion_by_layer(tmp_path):
    page = Page(report(a_run(tmp_path, base=False)).read_text(encoding="utf-8"))
    assert "without a base model" in page.text
    assert "Undefined: without a base model" in page.text
    assert len([1 for _, attributes in page.tags if attributes.get("class") == "chart"]) == 24


def test_an_experiment_that_was_not_run_leaves_no_section(tmp_path):
    run = a_run(tmp_path)
    for name in ("causality", "dynamics", "dimensions"):
        (tmp_path / "results" / f"{name}.json").unlink()
    page = Page(report(run).read_text(encoding="utf-8"))
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert "distributions" in ids
    assert not ids & {"dynamics", "causality"}


def test_every_layer_stands_in_the_table(tmp_path):
    page = Page(report(a_run(tmp_path, layers=64)).read_text(encoding="utf-8"))
    assert page.text.count("63") >= 6


def test_the_command_to_repeat_it_cannot_be_made_to_do_more(page):
    assert "erosion audit config.yaml --out 'runs/first; rm -rf'" in page.text


def test_a_missing_or_unfinished_run_is_refused(tmp_path):
    with pytest.raises(BadRun, match="There is no run at"):
        report(tmp_path / "none")
    write_json(tmp_path / "manifest.json", {"schema": 1})
    with pytest.raises(BadRun, match="not finished"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_run_that_lacks_numbers_is_refused_in_one_line(tmp_path):
    run = a_run(tmp_path)
    write_json(
        tmp_path / "results" / "causality.json",
        {"schema": 1, "experiment": "causality", "inputs": {}, "published": {}, "ours": {"harm margin": {}}},
    )
    with pytest.raises(BadRun, match=r"lack '(lost|steer)': run the audit again"):
        report(run)


def test_the_sentence_does_not_repeat_the_word_above_it():
    assert sentence_of(made.verdict("kept")) == "Made by hand."
    odd = dataclasses.replace(made.verdict("kept"), sentence="Something else: said.")
    assert sentence_of(odd) == "Something else: said."


def test_without_erosion_the_first_number_is_the_loss():
    names = [one.name for one in numbers_of(made.verdict(quantity="margin"))]
    assert names == [
        "loss, nats per token",
        "questions that changed sides",
        "smallest loss we could have seen",
    ]
    undefined = numbers_of(made.verdict("undefined", number=made.UNDEFINED))[0]
    assert undefined.value == "undefined"
    assert undefined.meaning == made.UNDEFINED.why
