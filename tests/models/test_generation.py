"""Laws of generation: the cache changes nothing, edits hold where they should, seeds and batches obey."""

from functools import wraps

import agreement
import pytest
import torch
import zoo

from erosion.directions import difference_of_means
from erosion.errors import BadInput
from erosion.interventions import ablate, patch, steer
from erosion.models import generate
from erosion.models.generation import stop_ids
from erosion.prompts import Message, Rendered
from erosion.prompts.rendering import conversation_ids
from erosion.sites import Site

NAMES = ("qwen3", "llama", "mistral", "gemma2", "gemma3", "phi3", "gpt2", "gpt-neox", "mixtral")
ASKED = tuple(
    (Message("user", " ".join(f"w{3 * i + j}" for j in range(length))),) for i, length in enumerate((9, 2, 5))
)


def direction(layer, seed=0, width=zoo.WIDTH):
    generator = torch.Generator().manual_seed(seed)
    aligned, misaligned = torch.randn(2, 4, width, generator=generator)
    return difference_of_means(aligned + 2, misaligned - 1, at=Site(layer))


def uncached(model, messages, under, length):
    """The greedy answer by whole passes: each token from a fresh pass over everything before it."""
    ids, ends, answer = conversation_ids(messages, model.rendering, model.tokenizer), stop_ids(model), []
    start = len(ids)
    while len(answer) < length:
        spans = {"response": (start, len(ids))}
        batch = agreement.batch_of([Rendered("q", "q", "", ids, spans)])
        with model.applied(under) if answer else model.applied([e for e in under if e.scope != "response"]):
            token = int(model.logits(batch)[0, -1].argmax())
        if token in ends:
            return tuple(answer)
        answer.append(token)
        ids = (*ids, token)
    return tuple(answer)


def text_of(model, tokens):
    return model.tokenizer.decode(tokens, skip_special_tokens=True).strip()


@pytest.mark.parametrize("scope", ["all", "prompt", "response"])
@pytest.mark.parametrize("name", NAMES)
def test_a_cached_answer_under_edits_equals_whole_passes_token_by_token(name, scope, zoo_model):
    model = zoo_model(name)
    under = [steer(direction(0), by=1.5, scope=scope), ablate(direction(1, seed=1), scope=scope)]
    replies = generate(model, ASKED, under=under, max_new_tokens=8)
    expected = [text_of(model, uncached(model, messages, under, 8)) for messages in ASKED]
    assert [reply.text for reply in replies] == expected


@pytest.mark.parametrize("name", NAMES)
def test_greedy_answers_are_transformers_own(name, zoo_model, zoo_folder):
    model = zoo_model(name)
    replies = generate(model, ASKED, max_new_tokens=8)
    with agreement.oracle(zoo_folder(name), "plain") as hf:
        for messages, reply in zip(ASKED, replies, strict=True):
            ids = torch.tensor([conversation_ids(messages, model.rendering, model.tokenizer)])
            ends = sorted(stop_ids(model))
            written = hf.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=8,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=ends,
            )[0, ids.shape[1] :].tolist()
            ended = written[-1] in ends
            assert reply.text == text_of(model, written[:-1] if ended else written)
            assert reply.ended == ended


def test_scopes_of_an_answer_differ_so_that_the_laws_above_mean_something(zoo_model):
    model, texts = zoo_model("qwen3"), {}
    for scope in ("all", "prompt", "response"):
        replies = generate(model, ASKED, under=[steer(direction(0), by=3, scope=scope)], max_new_tokens=8)
        texts[scope] = tuple(reply.text for reply in replies)
    texts["none"] = tuple(reply.text for reply in generate(model, ASKED, max_new_tokens=8))
    assert len(set(texts.values())) == 4
    first = [reply.split()[0] for reply in texts["response"]]
    assert first == [reply.split()[0] for reply in texts["none"]]  # the prompt was not touched


@pytest.mark.parametrize("temperature", [0.0, 0.7, 3.0])
def test_a_batch_of_different_lengths_equals_its_conversations_one_by_one(temperature, zoo_model):
    model = zoo_model("qwen3")
    how = {"max_new_tokens": 6, "temperature": temperature, "seed": 4}
    together = generate(model, ASKED, **how)
    whole, model.batch_tokens = model.batch_tokens, 1
    try:
        apart = generate(model, ASKED, **how)
    finally:
        model.batch_tokens = whole
    assert together == apart
    if temperature == 0:
        assert together == tuple(generate(model, [one], **how)[0] for one in ASKED)


def test_the_seed_decides_and_nothing_else(zoo_model):
    model = zoo_model("qwen3")
    how = {"max_new_tokens": 6, "temperature": 2.0}
    first = generate(model, ASKED, seed=1, **how)
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    assert generate(model, ASKED, seed=1, **how) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert generate(model, ASKED, seed=2, **how) != first


def test_the_same_question_asked_twice_is_answered_twice(zoo_model):
    replies = generate(zoo_model("qwen3"), [ASKED[0]] * 4, max_new_tokens=6, temperature=2.0)
    assert len({reply.text for reply in replies}) == 4


