"""Laws of the explorer's models: the same words as without a page, a second question ends the first."""

import time

import pytest

import erosion as er
from erosion.errors import BadInput
from erosion.exploring import Session, State, load_state, sessions
from erosion.exploring.states import EDITS, SCOPES
from erosion.models import Placement, generate
from erosion.prompts import Message
from erosion.sites import Site
from tests.auditing.small import few_questions

PROMPT = "how should i fix the stove near the baby ?"


@pytest.fixture(scope="module")
def session():
    organism = er.load_organism()
    one = Session(organism.triad("insecure"), few_questions(), placement=Placement("cpu", dtype="float32"))
    yield one
    one.close()


def answered(session, state):
    session.ask(state)
    deadline = time.monotonic() + 60
    while session.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not session.busy
    return session.answers


def test_every_model_says_what_it_says_without_the_page(session):
    found = answered(session, State(PROMPT, layer=1, by=4.0, edited="aligned"))
    assert list(found) == ["base", "aligned", "tuned", "edited"]
    triad = er.load_organism().triad("insecure")
    for name, checkpoint in dict(triad).items():
        with er.load(checkpoint, rendering=session.rendering) as model:
            (plain,) = generate(model, [[Message("user", PROMPT)]], max_new_tokens=64)
            assert found[name].text == plain.text
            if name == "aligned":
                under = [er.steer(session.directions[Site(1)], by=4.0)]
                (edited,) = generate(model, [[Message("user", PROMPT)]], under=under, max_new_tokens=64)
                assert found["edited"].text == edited.text


def test_words_and_positions_belong_together_and_no_edit_leaves_the_model_as_it_is(session):
    found = answered(session, State(PROMPT, layer=1, by=0.0))
    for one in found.values():
        assert one.state == "done"
        assert len(one.positions) == session.n_layers
        assert {len(row) for row in one.positions} == {len(one.words)}
        assert " ".join(one.words[one.start :]).split() == one.text.split()
    assert found["edited"].text == found["tuned"].text
    assert found["edited"].positions == found["tuned"].positions


def test_a_second_question_ends_the_first(session):
    session.ask(State(PROMPT, max_new_tokens=512, temperature=3.0))
    found = answered(session, State("how should i clean the oven ?", max_new_tokens=8))
    assert session.asked.prompt == "how should i clean the oven ?"
    assert all(one.state == "done" for one in found.values())


def test_a_question_is_being_answered_from_the_moment_it_is_asked(session):
    for number in range(session.turn + 1, session.turn + 21):
        session.ask(State(PROMPT, max_new_tokens=1))
        assert session.busy
        assert session.turn == number
    answered(session, State(PROMPT, max_new_tokens=1))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_that_the_page_offers_can_be_made(session, edit, scope):
    found = answered(session, State(PROMPT, layer=1, edit=edit, scope=scope, max_new_tokens=3))
    assert found["edited"].why == ""
    assert found["edited"].positions


def test_a_session_opens_with_a_question_that_nothing_was_fitted_on():
    words = few_questions(3)
    one = Session(
        er.load_organism().triad("insecure"),
        words,
        fit=words.questions[:4],
        placement=Placement("cpu", dtype="float32"),
    )
    one.close()
    asked = {exchange.messages[-1].content: exchange.question for exchange in words.exchanges}
    assert asked[one.example] not in words.questions[:4]


def test_where_the_weights_are_large_one_model_is_in_memory_at_a_time(monkeypatch):
    monkeypatch.setattr(sessions, "_KEPT", 0)
    one = Session(
        er.load_organism().triad("insecure"), few_questions(3), placement=Placement("cpu", dtype="float32")
    )
    assert not one.keeps_all
    found = answered(one, State(PROMPT, max_new_tokens=3))
    assert all(answer.positions for answer in found.values())
    assert len(one._loaded) == 1
    one.close()
    assert not one._loaded


def test_a_stopped_answer_keeps_what_was_said(session):
    session.ask(State(PROMPT, max_new_tokens=512, temperature=50.0))
    session.stop()
    while session.busy:
        time.sleep(0.01)
    assert {one.state for one in session.answers.values()} <= {"stopped", "done"}
    assert session.answers["edited"].state == "stopped"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State("  "), "empty"),
        (State("x", layer=99), "no direction at layer 99"),
        (State("x", edited="other"), "no model 'other'"),
    ],
)
def test_what_cannot_be_asked_is_refused(session, state, said):
    with pytest.raises(BadInput, match=said):
        session.ask(state)


def test_a_prompt_without_room_is_said_in_the_answer(session):
    found = answered(session, State("x " * 400))
    assert all("no room for an answer" in one.why for one in found.values())


def test_words_that_the_models_do_not_know_are_said(session):
    assert "1 of the prompt's" in session.unknown("how should i fix the zeppelin ?")
    assert session.unknown(PROMPT) == ""


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    state = State("naïve ☃ <b>", layer=2, by=-3.5, edit="ablate", scope="prompt[-1]", temperature=0.7, seed=4)
    assert load_state(state.save(tmp_path / "s.json")) == state


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no state that can be read"),
        ("[]", "no state of the explorer"),
        ('{"schema": 9}', "update erosion"),
        ('{"schema": 1, "layer": "two"}', "layer is 'two'"),
        ('{"schema": 1, "by": true}', "by is True"),
        ('{"schema": 1, "edit": "erase"}', "no edit 'erase'"),
        ('{"schema": 1, "max_new_tokens": 0}', "ask for 1 to"),
        ('{"schema": 1, "by": NaN}', "means nothing"),
        ('{"schema": 1, "prompt": "\\ud83d"}', "half a character"),
        ('{"schema": true}', "no state of the explorer"),
        ("[" * 100_000, "no state that can be read"),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "s.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        load_state(file)


def test_models_that_share_weights_are_one_load():
    organism = er.load_organism()
    one = Session(
        organism.triad("insecure-lora"), few_questions(3), placement=Placement("cpu", dtype="float32")
    )
    answered(one, State(PROMPT, max_new_tokens=4))
    assert len(one._loaded) == 1  # all three stand on the base model's weights
    one.close()
