"""Laws of progress: heard by whoever listens, silent otherwise, and never in the way."""

import pytest

from erosion.progress import Step, progress, tracked


def test_every_step_is_heard_in_order():
    steps = []
    with progress(steps.append):
        assert list(tracked("abc", name="reading")) == ["a", "b", "c"]
    assert steps == [Step("reading", done, 3) for done in range(4)]


def test_nobody_listens_and_nothing_is_printed(capsys):
    assert list(tracked([1, 2], name="reading")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_the_listener_is_gone_after_the_block_even_after_an_error():
    steps = []
    with pytest.raises(KeyError), progress(steps.append):
        raise KeyError
    list(tracked([1], name="later"))
    assert steps == []


def test_the_inner_listener_hears_and_then_the_outer_one_again():
    outer, inner = [], []
    with progress(outer.append):
        with progress(inner.append):
            list(tracked([1], name="a"))
        list(tracked([1], name="b"))
    assert {step.name for step in inner} == {"a"}
    assert {step.name for step in outer} == {"b"}


def test_a_generator_is_not_run_ahead_when_its_length_is_given():
    ran = []

    def items():
        for i in range(3):
            ran.append(i)
            yield i

    loop = tracked(items(), name="x", total=3)
    assert next(loop) == 0
    assert ran == [0]


def test_a_loop_that_is_left_early_is_not_reported_as_done():
    steps = []
    with progress(steps.append):
        for item in tracked([1, 2, 3], name="x"):
            if item == 2:
                break
    assert steps[-1].done == 1


def test_an_empty_loop_is_reported_as_none_of_none():
    steps = []
    with progress(steps.append):
        assert list(tracked([], name="x")) == []
    assert steps == [Step("x", 0, 0)]