def test_samples_follow_the_models_own_distribution(zoo_model):
    model, n = zoo_model("qwen3"), 600
    ids = conversation_ids(ASKED[1], model.rendering, model.tokenizer)
    batch = agreement.batch_of([Rendered("q", "q", "", ids, {"response": (len(ids), len(ids))})])
    p = torch.softmax(model.logits(batch)[0, -1].double() / 2.0, dim=-1)
    counts = torch.zeros_like(p)
    for reply in generate(model, [ASKED[1]] * n, max_new_tokens=1, temperature=2.0):
        token = model.tokenizer.convert_tokens_to_ids(reply.text) if reply.text else -1
        if token >= 8:
            counts[token] += 1
    likely = torch.arange(len(p)) >= 8
    expected = p[likely] * n
    z = (counts[likely] - expected) / (expected * (1 - p[likely])).sqrt()
    assert z.abs().max() < 4.5
    assert counts.sum() > 0.5 * n * p[likely].sum()


def test_a_checkpoints_own_sampling_settings_are_left_out(zoo_model):
    model = zoo_model("qwen3")
    before = generate(model, ASKED, max_new_tokens=6)
    config = model.hf.generation_config
    config.repetition_penalty, config.top_k, config.do_sample = 5.0, 1, True
    try:
        assert generate(model, ASKED, max_new_tokens=6) == before
    finally:
        config.repetition_penalty, config.top_k, config.do_sample = 1.0, 50, False


def test_an_answer_ends_with_the_templates_end_of_turn_and_with_the_configurations(zoo_model):
    model = zoo_model("qwen3")
    assert stop_ids(model) == {2, 7}  # </s>, and <end> after each response of the template
    plain = generate(model, ASKED[:1], max_new_tokens=6)[0]
    token = model.tokenizer.convert_tokens_to_ids(plain.text.split()[2])
    config = model.hf.generation_config
    before, config.eos_token_id = config.eos_token_id, [2, token]
    try:
        stopped = generate(model, ASKED[:1], max_new_tokens=6)[0]
    finally:
        config.eos_token_id = before
    assert stopped.ended
    assert stopped.text == " ".join(plain.text.split()[:2])
    assert not plain.ended


def test_an_answer_ends_where_the_context_does(zoo_model):
    model = zoo_model("qwen3")
    long = (Message("user", "w1 " * 121),)  # 125 tokens of 128 with the template's
    (reply,) = generate(model, [long], max_new_tokens=50)
    assert not reply.ended
    assert len(reply.text.split()) <= 128 - len(conversation_ids(long, model.rendering, model.tokenizer))


def test_a_conversation_without_room_for_an_answer_is_refused(zoo_model):
    with pytest.raises(
        BadInput, match=r"Conversation 0 has \d+ tokens and the model's context holds 128: .*no room"
    ):
        generate(zoo_model("qwen3"), [(Message("user", "w1 " * 127),)])


@pytest.mark.parametrize("how", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}])
def test_a_length_or_temperature_that_means_nothing_is_refused(how, zoo_model):
    with pytest.raises(BadInput, match="mean nothing"):
        generate(zoo_model("qwen3"), ASKED, **how)


def test_no_conversation_is_refused(zoo_model):
    with pytest.raises(BadInput, match="no conversation"):
        generate(zoo_model("qwen3"), [])


def test_edits_and_hooks_are_gone_afterwards_even_after_an_error(zoo_model):
    model = zoo_model("qwen3")
    before = generate(model, ASKED, max_new_tokens=4)
    generate(model, ASKED, under=[steer(direction(1), by=2)], max_new_tokens=4)
    wrong = patch(torch.randn(1, 2, zoo.WIDTH), at=Site(1))
    with pytest.raises(BadInput, match="read the source on the same tokens"):
        generate(model, ASKED, under=[wrong], max_new_tokens=4)
    assert generate(model, ASKED, max_new_tokens=4) == before
    assert not model.bridge.list_hooks()
    assert model.batch is None


def test_a_patch_of_the_prompt_touches_the_prompt_pass_only(zoo_model):
    model = zoo_model("qwen3")
    width = len(conversation_ids(ASKED[0], model.rendering, model.tokenizer))
    source = torch.randn(1, width, zoo.WIDTH, generator=torch.Generator().manual_seed(0))
    (reply,) = generate(model, ASKED[:1], under=[patch(source, at=Site(1), scope="prompt")], max_new_tokens=5)
    assert reply != generate(model, ASKED[:1], max_new_tokens=5)[0]


def test_memory_that_runs_out_halves_the_batch_and_changes_no_answer(zoo_model, monkeypatch):
    model = zoo_model("qwen3")
    expected = generate(model, ASKED, under=[steer(direction(1), by=2)], max_new_tokens=4)
    forward = type(model.hf).forward

    @wraps(forward)
    def narrow(self, *args, **kwargs):
        if len(kwargs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model.hf), "forward", narrow)
    assert generate(model, ASKED, under=[steer(direction(1), by=2)], max_new_tokens=4) == expected
