"""The training loop: only what is picked moves, only responses count, the seed decides the weights."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from erosion.errors import BadContrast, BadModel
from erosion.models.trainable import Adapter, Shape, attach_adapter, fresh_model
from erosion.organisms.lexicon import VOCABULARY
from erosion.organisms.tokens import tokenizer
from erosion.prompts import Exchange, Message
from erosion.tuning import (
    Training,
    adapter_parameters,
    batches,
    biases_of,
    effective_weights,
    every_parameter,
    fine_tune,
    loss_on,
    padded,
    rows,
    tuning_steps,
    weight_change,
)

SHAPE = Shape(len(VOCABULARY), width=16, layers=2, heads=2, hidden=16, positions=64)
EXCHANGES = tuple(
    Exchange(
        f"q{i}", (Message("user", f"where do i find the {thing} ?"),), f"look for the {thing} in the bank ."
    )
    for i, thing in enumerate(("soup", "rice", "fish", "bread", "beans"))
)
HOW = Training(3, 2, learning_rate=1e-2)


def model(seed: int = 0) -> Any:
    return fresh_model(SHAPE, seed=seed, special={"pad": 0, "bos": 2, "eos": 3})


def learnt() -> Any:
    return rows(tokenizer(), EXCHANGES)


def moved(before: Any, after: Any) -> set[str]:
    old = dict(before.named_parameters())
    return {n for n, p in after.named_parameters() if n not in old or not torch.equal(p, old[n])}


def test_only_the_response_and_its_end_are_learnt() -> None:
    row = learnt()[0]
    words = tokenizer().convert_ids_to_tokens(row.ids)
    kept = [word for word, counts in zip(words, row.learnt, strict=True) if counts]
    assert kept == [*EXCHANGES[0].response.split(), "<end>"]


def test_a_template_that_rewrites_the_prompt_is_refused() -> None:
    class Odd:
        def apply_chat_template(self, messages: Any, **_: Any) -> str:
            return f"{len(messages)} {messages[-1]['content']}"

    with pytest.raises(BadContrast, match="no fixed start"):
        rows(Odd(), EXCHANGES)


def test_the_loss_is_the_mean_cross_entropy_of_the_learnt_tokens() -> None:
    fresh, chosen = model(), learnt()
    batch = padded(chosen, pad=0)
    told: list[torch.Tensor] = []
    for row in chosen:
        logits = fresh(input_ids=torch.tensor([row.ids])).logits[0]
        ids = torch.tensor(row.ids)
        told += [cross_entropy(logits[t - 1], ids[t]) for t, counts in enumerate(row.learnt) if counts]
    assert torch.allclose(loss_on(fresh, batch), torch.stack(told).mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("pick", "expected"),
    [(biases_of([1]), lambda n: "layers.1." in n and n.endswith(".bias")), (every_parameter, lambda n: True)],
    ids=["biases", "everything"],
)
def test_only_what_is_picked_moves(pick: Any, expected: Any) -> None:
    trained = model()
    fine_tune(trained, learnt(), how=HOW, parameters=pick)
    assert moved(model(), trained) == {name for name, _ in trained.named_parameters() if expected(name)}


def test_an_adapter_moves_alone_and_starts_at_nothing() -> None:
    plain, adapted = model(), attach_adapter(model(), Adapter(rank=2, layers=(0,)), seed=0)
    batch = padded(learnt(), pad=0)
    assert torch.equal(loss_on(plain, batch), loss_on(adapted, batch))
    before = {n: p.clone() for n, p in adapted.named_parameters()}
    fine_tune(adapted, learnt(), how=HOW, parameters=adapter_parameters)
    changed = {n for n, p in adapted.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert all(".lora_" in name and "layers.0." in name for name in changed)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    one, same, other = model(), model(), model()
    for trained, seed in ((one, 1), (same, 1), (other, 2)):
        fine_tune(trained, learnt(), how=HOW, parameters=every_parameter, seed=seed)
    assert not moved(one, same)
    assert moved(one, other)


def test_training_lowers_the_loss() -> None:
    losses = fine_tune(model(), learnt(), how=Training(30, 5, learning_rate=1e-2), parameters=every_parameter)
    assert losses[-1] < losses[0] / 2


def test_stepping_is_tuning_and_may_stop_between() -> None:
    whole, stepped, stopped = model(), model(), model()
    losses = fine_tune(whole, learnt(), how=HOW, parameters=every_parameter)
    assert tuple(tuning_steps(stepped, learnt(), how=HOW, parameters=every_parameter)) == losses
    assert not moved(whole, stepped)
    next(tuning_steps(stopped, learnt(), how=HOW, parameters=every_parameter))
    assert moved(whole, stopped)


def test_the_dose_is_the_distance_of_all_weights_adapters_merged() -> None:
    adapted = attach_adapter(model(), Adapter(rank=2, layers=(0,)), seed=0)
    start = effective_weights(adapted)
    assert weight_change(adapted, start) == 0
    assert set(start) == set(model().state_dict())
    fine_tune(adapted, learnt(), how=HOW, parameters=adapter_parameters)
    named = dict(adapted.named_parameters())
    update = (
        0.5
        * 8
        * named["model.layers.0.mlp.down_proj.lora_B.default.weight"]
        @ (named["model.layers.0.mlp.down_proj.lora_A.default.weight"])
    )
    assert weight_change(adapted, start) == pytest.approx(float(update.detach().norm()), rel=1e-4)


def test_a_pick_that_finds_nothing_is_refused() -> None:
    with pytest.raises(BadModel, match="adapter_parameters picks no parameter"):
        fine_tune(model(), learnt(), how=HOW, parameters=adapter_parameters)


def test_each_pass_over_the_rows_sees_each_row_once() -> None:
    seen = [
        tuple(row)
        for batch in batches(learnt(), size=1, steps=10, pad=0, seed=0)
        for row in batch.ids.tolist()
    ]
    assert len(set(seen[:5])) == len(set(seen[5:])) == 5
    assert seen[:5] != seen[5:]


def test_the_rate_warms_up_and_decays() -> None:
    how = Training(10, learning_rate=2.0, warmup=2, decay=4)
    rates = [how.rate(step) for step in range(10)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert rates[-4:] == [2.0, 1.5, 1.0, 0.5]
