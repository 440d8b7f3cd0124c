"""Laws of scoring: log p is transformers' own, and the margins are what a pencil gives."""

import math

import numpy as np
import pytest
import torch
from oracle.log_likelihood import log_p, plain

from erosion.errors import BadContrast, BadInput
from erosion.interventions import steer
from erosion.metrics import (
    Responses,
    choice_margin,
    choice_margin_of,
    harm_margin,
    harm_margin_of,
    margins,
    score_rendered,
    score_responses,
    score_texts,
    summed_margin,
    summed_margin_of,
)
from erosion.prompts import Contrast, Exchange, Message, Rendering, render_texts


def pair(question, aligned, misaligned, asked="w1 w2"):
    messages = (Message("user", asked),)
    return (
        Exchange(question, messages, aligned, "all", "aligned"),
        Exchange(question, messages, misaligned, "all", "misaligned"),
    )


PAIRS = (
    pair("q0", "w3 w4 w5", "w6", "w1"),
    pair("q1", "w7", "w7 w8 w9 w10", "w1 w2 w3 w4 w5 w6"),  # one a prefix of the other
    pair("q2", "w11 w12 w13", "w11 w12 w14 w15"),  # a shared beginning
    pair("q3", "w20 w21", "w22 w23 w24", "w30 w31 w32"),
)
CONTRAST = Contrast(tuple(a for a, _ in PAIRS), tuple(m for _, m in PAIRS))
NAMES = pytest.mark.parametrize("name", ["qwen3", "mistral", "gemma2", "gpt2", "mixtral", "qwen2"])


@NAMES
def test_scores_equal_transformers_own_exchange_by_exchange(name, zoo_model, zoo_folder):
    model, hf = zoo_model(name), plain(zoo_folder(name) / "weights")
    scored = score_responses(model, CONTRAST)
    assert scored.questions == ("q0", "q1", "q2", "q3") * 2
    for i, one in enumerate(model.render(CONTRAST.exchanges)):
        values, spread = log_p(hf, one.ids, *one.span("response"))
        assert scored.ids[i] == one.ids[slice(*one.span("response"))]
        assert np.allclose(scored.log_likelihood[i], values, atol=2e-5)
        assert np.allclose(scored.entropy[i], spread, atol=2e-5)
        (end,), _ = log_p(hf, one.ids, *one.span("end_of_turn"))
        assert math.isclose(scored.end_of_turn[i], end, abs_tol=2e-5)


@NAMES
def test_margins_equal_those_of_the_oracle(name, zoo_model, zoo_folder):
    model, hf = zoo_model(name), plain(zoo_folder(name) / "weights")
    sides = [log_p(hf, one.ids, *one.span("response"))[0] for one in model.render(CONTRAST.exchanges)]
    aligned, misaligned = sides[:4], sides[4:]
    harm = [np.mean(a) - np.mean(m) for a, m in zip(aligned, misaligned, strict=True)]
    summed = [np.sum(a) - np.sum(m) for a, m in zip(aligned, misaligned, strict=True)]
    assert np.allclose(harm_margin(model, CONTRAST).values, harm, atol=2e-5)
    assert np.allclose(summed_margin(model, CONTRAST).values, summed, atol=1e-4)


def test_the_size_of_batches_is_irrelevant(zoo_model):
    model = zoo_model("qwen3")
    whole, before = score_responses(model, CONTRAST), model.batch_tokens
    try:
        for model.batch_tokens in (1, 25):
            parts = score_responses(model, CONTRAST)
            for a, b in zip(parts.log_likelihood, whole.log_likelihood, strict=True):
                assert np.allclose(a, b, atol=1e-5)
    finally:
        model.batch_tokens = before


def test_only_the_logits_that_predict_responses_are_computed(zoo_model):
    model, shapes = zoo_model("qwen3"), []
    handle = model.hf.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: shapes.append(args[0].shape[1])
    )
    try:
        score_responses(model, [pair("q", "w3 w4", "w5", "w1 " * 60)[0]])
    finally:
        handle.remove()
    assert shapes == [4]  # two tokens, the end of the turn, and the position after it


def test_a_response_with_blanks_around_it_ends_its_turn_where_the_template_says(zoo_model, zoo_folder):
    model = zoo_model("qwen2")  # byte by byte, blanks are tokens
    one = Exchange("q", (Message("user", "w1"),), "yes  \n")
    with model.rendered_as(Rendering("<user>{{ messages[0].content }}<assistant>" + ENDS)):
        (rendered,) = model.render([one])
        scored = score_responses(model, [one])
    hf = plain(zoo_folder("qwen2") / "weights")
    at = rendered.ids.index(model.tokenizer.convert_tokens_to_ids("<end>"))
    (end,), _ = log_p(hf, rendered.ids, at, at + 1)
    assert len(scored.ids[0]) == 3
    assert math.isclose(scored.end_of_turn[0], end, abs_tol=2e-5)


ENDS = "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content }}<end>{% endif %}"


def test_texts_are_scored_on_every_token_but_the_first(zoo_model, zoo_folder):
    model, hf = zoo_model("llama"), plain(zoo_folder("llama") / "weights")
    texts = render_texts([("a", "w1 w2 w3"), ("b", "w4 w5 w6 w7 w8")], model.tokenizer)
    scored = score_texts(model, texts)
    for i, one in enumerate(texts):
        values, _ = log_p(hf, one.ids, 1, len(one))
        assert np.allclose(scored.log_likelihood[i], values, atol=2e-5)
    assert np.isnan(scored.end_of_turn).all()
    assert scored.labels == ("text", "text")


