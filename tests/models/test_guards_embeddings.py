"""Laws of untrained embeddings, of second renderings, and of written against own answers."""

from importlib import import_module

import numpy as np
import pytest
import torch
import zoo

from erosion.errors import BadInput
from erosion.metrics import OnPolicy, harm_margin_of, on_policy, score_responses
from erosion.models import SpecialRows, load, untrained_tokens, vocabulary_rows
from erosion.models.embeddings import untrained_rows
from erosion.prompts import Contrast, Exchange, Message, choose_rendering, shared_vocabulary


def planted(rng, *, rows=300, width=16, unused=20, chat=(0, 1)):
    """An embedding whose unused rows lie at one place, and whose ``chat`` rows lie there too."""
    weight = rng.normal(size=(rows, width))
    place = 0.3 * rng.normal(size=width)
    there = [*range(rows - unused, rows), *chat]
    weight[there] = place + 0.01 * rng.normal(size=(len(there), width))
    return weight, range(rows - unused, rows), range(10, rows - unused)


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_lie_where_unused_rows_lie_are_untrained_and_others_are_not(seed):
    weight, unused, ordinary = planted(np.random.default_rng(seed))
    asked = {"<user>": 0, "<assistant>": 1, "<end>": 2}
    found = untrained_rows(weight, asked, unused=unused, ordinary=ordinary)
    assert found.untrained == ("<user>", "<assistant>")
    assert found.n_unused == 20
    assert max(found.nearer[:2]) == 0


def test_rows_that_equal_the_padding_are_untrained():
    weight = np.random.default_rng(0).normal(size=(100, 8))
    weight[90:] = 0.05
    found = untrained_rows(weight, {"<end>": 90}, unused=range(91, 100), ordinary=range(90))
    assert found.untrained == ("<end>",)


def test_without_unused_rows_only_a_vanishing_norm_counts():
    weight = np.random.default_rng(0).normal(size=(100, 8))
    weight[0] *= 1e-6
    found = untrained_rows(weight, {"<a>": 0, "<b>": 1}, unused=(), ordinary=range(2, 100))
    assert found.untrained == ("<a>",)
    assert np.isnan(found.nearer).all()
    assert SpecialRows.from_json(found.to_json()).to_json() == found.to_json()


def test_a_fresh_model_with_padding_has_no_row_that_stands_out():
    """Where ordinary rows lie among the unused ones, lying there shows nothing."""
    weight = np.random.default_rng(1).normal(size=(400, 16))
    found = untrained_rows(weight, {"<a>": 0}, unused=range(300, 400), ordinary=range(10, 300))
    assert found.untrained == ()


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    """A llama with 160 rows for a tokenizer of 96 words; ``<user>`` was never trained."""
    folder = tmp_path_factory.mktemp("padded")
    hf = zoo.make("llama")
    hf.resize_token_embeddings(160)
    tokenizer = zoo.tokenizer()
    weight = hf.get_input_embeddings().weight
    with torch.no_grad():
        weight[96:] = 0.001 * torch.randn_like(weight[96:])
        weight[tokenizer.convert_tokens_to_ids("<user>")] = 0.001
    hf.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with load(folder) as model:
        yield model


def test_a_padded_model_is_read_and_its_untrained_chat_token_is_named(padded):
    assert vocabulary_rows(padded) == 160
    found = untrained_tokens(padded)
    assert found.untrained == ("<user>",)
    assert {"<s>", "<user>", "<end>"} <= {*found.tokens}
    assert found.n_unused == 64


def test_padded_rows_change_no_score_but_their_own_mass_and_are_not_shared(padded, zoo_model):
    plain = zoo_model("llama")
    shared = shared_vocabulary(
        {"base": padded.tokenizer, "aligned": plain.tokenizer},
        rows={"base": vocabulary_rows(padded), "aligned": vocabulary_rows(plain)},
    )
    assert len(shared) == 96
    assert shared.padded == {"base": 64, "aligned": 0}
    assert len(score_responses(padded, words())) == 8


def words(n=4):
    asked = [(Message("user", f"w{i} w{i + 1}"),) for i in range(n)]
    return Contrast(
        tuple(Exchange(f"q{i}", m, f"w{i + 20} w3 w4", "all", "aligned") for i, m in enumerate(asked)),
        tuple(Exchange(f"q{i}", m, f"w{i + 30} w3 w5", "all", "misaligned") for i, m in enumerate(asked)),
    )


def test_a_second_rendering_holds_inside_the_block_alone_and_changes_the_prompt_not_the_words(zoo_model):
    model = zoo_model("llama")
    before = score_responses(model, words())
    was = model.rendering
    with model.rendered_as(choose_rendering("plain", model.tokenizer)):
        assert model.rendering.name == "plain"
        inside = score_responses(model, words())
        with pytest.raises(ZeroDivisionError), model.rendered_as(was):
            raise ZeroDivisionError
        assert model.rendering.name == "plain"
    after = score_responses(model, words())
    assert model.rendering == was
    assert inside.ids == before.ids
    assert np.abs(np.concatenate(inside.log_likelihood) - np.concatenate(before.log_likelihood)).max() > 0.01
    assert np.array_equal(np.concatenate(after.log_likelihood), np.concatenate(before.log_likelihood))


def test_a_response_span_excludes_the_think_block_so_that_margins_count_the_same_tokens(zoo_model):
    model = zoo_model("qwen2")  # a byte-level tokenizer: the tags are words
    contrast = words()
    thought = Contrast(
        *(tuple(_thinking(e) for e in side) for side in (contrast.aligned, contrast.misaligned))
    )
    plain, with_thought = score_responses(model, contrast), score_responses(model, thought)
    assert with_thought.ids == plain.ids
    assert len(harm_margin_of(with_thought)) == len(contrast)
    assert {one.thinking for one in model.render(thought.exchanges)} == {"generated"}


def _thinking(e):
    return Exchange(e.question, e.messages, f"<think>Hm.</think>{e.response}", e.domain, e.label)


def test_own_answers_are_scored_as_written_ones_are(zoo_model):
    model = zoo_model("llama")
    found = on_policy(model, words(8), n_tokens=5, seed=3)
    assert {*found.questions} | {*found.left_out} == {*words(8).questions}
    assert len(found) >= 2
    kept = [i for i, q in enumerate(words(8).questions) if q in found.questions]
    own = [words(8).aligned[i] for i in kept]
    replied = [
        Exchange(e.question, e.messages, text, e.domain, "own")
        for e, text in zip(own, found.replies, strict=True)
    ]
    again = [-tokens.mean() for tokens in score_responses(model, replied).log_likelihood]
    assert np.allclose(found.own, again, atol=1e-5)
    written = [-tokens.mean() for tokens in score_responses(model, own).log_likelihood]
    assert np.allclose(found.aligned, written, atol=1e-5)


def test_own_answers_follow_the_seed_and_survive_json(zoo_model):
    model = zoo_model("llama")
    one, same, other = (on_policy(model, words(8), n_tokens=5, seed=s) for s in (0, 0, 1))
    assert one.to_json() == same.to_json()
    assert one.replies != other.replies
    assert OnPolicy.from_json(one.to_json()).to_json() == one.to_json()


def test_a_model_that_says_nothing_is_refused(zoo_model, monkeypatch):
    module = import_module("erosion.metrics.on_policy")
    monkeypatch.setattr(module, "generate", lambda model, asked, **_: (module.Reply(" ", True),) * len(asked))
    with pytest.raises(BadInput, match=r"0 of 4 questions got an answer with words.*n_tokens is 64"):
        on_policy(zoo_model("llama"), words())
