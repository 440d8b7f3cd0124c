"""Laws of token views: what is packed comes back, nothing ends the script, no request is made."""

import base64
import json
import re

import numpy as np
import pytest

from erosion.experiments import Result
from erosion.figures import token_views
from tests.figures import results as made


def unpacked(text, tokens):
    return np.frombuffer(base64.b64decode(text), dtype=np.int8).reshape(-1, tokens)


@pytest.mark.parametrize("layers", [1, 4, 64])
def test_positions_come_back_within_half_a_step_of_their_layers_scale(layers):
    result = made.tokens(layers)
    view = token_views(result)
    look = next(one for one in view.data["measures"] if one["key"] == "position")
    for one, shown in zip(result["shown"], view.data["shown"], strict=True):
        for side, answer in one["answers"].items():
            start, stop = answer["response"]
            for model in ("aligned", "tuned"):
                packed = shown["answers"][side]["position"][model]
                found = unpacked(packed, stop - start) / 127 * np.array(look["scales"])[:, None]
                exact = np.array(answer["position"][model])[:, start:stop]
                assert np.abs(found - exact).max() <= max(look["scales"]) / 127 * 0.51 + 5e-3
        assert shown["prompt"]["words"] == ["<user>", " salt", "?"]


def test_what_is_no_number_is_marked_and_an_absent_measure_is_left_out():
    result = made.tokens()
    result["shown"][0]["answers"]["aligned"]["position"]["tuned"][1][4] = None
    result["shown"][0]["answers"]["aligned"]["KL"][0] = None
    for one in result["shown"]:
        for answer in one["answers"].values():
            del answer["influence"]
    view = token_views(result)
    first = view.data["shown"][0]["answers"]["aligned"]
    assert unpacked(first["position"]["tuned"], 4)[1, 1] == -128
    assert first["KL"][0] is None
    assert [one["key"] for one in view.data["measures"]] == ["position", "loss difference", "KL", "random"]


def test_values_of_nothing_but_zero_still_have_a_scale():
    result = made.tokens(questions=1)
    for answer in result["shown"][0]["answers"].values():
        answer["KL"] = [0.0] * 4
    view = token_views(result)
    assert next(one for one in view.data["measures"] if one["key"] == "KL")["scale"] > 0


def test_the_page_asks_for_nothing_and_no_word_ends_its_script(tmp_path):
    view = token_views(made.tokens(words=("</script><script>alert(1)</script>", "<!--", "مرحبا")))
    page = view.save(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "</script><script>alert" not in page
    assert json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]) == view.data
    assert not re.search(r'(src|href)="?http', page.split("<script>")[0])
    assert view._repr_html_().startswith("<iframe srcdoc=")


def test_the_title_names_examples_and_claims_no_finding():
    assert "examples, not findings" in token_views(made.tokens()).title
    assert token_views(made.tokens(questions=1)).title.startswith("One question")
    empty = Result("tokens", {}, {}, {"layers": [0], "first layer shown": 0, "shown": []})
    assert token_views(empty).title == "No question is shown token by token"