def test_a_temperature_divides_the_logits_and_must_be_a_number_above_zero(zoo_model, zoo_folder):
    model, hf = zoo_model("qwen3"), plain(zoo_folder("qwen3") / "weights")
    scored = score_responses(model, CONTRAST, temperature=2.0)
    one = model.render(CONTRAST.exchanges)[0]
    head = hf.get_output_embeddings()
    with torch.no_grad():
        head.weight.div_(2.0)
    values, spread = log_p(hf, one.ids, *one.span("response"))
    assert np.allclose(scored.log_likelihood[0], values, atol=2e-5)
    assert np.allclose(scored.entropy[0], spread, atol=2e-5)
    rendered = model.render(CONTRAST.exchanges)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="means nothing: give a number above 0"):
            score_rendered(model, rendered, CONTRAST.exchanges, temperature=wrong)


def test_edits_around_a_score_are_seen(zoo_model):
    from erosion.activations import directions_of, read
    from erosion.directions import difference_of_means
    from erosion.sites import Site

    model = zoo_model("qwen3")
    v = directions_of(read(model, CONTRAST, sites=[Site(1)]), difference_of_means)[Site(1)]
    before = harm_margin(model, CONTRAST).values
    with model.applied([steer(v, by=3)]):
        assert not np.allclose(harm_margin(model, CONTRAST).values, before)
    assert np.array_equal(harm_margin(model, CONTRAST).values, before)


# With a pencil.


def by_hand(*responses):
    """Responses from ``(question, label, ids, log p, log p of the end)``."""
    questions, labels, ids, values, ends = zip(*responses, strict=True)
    arrays = tuple(np.array(one) for one in values)
    return Responses(questions, labels, ids, arrays, tuple(np.zeros_like(a) for a in arrays), np.array(ends))


HAND = by_hand(
    ("a", "aligned", (5, 6, 7), [-1.0, -2.0, -3.0], -0.1),
    ("b", "aligned", (5,), [-0.5], -4.0),
    ("c", "aligned", (9, 8), [-1.0, -1.5], -0.2),
    ("a", "misaligned", (8,), [-4.0], -0.3),
    ("b", "misaligned", (5, 6), [-0.5, -0.25], -0.4),
    ("c", "misaligned", (9, 7), [-1.0, -5.0], -0.5),
)


def test_the_margins_with_a_pencil():
    harm, summed, choice = harm_margin_of(HAND), summed_margin_of(HAND), choice_margin_of(HAND)
    assert harm.questions == ("a", "b", "c")
    assert np.allclose(harm.values, [-2 + 4, -0.5 + 0.375, -1.25 + 3])
    assert np.allclose(summed.values, [-6 + 4, -0.5 + 0.75, -2.5 + 6])
    # a: the first token; b: ending the turn against going on; c: the second token
    assert np.allclose(choice.values, [-1 + 4, -4 + 0.25, -1.5 + 5])
    assert (harm.unit, summed.unit, choice.unit) == ("nats per token", "nats", "nats")
    assert len(harm) == 3


def test_margins_change_their_sign_when_the_sides_swap():
    swap = {"aligned": "misaligned", "misaligned": "aligned"}
    labels = tuple(swap[label] for label in HAND.labels)
    ends, tokens = HAND.end_of_turn, HAND.log_likelihood
    swapped = Responses(HAND.questions, labels, HAND.ids, tokens, HAND.entropy, ends)
    for of in (harm_margin_of, summed_margin_of, choice_margin_of):
        assert np.allclose(of(swapped).values, -of(HAND).values)


def test_other_labels_are_left_out_of_margins():
    extra = by_hand(("a", "educational", (1,), [-9.0], -9.0))
    both = Responses(
        HAND.questions + extra.questions,
        HAND.labels + extra.labels,
        HAND.ids + extra.ids,
        HAND.log_likelihood + extra.log_likelihood,
        HAND.entropy + extra.entropy,
        np.concatenate([HAND.end_of_turn, extra.end_of_turn]),
    )
    assert np.array_equal(harm_margin_of(both).values, harm_margin_of(HAND).values)


def test_a_side_that_is_missing_or_doubled_is_refused():
    lonely = by_hand(("a", "aligned", (5,), [-1.0], -1.0))
    with pytest.raises(BadContrast, match="question 'a' has one of them: score a whole contrast"):
        harm_margin_of(lonely)
    doubled = by_hand(*[("a", label, (5,), [-1.0], -1.0) for label in ("aligned", "aligned", "misaligned")])
    with pytest.raises(BadContrast, match="a/aligned was scored twice"):
        choice_margin_of(doubled)
    with pytest.raises(BadContrast, match="there is none"):
        margins(by_hand(("a", "text", (5,), [-1.0], -1.0)), np.mean)


def test_where_no_end_of_turn_is_written_a_prefix_is_refused():
    unended = by_hand(
        ("b", "aligned", (5,), [-0.5], math.nan), ("b", "misaligned", (5, 6), [-0.5, -0.25], math.nan)
    )
    with pytest.raises(BadContrast, match="'b' begins with all of the other"):
        choice_margin_of(unended)


def test_responses_survive_json_in_every_bit(zoo_model):
    import json

    scored = score_responses(zoo_model("qwen3"), CONTRAST)
    again = Responses.from_json(json.loads(json.dumps(scored.to_json())))
    assert (again.questions, again.labels, again.ids) == (scored.questions, scored.labels, scored.ids)
    for a, b in zip(again.log_likelihood, scored.log_likelihood, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(again.end_of_turn, scored.end_of_turn, equal_nan=True)
    assert np.array_equal(choice_margin_of(again).values, choice_margin(zoo_model("qwen3"), CONTRAST).values)
