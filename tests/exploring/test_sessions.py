"""Laws of the explorer's models: the same words as without a page, a second question ends the first."""

import time

import pytest

import erosion as er
from erosion.errors import BadInput
from erosion.exploring import Session, State, load_state
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
