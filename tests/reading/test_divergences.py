"""Laws of comparing distributions from head states: equal to two models' own logits, never held whole."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, CohereConfig, GraniteConfig

from erosion.errors import BadInput, BadModel, BadRun
from erosion.metrics import (
    HeadStates,
    load_divergences,
    load_head_states,
    read_head_states,
    token_divergences,
    top_continuations,
)
from erosion.models.heads import Head, head_of, listening, require_head
from erosion.probability import jensen_shannon, kl
from erosion.prompts import Contrast, Exchange, Message

ASKED = (Message("user", "w1 w2"),)
SIDES = [
    [Exchange(f"q{i}", ASKED, f"w{i + 3} w4 w{i + 5}{' w9' * i}", "all", "aligned") for i in range(3)],
    [Exchange(f"q{i}", ASKED, f"w{i + 20} w21", "all", "misaligned") for i in range(3)],
]
CONTRAST = Contrast(tuple(SIDES[0]), tuple(SIDES[1]))


def own_logits(model, one):
    """What the model itself gives where the response is predicted."""
    start, stop = one.span("response")
    with torch.no_grad():
        return model.hf(torch.tensor([one.ids])).logits[0, start - 1 : stop - 1]


@pytest.mark.parametrize("name", ["qwen3", "gemma2", "gpt2", "phi3"])
def test_divergences_equal_those_of_two_models_own_logits(name, zoo_model, adapted_model):
    models = zoo_model(name), adapted_model(name)
    p, q = (read_head_states(model, CONTRAST) for model in models)
    found = token_divergences(p, q, at_once=200)
    for i, one in enumerate(models[0].render(CONTRAST.exchanges)):
        a, b = (own_logits(model, one) for model in models)
        assert np.allclose(found.kl[i], kl(a, b), atol=1e-5, rtol=1e-4)
        assert np.allclose(found.reverse_kl[i], kl(b, a), atol=1e-5, rtol=1e-4)
        assert np.allclose(found.jensen_shannon[i], jensen_shannon(a, b), atol=1e-5)
        ids = torch.tensor(p.ids[i])
        above = (a > a.gather(-1, ids[:, None])).sum(-1) + 1
        assert found.rank[i].tolist() == above.tolist()
        assert found.outside[i].max() < 1e-6


@pytest.mark.parametrize(
    ("config", "setting"), [(CohereConfig, {"logit_scale": 0.25}), (GraniteConfig, {"logits_scaling": 4.0})]
)
def test_heads_that_scale_their_logits_are_known_and_one_that_does_not_fit_is_refused(config, setting):
    torch.manual_seed(0)
    size = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
    hf = AutoModelForCausalLM.from_config(config(**size, **heads, **setting)).eval()
    with torch.no_grad(), listening(hf, "tiny") as heard:
        logits = hf(torch.arange(10)[None]).logits
    head = head_of(hf, "tiny")
    assert head.scale == 0.25
    assert require_head(head, heard[0], logits, name="tiny") <= 1e-5
    with pytest.raises(BadModel, match="does something that is not known here"):
        require_head(dataclasses.replace(head, scale=1.0), heard[0], logits, name="tiny")


def test_what_is_saved_loads_bit_for_bit(zoo_model, tmp_path):
    states = read_head_states(zoo_model("gpt2"), CONTRAST)
    again = load_head_states(states.save(tmp_path / "states.safetensors"))
    assert torch.equal(again.states, states.states)
    assert torch.equal(again.head.weight, states.head.weight)
    assert (again.ids, again.words, again.labels) == (states.ids, states.words, states.labels)
    found = token_divergences(states, again)
    loaded = load_divergences(found.save(tmp_path / "divergences.safetensors"))
    for one, other in zip(found.kl, loaded.kl, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(BadRun, match="holds no head states"):
        load_head_states(tmp_path / "divergences.safetensors")


def made(vocab, lengths, *, width=4, seed=0, meanings=None):
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    weight = torch.randn(vocab, width, generator=generator)
    ids = torch.arange(n).remainder(50).split(list(lengths))
    return HeadStates(
        tuple(f"q{i}" for i in range(len(lengths))),
        ("aligned",) * len(lengths),
        tuple(tuple(one.tolist()) for one in ids),
        tuple(tuple(str(i) for i in one.tolist()) for one in ids),
        torch.randn(n, width, generator=generator),
        Head(weight, None),
        torch.arange(vocab) if meanings is None else meanings,
    )


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation gives."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


def test_no_more_logits_exist_at_once_than_asked_for_however_many_tokens_there_are():
    vocab, at_once = 50_000, 400_000
    sizes = []
    for tokens in (40, 160):
        p, q = made(vocab, (tokens,)), made(vocab, (tokens,), seed=1)
        with Largest() as largest:
            token_divergences(p, q, at_once=at_once)
        sizes.append(largest.numbers)
        assert tokens * vocab > at_once >= largest.numbers
    assert sizes[0] == sizes[1]


def test_the_size_of_the_pieces_is_irrelevant():
    p, q = made(97, (3, 5, 1)), made(97, (3, 5, 1), seed=1)
    whole, parts = token_divergences(p, q), token_divergences(p, q, at_once=1)
    for one, other in zip(whole.kl, parts.kl, strict=True):
        assert np.allclose(one, other, atol=1e-6)
    assert [len(one) for one in parts.kl] == [3, 5, 1]


def test_rows_that_the_models_do_not_share_are_left_out_and_their_mass_is_reported():
    p, q = (
        made(60, (4,)),
        made(64, (4,), seed=1, meanings=torch.tensor([*range(58), 7777, 8888, *([-1] * 4)])),
    )
    found = token_divergences(p, q)
    a, b = p.head.logits(p.states), q.head.logits(q.states)
    assert np.allclose(found.kl[0], kl(a[:, :58], b[:, :58]), atol=1e-5)
    assert np.allclose(found.outside[0], a.softmax(-1)[:, 58:].sum(-1), atol=1e-6)
    assert np.allclose(found.other_outside[0], b.softmax(-1)[:, 58:].sum(-1), atol=1e-6)
    assert (found.other_outside[0] > 0).all()
    with pytest.raises(BadInput, match="do not share a tokenizer"):
        token_divergences(p, dataclasses.replace(q, meanings=torch.full((64,), -1)))


def test_other_responses_are_refused():
    with pytest.raises(BadInput, match="on the same responses, and their ids differ"):
        token_divergences(made(97, (3, 2)), dataclasses.replace(made(97, (3, 2)), ids=((1, 2, 3), (4, 5))))


def test_continuations_are_the_models_own_likeliest_tokens(zoo_model):
    model = zoo_model("qwen3")
    said = top_continuations(model, CONTRAST.exchanges[:2], k=5)
    for i, one in enumerate(model.render(CONTRAST.exchanges[:2])):
        with torch.no_grad():
            stop = one.span("response")[1]
            chances = model.hf(torch.tensor([one.ids[:stop]])).logits[0, -1].softmax(-1)
        values, ids = chances.topk(5)
        assert np.allclose(said.probabilities[i], values, atol=1e-5)
        assert said.words[i] == tuple(model.tokenizer.decode([j]) for j in ids.tolist())
    assert type(said).from_json(said.to_json()) == said
    with pytest.raises(BadInput, match="at least one prefix"):
        top_continuations(model, [], k=5)
