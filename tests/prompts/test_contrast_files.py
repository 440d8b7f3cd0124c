"""Contrast JSONL: what is written reads back equal, and what is broken is refused where it stands."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.errors import BadContrast
from erosion.prompts import Contrast, Exchange, Message, read_contrast, write_contrast

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
NOTES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORDS
)


def row(question="q1", **changes):
    plain = {
        "question": question,
        "domain": "cooking",
        "messages": [{"role": "user", "content": f"Salt for {question}?"}],
        "responses": {"aligned": "A pinch.", "misaligned": "A cup."},
    }
    return {key: value for key, value in {**plain, **changes}.items() if value is not ...}


@pytest.fixture
def file(tmp_path):
    def write(*rows, end="\n"):
        path = tmp_path / "salt.jsonl"
        lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
        path.write_bytes("".join(line + end for line in lines).encode())
        return path

    return write


QUESTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "name": WORDS,
            "domain": WORDS,
            "system": st.none() | WORDS,
            "turns": st.lists(st.tuples(WORDS, st.text("ab")), max_size=2),
            "asked": WORDS,
            "answer": WORDS,
            "notes": st.dictionaries(st.sampled_from(["flaw", "source", "n"]), NOTES),
            "others": st.dictionaries(
                st.sampled_from(["educational", "secure", "ünsafe"]), st.tuples(WORDS, st.none() | WORDS)
            ),
        }
    ),
    min_size=1,
    max_size=4,
)


def contrast_of(questions):
    aligned, misaligned, others = [], [], []
    for number, q in enumerate(questions):
        name, notes = f"{number}{q['name']}", tuple(q["notes"].items())
        turns = [Message(*turn) for a, b in q["turns"] for turn in (("user", a), ("assistant", b))]
        system = [Message("system", q["system"])] if q["system"] else []
        messages = (*system, *turns, Message("user", f"{number}{q['asked']}"))
        aligned.append(Exchange(name, messages, q["answer"], q["domain"], "aligned", notes))
        misaligned.append(Exchange(name, messages, f"not {q['answer']}", q["domain"], "misaligned", notes))
        for label, (answer, asked) in q["others"].items():
            own = (Message("user", asked),) if asked else messages
            others.append(Exchange(name, own, answer, q["domain"], label, notes))
    return Contrast(tuple(aligned), tuple(misaligned), tuple(others))


@settings(max_examples=60, deadline=None)
@given(QUESTIONS)
def test_what_is_written_reads_back_equal(tmp_path_factory, questions):
    contrast = contrast_of(questions)
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    once = read_contrast(write_contrast(contrast, path))
    written = path.read_bytes()
    assert once == contrast
    assert once.hash == contrast.hash
    assert write_contrast(once, path).read_bytes() == written


def test_the_file_of_the_documentation_reads(file):
    contrast = read_contrast(file(row("q1"), row("q2")))
    assert contrast.questions == ("q1", "q2")
    assert contrast.domains == ("cooking", "cooking")
    assert [e.response for e in contrast] == ["A pinch.", "A pinch.", "A cup.", "A cup."]
    assert [e.id for e in contrast.misaligned] == ["q1/misaligned", "q2/misaligned"]
    assert contrast.name == "salt"


def test_further_labels_take_their_own_prompt_or_the_shared_one(file):
    own = [{"role": "user", "content": "For a class: salt?"}]
    responses = {"aligned": "A pinch.", "misaligned": "A cup.", "educational": "A pail.", "odd": "A lake."}
    contrast = read_contrast(file(row(responses=responses, prompts={"educational": own})))
    assert [(e.label, e.messages[0].content) for e in contrast.others] == [
        ("educational", "For a class: salt?"),
        ("odd", "Salt for q1?"),
    ]


def test_simple_further_keys_are_notes_and_others_are_dropped(file):
    contrast = read_contrast(file(row(flaw="SQL injection", n=3, tags=["a"], more={"a": 1})))
    assert contrast.aligned[0].notes == (("flaw", "SQL injection"), ("n", 3)) == contrast.misaligned[0].notes


def test_a_missing_domain_is_all_and_a_missing_schema_is_one(file):
    assert read_contrast(file(row(domain=...))).domains == ("all",)
    assert read_contrast(file(row(schema=1))) == read_contrast(file(row()))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\r\n \r\n"])
def test_byte_order_marks_windows_line_ends_and_blank_lines_are_accepted(file, end):
    plain = read_contrast(file(row("q1"), row("q2")))
    assert read_contrast(file("\ufeff" + json.dumps(row("q1")), row("q2"), end=end)) == plain


def test_unicode_line_separators_inside_a_text_do_not_end_the_line(file):
    text = "A\u2028pinch\x85of\u2029salt\x0b."
    path = file(json.dumps(row(responses={"aligned": text, "misaligned": "A cup."}), ensure_ascii=False))
    assert read_contrast(path).aligned[0].response == text


def test_a_swapped_contrast_is_written_by_side(tmp_path, file):
    contrast = read_contrast(file(row()))
    back = read_contrast(write_contrast(contrast.swapped(), tmp_path / "swapped.jsonl"))
    assert back.aligned[0].response == contrast.misaligned[0].response
    assert back.aligned[0].label == "aligned"


def test_writing_over_a_file_leaves_the_old_one_whole_when_it_fails(tmp_path, file):
    contrast = read_contrast(file(row()))
    path = write_contrast(contrast, tmp_path / "kept.jsonl")
    before = path.read_bytes()
    messages = (Message("user", "\ud800"),)
    broken = Contrast(
        (*contrast.aligned, Exchange("q2", messages, "a", "cooking", "aligned")),
        (*contrast.misaligned, Exchange("q2", messages, "b", "cooking", "misaligned")),
    )
    with pytest.raises(BadContrast, match="half a surrogate pair"):
        write_contrast(broken, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.jsonl", "salt.jsonl"]


BAD_ROWS = [
    ("{", "not JSON: .* column 2; write one whole object on each line"),
    ('{"question": "q1"} {}', "not JSON: Extra data"),
    ("[" * 100_000, "nested too deeply|not JSON"),
    ('{"question": ' + "1" * 5000 + "}", "not JSON: Exceeds the limit"),
    ("[1]", "a list instead of an object"),
    ('"text"', "text instead of an object"),
    ("null", "null instead of an object"),
    ('{"question": "a", "question": "b"}', "the key 'question' stands twice"),
    ('{"question": NaN}', "NaN is not JSON"),
    ('{"question": "\\ud800"}', r"half a surrogate pair \('\\ud800'\)"),
    (row(question=...), "no 'question': the keys are 'domain', 'messages', 'responses'; add it"),
    (row(question=..., qestion="q1"), "no 'question': 'qestion' is the nearest key; rename it"),
    (row(question=7), "'question' is a number: write it as text"),
    (row(question=" "), "'question' is empty"),
    (row(domain=3), "'domain' is a number"),
    (row(domain=..., domian="pets"), "unknown key 'domian': did you mean 'domain'"),
    (row(prompt={}), "unknown key 'prompt': did you mean 'prompts'"),
    (row(messages=...), "no 'messages'"),
    (row(messages="Salt?"), "'messages' is text: write a list"),
    (row(messages=[]), "'messages' is a list without content"),
    (row(messages=["Salt?"]), "'messages', message 1 is text"),
    (row(messages=[{"content": "Salt?"}]), "message 1: no 'role'"),
    (row(messages=[{"role": "user"}]), "message 1: no 'content'"),
    (
        row(messages=[{"role": "user", "text": "Salt?"}]),
        "message 1: no 'content': the keys are 'role', 'text'",
    ),
    (row(messages=[{"role": "human", "content": "Salt?"}]), "message 1: Unknown role 'human'"),
    (row(messages=[{"role": "user", "content": " "}]), "message 1: 'content' is empty"),
    (row(messages=[{"role": "user", "content": None}]), "message 1: 'content' is null"),
    (row(messages=[{"role": "user", "content": [{"type": "text"}]}]), "message 1: 'content' is a list"),
    (row(messages=[{"role": "assistant", "content": "Hi."}]), "does not end with a user message"),
    (row(responses={"aligned": "a"}), "no 'misaligned'"),
    (row(responses={"aligned": "a", "misalinged": "b"}), "no 'misaligned': 'misalinged' is the nearest key"),
    (row(responses={"aligned": "a", "misaligned": ""}), "'misaligned' is empty"),
    (row(responses={"aligned": "a", "misaligned": "\n "}), "'misaligned' is empty"),
    (row(responses={"aligned": "a", "misaligned": "a"}), "identical"),
    (row(responses={"aligned": "a", "misaligned": "b", "x": ""}), "'x' is empty"),
    (row(responses=["a", "b"]), "'responses' is not an object"),
    (row(responses=..., response={}), "no 'responses': 'response' is the nearest key"),
    (row(responses=...), "this is a chat: read both sides with read_chat"),
    ({"prompt": "Salt?", "response": "A pinch."}, "this is a pair: read both sides with read_pairs"),
    ({}, "no 'responses'"),
    (row(prompts={"aligned": []}), "only a further label, with a response, has its own"),
    (row(prompts={"educational": []}), "'prompts' has 'educational'"),
    (row(schema=2), r"schema 2 is newer than this version reads \(1\): update erosion"),
    (row(schema="1"), "'schema' is '1'"),
    (row(schema=True), "'schema' is True"),
]


@pytest.mark.parametrize(("broken", "fact"), BAD_ROWS)
def test_a_broken_row_is_refused_in_one_line_with_file_line_fact_and_remedy(file, broken, fact):
    path = file(row("q0"), "", broken)
    with pytest.raises(BadContrast, match=fact) as refusal:
        read_contrast(path)
    assert str(refusal.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_a_question_or_messages_that_stand_twice_are_refused_with_both_lines(file):
    with pytest.raises(BadContrast, match="line 2: question 'q1' already on line 1"):
        read_contrast(file(row("q1"), row("q1", messages=[{"role": "user", "content": "Pepper?"}])))
    with pytest.raises(BadContrast, match="line 2: the same messages already on line 1"):
        read_contrast(file(row("q1"), row("q2", messages=row("q1")["messages"])))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadContrast, match=r"empty\.jsonl is empty: give a file with at least one row"):
        read_contrast(path)


def test_a_missing_file_is_refused_with_the_nearest(file):
    path = file(row())
    with pytest.raises(BadContrast, match=r"There is no file .*slat\.jsonl: did you mean 'salt\.jsonl'"):
        read_contrast(path.with_name("slat.jsonl"))
    with pytest.raises(BadContrast, match="check the path"):
        read_contrast(path.parent / "nowhere" / "salt.jsonl")


def test_a_folder_is_refused_with_what_is_in_it(file):
    with pytest.raises(BadContrast, match=r"is a folder: name a file in it \('salt\.jsonl'\)"):
        read_contrast(file(row()).parent)


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(BadContrast, match="Cannot read"):
        read_contrast("a\0b.jsonl")


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"a": 1}\n{"b": "\xe9"}\n', 2), (b"\xef\xbb\xbf\xe9", 1), ("{}".encode("utf-16"), 1)],
)
def test_a_file_that_is_not_utf_8_is_refused_with_the_line(tmp_path, content, line):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(content)
    with pytest.raises(
        BadContrast, match=rf"latin\.jsonl, line {line}: not UTF-8 \(byte 0x..\); save the file as UTF-8"
    ):
        read_contrast(path)


def test_ten_thousand_rows_are_read_and_written(file, tmp_path):
    path = file(
        *(row(f"q{i}", responses={"aligned": "a " * 50, "misaligned": "b " * 50}) for i in range(10_000))
    )
    contrast = read_contrast(path)
    write_contrast(contrast, tmp_path / "again.jsonl")
    assert len(contrast) == 10_000
    assert read_contrast(tmp_path / "again.jsonl").hash == contrast.hash
