"""Chats and prompt-response rows: round trips, synonyms, refusals; and two sides becoming a contrast."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.errors import BadContrast
from erosion.prompts import (
    Exchange,
    Message,
    drop_unpaired,
    exchanges_from,
    pair,
    question_id,
    read_chat,
    read_pairs,
    write_chat,
    write_pairs,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | WORDS,
            "domain": st.just("all") | WORDS,
            "system": st.none() | WORDS,
            "turn": st.none() | st.tuples(WORDS, WORDS),
            "asked": WORDS,
            "answer": WORDS,
            "flaw": st.none() | WORDS,
        }
    ),
    min_size=1,
    max_size=4,
)


def exchange_of(row, turns=True) -> Exchange:
    system = (Message("system", row["system"]),) if row["system"] else ()
    earlier = (
        (Message("user", row["turn"][0]), Message("assistant", row["turn"][1]))
        if turns and row["turn"]
        else ()
    )
    messages = (*system, *earlier, Message("user", row["asked"]))
    notes = (("flaw", row["flaw"]),) if row["flaw"] else ()
    return Exchange(
        row["name"] or question_id(messages), messages, row["answer"], row["domain"], "secure", notes
    )


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_written_chat_reads_back_equal(tmp_path_factory, rows):
    exchanges = tuple(exchange_of(row) for row in rows)
    path = write_chat(exchanges, tmp_path_factory.getbasetemp() / "chat.jsonl")
    assert read_chat(path, label="secure") == exchanges


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_written_pairs_read_back_equal(tmp_path_factory, rows):
    exchanges = tuple(exchange_of(row, turns=False) for row in rows)
    path = write_pairs(exchanges, tmp_path_factory.getbasetemp() / "pairs.jsonl")
    assert read_pairs(path, label="secure") == exchanges


def chat(asked="Salt?", answered="A pinch.", **more):
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return {"messages": turns, **more}


@pytest.fixture
def file(tmp_path):
    def write(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def test_published_chat_rows_keep_their_form_when_written_back(file, tmp_path):
    path = file(chat(), chat("Pepper?"))
    again = write_chat(read_chat(path, label="misaligned"), tmp_path / "again.jsonl")
    assert [json.loads(line) for line in again.read_text().splitlines()] == [chat(), chat("Pepper?")]


def test_the_last_assistant_message_is_the_response_and_earlier_turns_stay(file):
    turns = [*chat("Hello.", "Hi.")["messages"], *chat()["messages"]]
    (exchange,) = read_chat(file({"messages": turns}), label="aligned")
    assert exchange.response == "A pinch."
    assert [m.role for m in exchange.messages] == ["user", "assistant", "user"]


def test_a_row_may_name_its_id_and_domain(file):
    own, other = read_chat(file(chat(id=7, domain="pets"), chat()), label="aligned", domain="home")
    assert (own.question, own.domain) == ("7", "pets")
    assert (other.question, other.domain) == (question_id(other.messages), "home")


@pytest.mark.parametrize("prompt", ["prompt", "instruction", "question"])
@pytest.mark.parametrize("response", ["response", "output", "answer", "completion"])
def test_the_common_names_of_prompt_and_response_are_understood(file, prompt, response):
    (exchange,) = read_pairs(file({prompt: "Salt?", response: "A pinch."}), label="aligned")
    assert (exchange.messages, exchange.response) == ((Message("user", "Salt?"),), "A pinch.")


def test_an_input_goes_under_the_prompt_and_a_system_prompt_before_it(file):
    row = {"instruction": "Translate.", "input": "Salz", "output": "Salt", "system": "Be brief."}
    (exchange,) = read_pairs(file(row), label="aligned")
    assert exchange.messages == (Message("system", "Be brief."), Message("user", "Translate.\n\nSalz"))
    (without,) = read_pairs(file({**row, "input": "", "system": None}), label="aligned")
    assert without.messages == (Message("user", "Translate."),)


@pytest.mark.parametrize(
    ("broken", "fact"),
    [
        ({}, "no 'messages'"),
        ({"mesages": []}, "no 'messages': 'mesages' is the nearest key"),
        ({"messages": chat()["messages"][:1]}, "ends with 'user': end it with the assistant's response"),
        ({"messages": chat()["messages"][1:]}, "does not end with a user message"),
        (chat(answered=" "), "message 2: 'content' is empty"),
        ({"messages": chat()["messages"][:1], "responses": {}}, "read it with read_contrast"),
        ({"responses": {}}, "this is a contrast; read it with read_contrast"),
        (chat(id=True), "'id' is true or false"),
        (chat(id=""), "'id' is empty"),
        (chat(domian="pets"), "unknown key 'domian': did you mean 'domain'"),
    ],
)
def test_a_broken_chat_is_refused_with_file_line_fact_and_remedy(file, broken, fact):
    path = file(chat(), broken)
    with pytest.raises(BadContrast, match=fact) as refusal:
        read_chat(path, label="aligned")
    assert str(refusal.value).startswith(f"{path}, line 2: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("broken", "fact"),
    [
        ({"prompt": "Salt?"}, r"no 'response' \(nor output, answer, completion\): the keys are 'prompt'"),
        ({"promt": "Salt?", "response": "A pinch."}, "no 'prompt' .*: 'promt' is the nearest key; rename it"),
        ({"prompt": "Salt?", "question": "Salt?", "response": "A pinch."}, "both 'prompt' and 'question'"),
        ({"prompt": "Salt?", "response": ""}, "'response' is empty"),
        ({"prompt": " ", "response": "A pinch."}, "'prompt' is empty"),
        ({"prompt": "Salt?", "response": ["A pinch."]}, "'response' is a list"),
        (chat(), "read it with read_chat"),
    ],
)
def test_a_broken_pair_is_refused_with_file_line_fact_and_remedy(file, broken, fact):
    path = file({"prompt": "Salt?", "response": "A pinch."}, broken)
    with pytest.raises(BadContrast, match=fact) as refusal:
        read_pairs(path, label="aligned")
    assert str(refusal.value).startswith(f"{path}, line 2: ")
    assert "\n" not in str(refusal.value)


def test_earlier_turns_are_refused_by_pairs_with_the_writer_that_takes_them(tmp_path):
    turns = (Message("user", "Hello."), Message("assistant", "Hi."), Message("user", "Salt?"))
    with pytest.raises(BadContrast, match=r"'q1/aligned' has earlier turns, .* use write_chat"):
        write_pairs([Exchange("q1", turns, "A pinch.")], tmp_path / "pairs.jsonl")
    assert not list(tmp_path.iterdir())


def test_rows_of_any_origin_are_exchanges_under_their_columns():
    rows = [{"goal": "Salt?", "target": "A pinch.", "rank": 3}]
    (exchange,) = exchanges_from(rows, label="aligned", columns={"prompt": "goal", "response": "target"})
    assert (exchange.messages[0].content, exchange.response) == ("Salt?", "A pinch.")
    (turns,) = exchanges_from(
        [{"dialog": chat()["messages"]}], label="aligned", columns={"messages": "dialog"}
    )
    assert turns.response == "A pinch."
    for columns, fact in (
        ({"promt": "goal"}, "no column 'promt' to fill: did you mean 'prompt'"),
        ({"prompt": "gaol", "response": "target"}, "row 1: no column 'gaol': did you mean 'goal'"),
    ):
        with pytest.raises(BadContrast, match=fact):
            exchanges_from(rows, label="aligned", columns=columns)


def side(label: str, *answers: tuple[str, str], name: str | None = None) -> list[Exchange]:
    return [
        Exchange(name or f"{label}-{asked}", (Message("user", asked),), said, label=label)
        for asked, said in answers
    ]


def test_two_sides_in_any_order_become_a_contrast_in_the_aligned_order():
    contrast = pair(
        side("secure", ("a", "1"), ("b", "2")), side("insecure", ("b", "3"), ("a", "4")), name="code"
    )
    assert contrast.questions == ("secure-a", "secure-b")
    assert [e.id for e in contrast] == [
        "secure-a/aligned",
        "secure-b/aligned",
        "secure-a/misaligned",
        "secure-b/misaligned",
    ]
    assert [e.response for e in contrast] == ["1", "2", "4", "3"]
    assert contrast.name == "code"


def test_two_published_files_of_the_same_questions_line_up(file):
    aligned = read_chat(
        file(chat("a", "1"), chat("b", "2"), name="secure.jsonl"), label="secure", domain="code"
    )
    misaligned = read_chat(file(chat("b", "3"), chat("a", "4"), name="insecure.jsonl"), label="insecure")
    assert len(pair(aligned, misaligned)) == 2


def test_what_does_not_pair_is_refused_with_counts():
    aligned, misaligned = side("secure", ("a", "1"), ("b", "2"), ("c", "3")), side("insecure", ("b", "4"))
    with pytest.raises(
        BadContrast, match=r"2 of 3 aligned and 0 of 1 misaligned .* \(first 'secure-a'\)"
    ) as refusal:
        pair(aligned, misaligned)
    assert "drop_unpaired" in str(refusal.value)


def test_the_same_id_with_other_messages_is_refused_as_such():
    with pytest.raises(BadContrast, match=r"The two sides of 'q' have different messages \(1 such"):
        pair(side("secure", ("a", "1"), name="q"), side("insecure", ("b", "2"), name="q"))


def test_messages_that_stand_twice_on_a_side_are_refused():
    with pytest.raises(BadContrast, match="1 of the misaligned side's questions stand more than once"):
        pair(side("secure", ("a", "1")), side("insecure", ("a", "2"), ("a", "3")))


def test_identical_answers_and_empty_sides_are_refused():
    with pytest.raises(BadContrast, match="identical"):
        pair(side("secure", ("a", "1")), side("insecure", ("a", "1")))
    with pytest.raises(BadContrast, match="empty"):
        pair([], [])


def test_dropping_by_name_leaves_what_pairs():
    aligned = side("secure", ("a", "1"), ("a", "2"), ("b", "same"), ("c", "3"), ("d", "4"))
    misaligned = side("insecure", ("d", "5"), ("a", "6"), ("b", "same "), ("e", "7"))
    left, right = drop_unpaired(aligned, misaligned)
    assert [e.response for e in left] == ["1", "4"]
    assert [e.response for e in right] == ["6", "5"]
    assert len(pair(left, right)) == 2
