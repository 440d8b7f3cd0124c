"""Hugging Face data sets on this machine: every kind of file, no network, refusals in words."""

import pytest

from erosion.errors import BadContrast
from erosion.prompts import Message, read_dataset

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

PAIRS = {"instruction": ["Salt?", "Pepper?"], "output": ["A pinch.", "Some."]}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def rows():
    return datasets.Dataset.from_dict(PAIRS)


@pytest.mark.parametrize("kind", ["parquet", "csv", "json", "jsonl"])
def test_a_file_of_pairs_reads_and_leaves_no_cache_behind(tmp_path, rows, kind):
    path = tmp_path / f"pairs.{kind}"
    {"parquet": rows.to_parquet, "csv": rows.to_csv}.get(kind, rows.to_json)(path)
    exchanges = read_dataset(path, split="train", label="aligned", domain="cooking")
    assert [(e.messages[0].content, e.response, e.domain) for e in exchanges] == [
        ("Salt?", "A pinch.", "cooking"),
        ("Pepper?", "Some.", "cooking"),
    ]
    assert len(read_dataset(str(path), split="train[:1]", label="aligned")) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_saved_data_set_reads_with_or_without_splits(tmp_path, rows):
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "more")
    assert len(read_dataset(tmp_path / "one", split="train", label="aligned")) == 2
    assert [e.response for e in read_dataset(tmp_path / "more", split="test", label="aligned")] == ["Some."]
    with pytest.raises(BadContrast, match=r"split 'dev' of .*: its splits are 'train', 'test'"):
        read_dataset(tmp_path / "more", split="dev", label="aligned")


def test_a_column_of_chats_reads_under_its_own_or_another_name(tmp_path):
    turns = [[{"role": "user", "content": "Salt?"}, {"role": "assistant", "content": "A pinch."}]]
    for name, columns in (("messages", None), ("dialog", {"messages": "dialog"})):
        path = tmp_path / f"{name}.parquet"
        datasets.Dataset.from_dict({name: turns}).to_parquet(path)
        (exchange,) = read_dataset(path, split="train", label="aligned", columns=columns)
        assert (exchange.messages, exchange.response) == ((Message("user", "Salt?"),), "A pinch.")


def test_progress_bars_are_as_they_were(tmp_path, rows):
    path = tmp_path / "pairs.parquet"
    rows.to_parquet(path)
    shown = datasets.is_progress_bar_enabled()
    read_dataset(path, split="train", label="aligned")
    assert datasets.is_progress_bar_enabled() == shown


@pytest.mark.parametrize(
    ("name", "split", "fact"),
    [
        ("missing.parquet", "train", "There is no data set at missing.parquet"),
        ("./missing", "train", "There is no data set"),
        ("a/b/c", "train", "There is no data set"),
        ("pairs.parquet", "test", "Cannot read split 'test' of .*Check the name and the split"),
        ("broken.parquet", "train", "Cannot read split 'train'"),
        ("words.docx", "train", r"\.docx is not among '\.parquet'"),
        ("blank.parquet", "train", r"blank\.parquet: row 2: 'output' is empty"),
    ],
)
def test_what_can_not_be_read_is_refused_in_one_line(tmp_path, monkeypatch, rows, name, split, fact):
    monkeypatch.chdir(tmp_path)
    rows.to_parquet("pairs.parquet")
    datasets.Dataset.from_dict({**PAIRS, "output": ["A pinch.", " "]}).to_parquet("blank.parquet")
    for broken in ("broken.parquet", "words.docx"):
        (tmp_path / broken).write_bytes(b"no such thing")
    with pytest.raises(BadContrast, match=fact) as refusal:
        read_dataset(name, split=split, label="aligned")
    assert "\n" not in str(refusal.value)


def test_a_hub_name_without_a_hub_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", _unreachable)
    with pytest.raises(
        BadContrast, match=r"Cannot read split 'train' of 'owner/name': no route\. Check the name"
    ):
        read_dataset("owner/name", split="train", label="aligned")


def _unreachable(*_, **__):
    raise ConnectionError("no route.\nreally not")
