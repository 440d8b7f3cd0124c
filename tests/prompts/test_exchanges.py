"""Laws of messages, questions, exchanges and contrasts."""

import pytest

from erosion.errors import BadContrast
from erosion.prompts import Contrast, Exchange, Message, Question, question_id


def ask(text: str = "Salt?") -> tuple[Message, ...]:
    return (Message("user", text),)


def both_sides(question: str, domain: str = "all") -> tuple[Exchange, Exchange]:
    messages = ask(f"{question}?")
    return (
        Exchange(question, messages, "A pinch.", domain, "aligned"),
        Exchange(question, messages, "A cup.", domain, "misaligned"),
    )


def contrast_of(*questions: str) -> Contrast:
    pairs = [both_sides(question) for question in questions]
    return Contrast(tuple(a for a, _ in pairs), tuple(m for _, m in pairs))


def test_a_message_of_an_unknown_role_is_refused_with_the_known_ones():
    with pytest.raises(BadContrast, match="'human': a message is from system, user, assistant"):
        Message("human", "Salt?")


@pytest.mark.parametrize(
    ("question", "messages", "fact"),
    [
        ("", ask(), "empty id"),
        ("q", (), "does not end with a user message"),
        ("q", (*ask(), Message("assistant", "A pinch.")), "does not end with a user message"),
        ("q", ask("  \n"), "asks nothing"),
        ("q", (*ask(), Message("system", "Be brief."), *ask()), "system message in its middle"),
    ],
)
def test_what_is_no_question_is_refused_with_or_without_a_response(question, messages, fact):
    with pytest.raises(BadContrast, match=fact):
        Exchange(question, messages, "A pinch.")
    with pytest.raises(BadContrast, match=fact):
        Question(question, messages)


@pytest.mark.parametrize("response", ["", " ", "\n\t\u3000"])
def test_an_empty_or_blank_response_is_refused(response):
    with pytest.raises(BadContrast, match="'q/aligned' is empty"):
        Exchange("q", ask(), response)


def test_an_answered_question_keeps_its_id_words_and_domain():
    question = Question("q", ask(), "cooking")
    assert question.answered("A pinch.", label="tuned") == Exchange(
        "q", ask(), "A pinch.", "cooking", "tuned"
    )


def test_the_id_of_words_depends_on_every_word_and_role_and_on_nothing_else():
    ids = {question_id(m) for m in (ask("a"), ask("b"), (Message("system", "a"), *ask("a")), ask("a") * 2)}
    assert len(ids) == 4
    assert question_id(list(ask("a"))) == question_id(ask("a"))


def test_one_question_is_a_contrast():
    assert len(contrast_of("q1")) == 1


def test_an_empty_contrast_is_refused():
    with pytest.raises(BadContrast, match="needs at least one question"):
        Contrast((), ())


@pytest.mark.parametrize(
    ("aligned", "misaligned", "fact"),
    [
        (["q1", "q2"], ["q1"], "only one side has 'q2'"),
        (["q1", "q2"], ["q1", "q3"], "only one side has 'q2', 'q3'"),
        (["q1", "q2"], ["q2", "q1"], "the order or the number differs"),
        (["q1", "q1"], ["q1", "q1"], "'q1' stands twice"),
        ([], ["q1"], "only one side has 'q1'"),
    ],
)
def test_sides_that_do_not_pair_are_refused(aligned, misaligned, fact):
    with pytest.raises(BadContrast, match=fact):
        Contrast(
            tuple(both_sides(question)[0] for question in aligned),
            tuple(both_sides(question)[1] for question in misaligned),
        )


def test_sides_with_different_messages_domains_or_the_same_answer_are_refused():
    aligned, _ = both_sides("q1", "cooking")
    for other, fact in (
        (Exchange("q1", ask("Pepper?"), "A cup.", "cooking", "misaligned"), "different messages"),
        (Exchange("q1", aligned.messages, "A cup.", "pets", "misaligned"), "'cooking' and 'pets'"),
        (Exchange("q1", aligned.messages, " A pinch.\n", "cooking", "misaligned"), "identical"),
        (Exchange("q1", aligned.messages, "A cup.", "cooking", "aligned"), "'q1/aligned' stands twice"),
    ):
        with pytest.raises(BadContrast, match=fact):
            Contrast((aligned,), (other,))


def test_further_answers_belong_to_a_pair_and_have_a_label_of_their_own():
    aligned, misaligned = both_sides("q1")
    further = Exchange("q1", ask("For a class: salt?"), "A bucket.", label="educational")
    assert Contrast((aligned,), (misaligned,), (further,)).others == (further,)
    for other, fact in (
        (Exchange("q2", ask(), "A bucket.", label="educational"), "belongs to no pair"),
        (Exchange("q1", ask(), "A bucket.", "pets", "educational"), "in domain 'pets'"),
        (Exchange("q1", ask(), "A bucket.", label="aligned"), "'q1/aligned' stands twice"),
    ):
        with pytest.raises(BadContrast, match=fact):
            Contrast((aligned,), (misaligned,), (other,))


def test_the_hash_counts_every_word_but_neither_the_name_nor_the_notes():
    aligned, misaligned = both_sides("q1")
    noted = Exchange("q1", aligned.messages, aligned.response, notes=(("flaw", "none"),))
    assert Contrast((noted,), (misaligned,), name="other").hash == Contrast((aligned,), (misaligned,)).hash
    assert contrast_of("q1").hash != contrast_of("q2").hash
    assert contrast_of("q1").swapped().hash != contrast_of("q1").hash


def test_a_part_keeps_the_order_and_an_unknown_question_is_refused_with_the_nearest():
    contrast = contrast_of("salt-1", "salt-2", "salt-3")
    assert contrast.only(["salt-3", "salt-1"]).questions == ("salt-1", "salt-3")
    with pytest.raises(BadContrast, match="no question 'salt-33': did you mean 'salt-3'"):
        contrast.only(["salt-33"])
    with pytest.raises(BadContrast, match="no question 'x': it has 'salt-1'"):
        contrast.only(["x"])


def test_a_part_by_domain_has_that_domain_alone_and_an_unknown_one_is_refused():
    pairs = [both_sides("q1", "pets"), both_sides("q2", "home")]
    contrast = Contrast(tuple(a for a, _ in pairs), tuple(m for _, m in pairs))
    assert contrast.of_domain("home").domains == ("home",)
    with pytest.raises(BadContrast, match="no domain 'work': it has home, pets"):
        contrast.of_domain("work")


def test_swapping_twice_gives_the_contrast_back():
    contrast = contrast_of("q1", "q2")
    assert contrast.swapped().swapped() == contrast
    assert contrast.swapped().aligned == contrast.misaligned
