"""Laws of edits on models: they act where they should, nowhere else, prove themselves, and come off again."""

import agreement
import pytest
import torch
import zoo

from erosion.activations import read
from erosion.directions import difference_of_means
from erosion.errors import BadDirection, BadInput, ErosionError
from erosion.interventions import ablate, clamp, patch, steer
from erosion.models import every_layer
from erosion.models.replay import replaying
from erosion.prompts import Exchange, Message
from erosion.sites import Site

RENDERED = agreement.words(*agreement.LENGTHS)
FEW = pytest.mark.parametrize("name", ["qwen3", "gemma2", "gpt2", "gpt-neox", "mixtral"])


def a_direction(at, seed=0, width=zoo.WIDTH):
    generator = torch.Generator().manual_seed(seed)
    aligned, misaligned = torch.randn(2, 4, width, generator=generator)
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


V = a_direction(Site(1))


def seen_at(model, batch, *sites):
    seen = {}
    with model.hooked([(site, lambda h, site=site: seen.__setitem__(site, h.clone())) for site in sites]):
        model.run(batch)
    return seen


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


@FEW
def test_an_edit_acts_at_its_site_and_leaves_earlier_ones_untouched_bit_for_bit(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    sites = every_layer(model)
    before = seen_at(model, batch, *sites)
    edits = [steer(V, by=0.5), ablate(V), clamp(V, to=2), patch(torch.randn(4, 20, zoo.WIDTH), at=Site(1))]
    for edit in edits:
        with model.applied([edit]):
            after = seen_at(model, batch, *sites)
        assert torch.equal(after[Site(0)], before[Site(0)])
        assert torch.equal(after[Site(1)], edit.edit(before[Site(1)]))
        assert not torch.equal(after[Site(2)], before[Site(2)])
    assert torch.equal(seen_at(model, batch, Site(2))[Site(2)], before[Site(2)])


@FEW
def test_every_part_of_a_block_can_be_edited(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    before = model.logits(batch)
    parts = ["resid_pre", "resid_post", "attn_out", "mlp_out", *(["resid_mid"] if name != "gpt-neox" else [])]
    for site in [*(Site(1, part) for part in parts), Site(1, "z", 2)]:
        v = a_direction(site, width=model.anatomy.width(site))
        with model.applied([steer(v, by=1)]):
            assert agreement.off([model.logits(batch)], [before], batch.mask) > 1e-4, site


@FEW
def test_a_dose_of_zero_changes_no_bit(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    before = model.logits(batch)
    with model.applied([steer(V, by=0)]):
        assert torch.equal(model.logits(batch), before)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("scope", ["all", "prompt", "response"])
def test_a_scope_is_kept_on_either_padding_side(scope, side, model):
    batch = agreement.batch_of(RENDERED, side=side)
    before = seen_at(model, batch, Site(1))[Site(1)]
    with model.applied([steer(V, by=1, scope=scope)]):
        after = seen_at(model, batch, Site(1))[Site(1)]
    for row, (one, offset) in enumerate(zip(RENDERED, batch.offset, strict=True)):
        start = one.span("response")[0]
        touched = {"all": range(len(one)), "prompt": range(start), "response": range(start, len(one))}[scope]
        for position in range(len(one)):
            at = row, offset + position
            due = steer(V, by=1).edit(before[at][None, None])[0, 0] if position in touched else before[at]
            assert torch.allclose(after[at], due, atol=1e-6), (row, position)


def test_prompt_and_response_together_are_all(model):
    batch = agreement.batch_of(RENDERED)
    with model.applied([steer(V, by=1)]):
        whole = model.logits(batch)
    with model.applied([steer(V, by=1, scope="prompt"), steer(V, by=1, scope="response")]):
        parts = model.logits(batch)
    real = batch.mask.bool()
    assert torch.equal(parts[real], whole[real])


def test_an_edit_of_the_response_leaves_the_prompt_as_it_was(model):
    batch = agreement.batch_of(RENDERED)
    before = model.logits(batch)
    with model.applied([steer(V, by=1, scope="response")]):
        after = model.logits(batch)
    prompt = batch.scope("prompt")
    assert torch.equal(after[prompt], before[prompt])


def test_several_edits_at_one_site_act_in_the_order_given(model):
    batch = agreement.batch_of(RENDERED)
    before = seen_at(model, batch, Site(1))[Site(1)]
    first, second = steer(V, by=1), clamp(V, to=0.5)
    for edits in ([first, second], [second, first]):
        with model.applied(edits):
            after = seen_at(model, batch, Site(1))[Site(1)]
        assert torch.equal(after, edits[1].edit(edits[0].edit(before)))


def test_nested_edits_add_up_and_the_inner_one_goes_first(model):
    batch = agreement.batch_of(RENDERED)
    plain = model.logits(batch)
    with model.applied([steer(V, by=1)]):
        outer = model.logits(batch)
        with model.applied([steer(V, by=0.5)]):
            both = model.logits(batch)
        assert torch.equal(model.logits(batch), outer)
    assert torch.equal(model.logits(batch), plain)
    with model.applied([steer(V, by=1.5)]):
        assert agreement.off([model.logits(batch)], [both], batch.mask) < 1e-5


def test_the_same_edit_twice_watches_itself_twice(model):
    edit = steer(V, by=0.5)
    with model.applied([edit, edit]):
        twice = model.logits(agreement.batch_of(RENDERED))
    with model.applied([steer(V, by=1)]):
        once = model.logits(batch := agreement.batch_of(RENDERED))
    assert agreement.off([twice], [once], batch.mask) < 1e-5


def test_hooks_come_off_after_an_error_inside_and_after_one_in_an_edit(model):
    batch = agreement.batch_of(RENDERED)
    before = model.logits(batch)
    with pytest.raises(KeyError), model.applied([steer(V, by=1)]):
        raise KeyError
    with (
        pytest.raises(BadInput, match="on the same tokens"),
        model.applied([patch(torch.zeros(1, 2, 32), at=Site(1))]),
    ):
        model.logits(batch)
    assert torch.equal(model.logits(batch), before)
    assert not model.bridge.list_hooks()
    assert not model.passes.watching


# The canary.


def test_an_edit_that_does_not_fire_is_an_error(model, monkeypatch):
    monkeypatch.setattr(type(model), "hooked", lambda self, hooks: torch.no_grad())
    fact = r"'steer \+1 at L1.resid_post' fired 0 times in a pass"
    with pytest.raises(ErosionError, match=fact), model.applied([steer(V, by=1)]):
        model.run(agreement.batch_of(RENDERED))


def test_an_edit_that_fires_twice_is_an_error(model):
    from erosion.models.canary import Canary

    canary = Canary(steer(V, by=1), model.anatomy, model.passes)
    twice = model.hooked([(Site(1), canary), (Site(2), canary)])
    with pytest.raises(ErosionError, match="fired 2 times in a pass"), model.passes.watched([canary]), twice:
        model.run(agreement.batch_of(RENDERED))


def test_an_edit_that_changes_nothing_is_an_error(model):
    batch = agreement.batch_of(RENDERED)
    own = seen_at(model, batch, Site(1))[Site(1)]
    fact = r"'patch at L1.resid_post' changed nothing in 1 passes"
    with pytest.raises(ErosionError, match=fact), model.applied([patch(own, at=Site(1))]):
        model.run(batch)
    twice = (batch, batch)
    fact = "changed nothing in 2 passes"
    with pytest.raises(ErosionError, match=fact), model.applied([steer(V, by=1e-30)]):
        [model.run(one) for one in twice]


def test_edits_without_a_pass_and_without_a_dose_are_no_error(model):
    with model.applied([steer(V, by=1)]):
        pass
    with model.applied([steer(V, by=0)]):
        model.run(agreement.batch_of(RENDERED))
    with model.applied([]):
        model.run(agreement.batch_of(RENDERED))


def test_a_pass_that_ran_out_of_memory_half_way_is_as_if_it_had_never_been(model):
    exchanges = tuple(
        Exchange(f"q{i}", (Message("user", "w1 " * (i + 1)),), "w2 w3", "all", "aligned") for i in range(6)
    )
    sites = (Site(2),)
    with model.applied([steer(V, by=1)]):
        expected = read(model, exchanges, sites=sites)[Site(2)]

    def narrow(h):
        if len(h) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with model.applied([steer(V, by=1)]), model.hooked([(Site(1, "mlp_out"), narrow)]):
        halved = read(model, exchanges, sites=sites)[Site(2)]
    assert torch.allclose(halved, expected, atol=1e-5)


# What is refused before anything runs.


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (steer(a_direction(Site(7)), by=1), r"L7 does not exist: this model has 3 layers \(L0 to L2\)"),
        (steer(a_direction(Site(1), width=16), by=1), "16 wide"),
        (patch(torch.zeros(16), at=Site(1)), "16 wide and the site 32"),
        (patch(torch.zeros(32), at=Site(1, "z", 0)), "32 wide and the site 8"),
        (ablate(a_direction(Site(1, "z", 1))), "32 wide and L1.z.1 is 8 wide"),
        (
            patch(torch.zeros(8), at=Site(1, "z", 4)),
            r"Head 4 does not exist: this model has 4 heads \(0 to 3\)",
        ),
        (patch(torch.zeros(32), at=Site(3)), "L3 does not exist"),
    ],
)
def test_an_edit_that_does_not_fit_the_model_is_refused_before_it_runs(edit, fact, model):
    with pytest.raises(BadInput, match=fact), model.applied([edit]):
        pytest.fail("it was applied")


def test_edits_that_erase_one_another_are_refused_before_they_run(model):
    edits = [steer(V, by=1), patch(torch.zeros(zoo.WIDTH), at=Site(1))]
    with pytest.raises(BadInput, match="would erase"), model.applied(edits):
        pytest.fail("they were applied")


def test_an_edit_on_a_part_that_the_architecture_has_not_is_refused(zoo_model):
    edit = steer(a_direction(Site(1, "resid_mid")), by=1)
    with (
        pytest.raises(BadInput, match=r"L1.resid_mid does not exist in GPTNeoX"),
        zoo_model("gpt-neox").applied([edit]),
    ):
        pass


def test_a_direction_of_another_width_is_a_bad_direction(model):
    with pytest.raises(BadDirection), model.applied([steer(a_direction(Site(1), width=16), by=1)]):
        pass


def test_a_scoped_edit_needs_a_batch_that_says_where_the_scope_is(model):
    edit, fact = steer(V, by=1, scope="response"), "this pass does not say where that is"
    with pytest.raises(BadInput, match=fact), model.applied([edit]):
        model.hf(input_ids=torch.ones(1, 3, dtype=torch.long), use_cache=False)


# Replays.


def test_a_replay_computes_the_first_blocks_once_for_each_batch(model):
    ran, batch = [], agreement.batch_of(RENDERED)
    other = agreement.batch_of(agreement.words(6, 7, seed=5))
    first = model.bridge.blocks[0].original_component
    handle = first.mlp.register_forward_hook(lambda *_: ran.append(0))
    try:
        with replaying(model, 1):
            for b in (batch, other, batch, other, batch):
                model.run(b)
        assert len(ran) == 2
        model.run(batch)
        assert len(ran) == 3
    finally:
        handle.remove()


def test_a_replay_knows_batches_by_their_words_not_by_their_place(model):
    a, b = (agreement.batch_of(agreement.words(6, 7, seed=seed)) for seed in (5, 6))
    expected = model.logits(a), model.logits(b)
    with replaying(model, 1):
        for _ in range(2):
            assert torch.equal(model.logits(a), expected[0])
            assert torch.equal(model.logits(b), expected[1])


def test_a_replay_records_an_adapter_anew(adapted_model, zoo_folder):
    from erosion.triads import Checkpoint

    model, batch = adapted_model("qwen3"), agreement.batch_of(RENDERED)
    off = Checkpoint(str(zoo_folder("qwen3") / "weights"))
    on = model.logits(batch)
    with model.using(off):
        without = model.logits(batch)
    with replaying(model, 1):
        assert torch.equal(model.logits(batch), on)
        with model.using(off):
            assert torch.equal(model.logits(batch), without)
        assert torch.equal(model.logits(batch), on)


def test_nothing_before_a_replay_can_be_edited_or_read(model):
    with replaying(model, 1):
        for site in (Site(0), Site(1, "mlp_out"), Site(1, "resid_pre"), Site(0, "z", 0)):
            with (
                pytest.raises(BadInput, match=r"is not computed in a replay of L1"),
                model.hooked([(site, abs)]),
            ):
                pass
        with model.applied([steer(V, by=1)]):
            model.run(agreement.batch_of(RENDERED))
    with model.hooked([(Site(0), lambda h: None)]):
        pass


def test_a_replay_inside_edits_or_another_replay_is_refused(model):
    fact = "inside edits or another replay"
    with model.applied([steer(V, by=1)]), pytest.raises(BadInput, match=fact), replaying(model, 1):
        pass
    with (
        replaying(model, 1),
        pytest.raises(BadInput, match=r"another replay|not computed"),
        replaying(model, 2),
    ):
        pass
    with pytest.raises(BadInput, match="L9 does not exist"), replaying(model, 9):
        pass


def test_a_replay_leaves_nothing_behind_after_an_error(model):
    batch = agreement.batch_of(RENDERED)
    before = model.logits(batch)
    with pytest.raises(KeyError), replaying(model, 1):
        raise KeyError
    assert model.passes.replayed is None
    assert torch.equal(model.logits(batch), before)
    assert all("forward" not in block.original_component.__dict__ for block in model.bridge.blocks)
