"""Laws of files: whole or absent, whatever happens; stable JSON; hashes of what was read."""

import errno
import json
import math
import os

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from erosion.errors import BadInput
from erosion.files import hash_bytes, hash_file, hash_json, to_json, write_atomically, write_json


def test_a_file_is_written_whole_and_its_folder_made(tmp_path):
    path = write_atomically(tmp_path / "a" / "b" / "file", [b"in ", b"pieces"])
    assert path.read_bytes() == b"in pieces"
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = write_atomically(tmp_path / "file", b"old")

    def broken():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, broken())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("number", "fact"),
    [(errno.ENOSPC, "No space left to write .*free some disk"), (errno.EACCES, "Cannot write .*folder")],
)
def test_a_disk_that_fails_is_said_in_one_line_and_leaves_the_old_file(tmp_path, monkeypatch, number, fact):
    path = write_atomically(tmp_path / "file", b"old")

    def fails(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(BadInput, match=fact) as error:
        write_atomically(path, b"new")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="Cannot write"):
        write_atomically(tmp_path / "file" / "below", b"x")


def test_a_file_is_readable_as_the_users_mask_says(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("sync") or sync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: order.append("name") or replace(*names))
    write_atomically(tmp_path / "file", b"x")
    assert order[0] == "sync"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_json_reads_back_equal(value):
    assert json.loads(to_json(value)) == value


@given(st.dictionaries(st.text(), st.integers()))
def test_equal_values_have_equal_text_and_hash_whatever_their_order(value):
    backwards = dict(reversed(value.items()))
    assert to_json(backwards) == to_json(value)
    assert hash_json(backwards) == hash_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_has_not_are_refused(value, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", {"value": value})
    assert not os.listdir(tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=2000))
def test_a_files_hash_is_that_of_its_bytes(tmp_path_factory, content):
    path = write_atomically(tmp_path_factory.mktemp("hash") / "file", content)
    assert hash_file(path) == hash_bytes(content)


def test_other_values_have_other_hashes():
    values = [None, 0, "0", [0], {"a": 0}, {"a": "0"}, [], {}, "", 0.5]
    assert len({hash_json(value) for value in values}) == len(values)
