"""Laws of batches: every exchange once, within the budget, padded either way, halved when memory runs out."""

from itertools import pairwise

import agreement
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from erosion.errors import BadContrast, BadInput
from erosion.models.batches import for_each_batch, make_batch, plan_batches, position_ids
from erosion.progress import progress

LENGTHS = st.lists(st.integers(4, 60), max_size=40)
ROWS = st.lists(st.integers(5, 30), min_size=1, max_size=6)
BUDGET = st.integers(1, 300)
few = settings(max_examples=25, deadline=None)


@few
@given(LENGTHS, BUDGET, st.integers(0, 20))
def test_a_plan_holds_every_exchange_once_within_the_budget(lengths, budget, growing):
    plan = plan_batches(agreement.words(*lengths), budget, growing=growing)
    assert sorted(i for index in plan for i in index) == list(range(len(lengths)))
    for index in plan:
        longest = max(lengths[i] for i in index) + growing
        assert len(index) == 1 or len(index) * longest <= budget


@few
@given(LENGTHS, BUDGET)
def test_a_plan_is_sorted_by_length_and_wastes_no_room(lengths, budget):
    plan = plan_batches(agreement.words(*lengths), budget)
    order = [lengths[i] for index in plan for i in index]
    assert order == sorted(order)
    for index, later in pairwise(plan):
        assert (len(index) + 1) * lengths[later[0]] > budget


@few
@given(LENGTHS, BUDGET)
def test_a_plan_depends_on_nothing_else(lengths, budget):
    rendered = agreement.words(*lengths, seed=1)
    assert plan_batches(rendered, budget) == plan_batches(agreement.words(*lengths, seed=2), budget)


@few
@given(ROWS, st.sampled_from(["left", "right"]))
def test_a_batch_holds_its_exchanges_and_their_spans_on_either_side(lengths, side):
    rendered = agreement.words(*lengths)
    batch = make_batch(rendered, range(len(rendered)), pad_id=7, side=side)
    response, weights = batch.span("response"), batch.weights("response")
    for row, one in enumerate(rendered):
        real = batch.mask[row].bool()
        assert tuple(batch.ids[row][real].tolist()) == one.ids
        assert (batch.ids[row][~real] == 7).all()
        assert position_ids(batch.mask)[row][real].tolist() == list(range(len(one)))
        assert tuple(batch.ids[row][response[row]].tolist()) == one.ids[slice(*one.span("response"))]
    assert torch.allclose(weights.sum(-1), torch.ones(len(rendered)))
    assert torch.equal(weights > 0, response)


@few
@given(ROWS, st.sampled_from(["left", "right"]))
def test_prompt_and_response_scopes_share_out_every_real_position(lengths, side):
    batch = make_batch(rendered := agreement.words(*lengths), range(len(rendered)), pad_id=0, side=side)
    prompt, response = batch.scope("prompt"), batch.scope("response")
    assert torch.equal(prompt | response, batch.mask.bool())
    assert torch.equal(batch.scope("all"), batch.mask.bool())
    assert not (prompt & response).any()
    assert prompt.sum(-1).tolist() == [one.span("response")[0] for one in rendered]


def test_a_span_that_is_not_there_is_refused_with_those_that_are():
    batch = agreement.batch_of(agreement.words(6))
    with pytest.raises(BadContrast, match="no span 'system': choose one of response, end_of_turn"):
        batch.span("system")


def work_through(rendered, plan, work):
    for_each_batch(plan, lambda index: make_batch(rendered, index, pad_id=0), work, name="reading")


def out_of_memory(limit, seen):
    """Work that fits at most ``limit`` rows."""

    def work(batch):
        if len(batch.index) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(batch.index)

    return work


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(limit):
    rendered, seen = agreement.words(*range(4, 20)), []
    plan = plan_batches(rendered, 10**6)
    work_through(rendered, plan, out_of_memory(limit, seen))
    assert [i for index in seen for i in index] == list(plan[0])
    assert max(map(len, seen)) <= limit


def test_one_exchange_that_does_not_fit_is_refused_by_name():
    rendered = agreement.words(4, 5)
    plan = plan_batches(rendered, 10**6)
    with pytest.raises(BadInput, match=r"'q0/aligned' alone \(4 tokens\) does not fit in memory: shorten it"):
        work_through(rendered, plan, out_of_memory(0, []))


def test_the_cpus_way_of_running_out_is_known_and_other_errors_pass():
    rendered, seen = agreement.words(4, 5), []

    def work(batch, message):
        if len(batch.index) > 1:
            raise RuntimeError(message)
        seen.append(batch.index)

    def run(message):
        plan = plan_batches(rendered, 10**6)
        work_through(rendered, plan, lambda batch: work(batch, message))

    run("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory")
    assert seen == [(0,), (1,)]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run("shapes cannot be multiplied")


def test_progress_counts_the_batches_of_the_plan():
    rendered, steps = agreement.words(4, 5, 6), []
    with progress(steps.append):
        work_through(rendered, plan_batches(rendered, 6), lambda batch: None)
    assert [(step.name, step.done, step.total) for step in steps] == [
        ("reading", done, 3) for done in range(4)
    ]
