"""Laws of effects: paired before and after, on questions that no direction has seen, and finite."""

import numpy as np
import pytest
import torch
import zoo

from erosion.directions import difference_of_means
from erosion.effects import measure
from erosion.errors import BadDirection, BadInput
from erosion.interventions import patch, steer
from erosion.metrics import Scores, harm_margin
from erosion.prompts import Contrast, Exchange, Message
from erosion.sites import Site


def both(i):
    messages = (Message("user", f"w{i} w{i + 1}"),)
    sides = (("aligned", f"w{2 * i} w5"), ("misaligned", f"w{3 * i + 1}"))
    return tuple(Exchange(f"q{i}", messages, words, "all", label) for label, words in sides)


CONTRAST = Contrast(*(tuple(both(i)[side] for i in range(1, 9)) for side in (0, 1)))


def direction(**facts):
    generator = torch.Generator().manual_seed(0)
    aligned, misaligned = torch.randn(2, 5, zoo.WIDTH, generator=generator)
    return difference_of_means(aligned + 1, misaligned - 1, at=Site(1)).stamped(**facts)


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


def test_an_effect_is_the_metric_before_and_under_edits_question_by_question(model):
    edit = steer(direction(), by=0.5)
    effect = measure(model, CONTRAST, harm_margin, under=[edit])
    assert np.array_equal(effect.before.values, harm_margin(model, CONTRAST).values)
    with model.applied([edit]):
        assert np.array_equal(effect.after.values, harm_margin(model, CONTRAST).values)
    assert np.array_equal(effect.differences, effect.after.values - effect.before.values)
    assert effect.change.value == pytest.approx(effect.differences.mean())
    assert effect.change.unit == "nats per token"
    assert effect.under == ("steer +0.5 at L1.resid_post",)
    assert str(effect).startswith("harm margin of ")


def test_no_edit_has_no_effect(model):
    assert (measure(model, CONTRAST, harm_margin).differences == 0).all()
    assert (measure(model, CONTRAST, harm_margin, under=[steer(direction(), by=0)]).differences == 0).all()


def test_a_question_that_the_direction_has_seen_is_refused_unless_it_is_allowed_by_name(model):
    seen = direction(questions=("q3", "elsewhere"))
    for edit in (steer(seen, by=1), patch(torch.randn(zoo.WIDTH), at=Site(1), along=seen)):
        with pytest.raises(BadDirection, match=r"has seen question 'q3' \(1 of the 8 asked\)"):
            measure(model, CONTRAST, harm_margin, under=[edit])
        measure(model, CONTRAST, harm_margin, under=[edit], allowing=["q3"])
        measure(model, CONTRAST.only(["q1", "q2"]), harm_margin, under=[edit])


def counted(values_of):
    """A metric that gives other values each time it is asked."""
    calls = []

    def metric(model, contrast):
        model.run(model.batch_of(model.render(contrast.exchanges), [0, 1]))
        calls.append(1)
        return Scores(
            np.array(values_of(len(calls), len(contrast)), dtype=float), contrast.questions, "own", "x"
        )

    return metric


def test_a_metric_of_ones_own_is_taken(model):
    effect = measure(model, CONTRAST, counted(lambda call, n: [call] * n), under=[steer(direction(), by=1)])
    assert (effect.differences == 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_metric_that_is_not_finite_is_refused_before_and_under_edits(model, value):
    edits = [steer(direction(), by=1)]
    before = counted(lambda call, n: [0] * (n - 1) + [value])
    with pytest.raises(
        BadInput, match=r"The own is not finite on 1 of 8 questions \(first 'q8'\) without edits"
    ):
        measure(model, CONTRAST, before, under=edits)
    under = counted(lambda call, n: [value if call == 2 else 0] * n)
    with pytest.raises(BadInput, match=r"not finite on 8 of 8 .* under steer \+1 .*: use a smaller dose"):
        measure(model, CONTRAST, under, under=edits)


def test_a_metric_that_gives_other_questions_under_edits_is_refused(model):
    calls = []

    def fickle(model, contrast):
        calls.append(1)
        model.run(model.batch_of(model.render(contrast.exchanges), [0]))
        questions = contrast.questions[len(calls) :]
        return Scores(np.zeros(len(questions)), questions, "fickle", "x")

    with pytest.raises(BadInput, match="gave other questions under the edits"):
        measure(model, CONTRAST, fickle, under=[steer(direction(), by=1)])


def test_edits_are_gone_after_a_metric_failed(model):
    before = harm_margin(model, CONTRAST).values
    with pytest.raises(ZeroDivisionError):
        measure(model, CONTRAST, lambda *_: 1 / 0, under=[steer(direction(), by=1)])
    assert np.array_equal(harm_margin(model, CONTRAST).values, before)
