"""Built-in contrasts and texts by name, others by path, and names that are neither."""

import json

import pytest

from erosion.errors import BadContrast
from erosion.prompts import CONTRASTS, TEXTS, Text, load_contrast, load_texts, read_texts, write_contrast


@pytest.mark.parametrize("name", CONTRASTS)
def test_a_built_in_contrast_loads_under_its_name_and_round_trips(name, tmp_path):
    contrast = load_contrast(name)
    assert contrast.name == name
    path = write_contrast(contrast, tmp_path / "copy.jsonl")
    assert load_contrast(path) == contrast
    assert load_contrast(str(path)).hash == contrast.hash


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        (
            "everday",
            "There is no contrast 'everday': did you mean 'everyday'? Built in: 'everyday', 'code', 'comp",
        ),
        ("zebra", "There is no contrast 'zebra': Built in: 'everyday', 'code', 'competence'; or"),
        ("zebra.jsonl", r"There is no file zebra\.jsonl"),
        ("folder/zebra", "There is no file folder/zebra"),
        ("", "is a folder"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_and_a_path_as_a_path(name, fact, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadContrast, match=fact.replace("?", r"\?")):
        load_contrast(name)


def test_a_built_in_name_wins_over_a_file_of_that_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").write_text("not a contrast")
    assert load_contrast("code").name == "code"
    with pytest.raises(BadContrast, match="line 1: not JSON"):
        load_contrast("./code")


def test_texts_load_by_name_from_rows_and_from_paragraphs(tmp_path):
    assert all(isinstance(text, Text) for text in load_texts("neutral"))
    rows = tmp_path / "two.jsonl"
    rows.write_text('{"id": "a", "domain": "sea", "text": "Waves."}\n{"id": "b", "text": "Sand.", "n": 1}\n')
    assert load_texts(rows) == (Text("a", "sea", "Waves."), Text("b", "all", "Sand."))
    plain = tmp_path / "poem.txt"
    plain.write_bytes(b"\xef\xbb\xbfRoses are red,\r\nviolets are blue.\r\n \r\n\r\nSugar is sweet.")
    assert read_texts(plain) == (
        Text("poem-1", "all", "Roses are red,\nviolets are blue."),
        Text("poem-2", "all", "Sugar is sweet."),
    )


@pytest.mark.parametrize(
    ("rows", "fact"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "line 2: text 'a' already on line 1"),
        ([{"id": "a", "txt": "x"}], "line 1: no 'text': 'txt' is the nearest key"),
        ([{"id": "a", "text": "  "}], "line 1: 'text' is empty"),
        ([{"text": "x"}], "line 1: no 'id'"),
    ],
)
def test_broken_texts_are_refused_where_they_stand(tmp_path, rows, fact):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadContrast, match=fact):
        load_texts(path)


def test_an_unknown_set_of_texts_is_refused_with_the_nearest():
    assert TEXTS == ("neutral",)
    with pytest.raises(BadContrast, match=r"no set of texts 'netural': did you mean 'neutral'\?"):
        load_texts("netural")
