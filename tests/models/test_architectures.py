"""The laws that every architecture obeys: a wrapped model is the model, with an adapter and without."""

import agreement
import pytest
import torch
import zoo

from erosion.errors import BadInput
from erosion.models import every_layer
from erosion.models.replay import replaying
from erosion.sites import PARTS, Site

NAMES = tuple(zoo.CONFIGS)
NORMED_AFTER = ("gemma2", "gemma3", "olmo2")  # a norm stands between the MLP and the stream
RENDERED = agreement.words(*agreement.LENGTHS)

pytestmark = pytest.mark.parametrize("name", NAMES)


def seen_at(model, batch, *sites):
    seen = {}
    with model.hooked([(site, lambda h, site=site: seen.__setitem__(site, h.clone())) for site in sites]):
        model.run(batch)
    return seen


def test_reads_and_logits_equal_transformers_with_the_adapter_on_off_and_half(
    name, zoo_folder, zoo_model, adapted_model
):
    batch = agreement.batch_of(RENDERED, side="left")
    found = agreement.states(zoo_folder(name), zoo_model(name), adapted_model(name), batch)
    assert max(found.values()) < 1e-5, found


def test_the_adapter_is_no_trifle_so_that_on_off_and_half_are_told_apart(name, zoo_folder):
    batch = agreement.batch_of(RENDERED)
    logits = {}
    for state in ("plain", "adapter on", "adapter half"):
        with agreement.oracle(zoo_folder(name), state) as hf:
            logits[state] = agreement.theirs(hf, batch)[-1:]
    assert agreement.off(logits["adapter on"], logits["plain"], batch.mask) > 1e-2
    assert agreement.off(logits["adapter on"], logits["adapter half"], batch.mask) > 1e-2


def test_a_batch_equals_its_exchanges_one_by_one(name, zoo_model):
    assert agreement.alone(zoo_model(name), RENDERED) < 1e-5


def test_the_padding_side_is_irrelevant(name, zoo_model):
    model = zoo_model(name)
    right, left = (agreement.batch_of(RENDERED, side=side) for side in ("right", "left"))
    a, b = agreement.ours(model, right), agreement.ours(model, left)
    for row, one in enumerate(RENDERED):
        ones = torch.ones(1, len(one))
        mine = [tensor[row : row + 1, : len(one)] for tensor in a]
        yours = [tensor[row : row + 1, -len(one) :] for tensor in b]
        assert agreement.off(mine, yours, ones) < 1e-5


def test_what_fills_the_padding_is_irrelevant(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    other = torch.where(batch.mask.bool(), batch.ids, torch.full_like(batch.ids, 50))
    changed = type(batch)(other, batch.mask, batch.rendered, batch.index, batch.offset)
    assert agreement.off(agreement.ours(model, batch), agreement.ours(model, changed), batch.mask) < 1e-6


def test_the_attention_kernel_is_the_one_that_transformers_chose(name, zoo_folder, zoo_model, monkeypatch):
    model, calls = zoo_model(name), []
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or attention(*args, **kwargs),
    )
    with agreement.oracle(zoo_folder(name), "plain") as hf:
        agreement.theirs(hf, agreement.batch_of(RENDERED))
        expected = len(calls)
        assert model.provenance.kernel == hf.config._attn_implementation
    calls.clear()
    model.run(agreement.batch_of(RENDERED))
    assert len(calls) == expected
    assert expected == (zoo.LAYERS if model.provenance.kernel == "sdpa" else 0)


def test_a_hook_inside_attention_fires_and_changes_nothing_and_leaves_the_kernel_as_it_was(name, zoo_model):
    model, batch, patterns = zoo_model(name), agreement.batch_of(RENDERED, side="left"), []
    before = model.logits(batch)
    with model.bridge.hooks(fwd_hooks=[("blocks.1.attn.hook_pattern", lambda p, hook: patterns.append(p))]):
        within = model.logits(batch)
    real = batch.mask.bool()
    assert len(patterns) == 1
    sums = patterns[0].sum(-1).transpose(1, 2)[real]
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)
    assert agreement.off([within], [before], batch.mask) < 1e-5
    assert torch.equal(model.logits(batch), before)


def test_each_block_begins_where_the_one_before_it_ended(name, zoo_model):
    model = zoo_model(name)
    sites = [Site(layer, part) for layer in range(zoo.LAYERS) for part in ("resid_pre", "resid_post")]
    seen = seen_at(model, agreement.batch_of(RENDERED), *sites)
    for layer in range(zoo.LAYERS - 1):
        assert torch.equal(seen[Site(layer)], seen[Site(layer + 1, "resid_pre")])


def test_the_stream_is_the_sum_of_what_is_written_to_it(name, zoo_model):
    model = zoo_model(name)
    parts = ["resid_pre", "resid_post", "attn_out", "mlp_out"]
    parts += [] if name == "gpt-neox" else ["resid_mid"]
    seen = seen_at(model, agreement.batch_of(RENDERED), *(Site(1, part) for part in parts))
    at = {part: seen[Site(1, part)] for part in parts}
    if name == "gpt-neox":  # both halves read the same stream
        written = at["resid_pre"] + at["attn_out"] + at["mlp_out"]
        assert torch.allclose(at["resid_post"], written, rtol=1e-5, atol=1e-5)
        return
    if name in NORMED_AFTER:
        assert not torch.allclose(at["resid_post"], at["resid_mid"] + at["mlp_out"], rtol=1e-3)
        return
    assert torch.allclose(at["resid_mid"], at["resid_pre"] + at["attn_out"], rtol=1e-5, atol=1e-5)
    assert torch.allclose(at["resid_post"], at["resid_mid"] + at["mlp_out"], rtol=1e-5, atol=1e-5)


def test_a_part_that_the_architecture_has_not_is_refused(name, zoo_model):
    model = zoo_model(name)
    for part in PARTS:
        if part == "z":
            continue
        if (name, part) == ("gpt-neox", "resid_mid"):
            with pytest.raises(BadInput, match=r"L0.resid_mid does not exist in GPTNeoXForCausalLM"):
                every_layer(model, part)
        else:
            assert [site.layer for site in every_layer(model, part)] == list(range(zoo.LAYERS))


def test_z_is_what_the_output_projection_of_attention_gets_head_by_head(name, zoo_folder, zoo_model):
    model, batch, got = zoo_model(name), agreement.batch_of(RENDERED), []
    projection = {"gpt2": "h.1.attn.c_proj", "gpt-neox": "layers.1.attention.dense"}
    with agreement.oracle(zoo_folder(name), "plain") as hf:
        module = hf.base_model.get_submodule(projection.get(name, "layers.1.self_attn.o_proj"))
        module.register_forward_pre_hook(lambda _, args: got.append(args[0].unflatten(-1, (4, -1))))
        agreement.theirs(hf, batch)
    heads = [Site(1, "z", head) for head in range(4)]
    seen = seen_at(model, batch, *heads)
    for site in heads:
        expected = got[0][:, :, site.head]
        assert seen[site].shape[-1] == model.anatomy.width(site)
        assert agreement.off([seen[site]], [expected], batch.mask) < 1e-5


def test_an_edit_of_one_head_leaves_the_others_alone(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    heads = [Site(1, "z", head) for head in range(4)]
    written = Site(1, "attn_out")
    before = seen_at(model, batch, *heads, written)
    with model.hooked([(heads[2], lambda z: z + 1)]):
        after = seen_at(model, batch, *heads, written)
    for site in heads:
        assert torch.equal(after[site], before[site] + (1 if site.head == 2 else 0))
    assert not torch.equal(after[written], before[written])


def test_an_edit_leaves_earlier_sites_untouched_bit_for_bit_and_moves_later_ones(name, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    sites = every_layer(model)
    before = seen_at(model, batch, *sites)
    step = torch.linspace(-1, 1, zoo.WIDTH)  # a constant would be lost in a layer norm
    with model.hooked([(Site(1), lambda h: h + step)]):
        after = seen_at(model, batch, *sites)
    assert torch.equal(after[Site(0)], before[Site(0)])
    assert torch.equal(after[Site(1)], before[Site(1)] + step)
    assert not torch.allclose(after[Site(2)], before[Site(2)] + step)


@pytest.mark.parametrize("layer", range(zoo.LAYERS))
def test_a_replay_equals_the_full_pass_bit_for_bit(name, layer, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED)
    edits = [[], [(Site(layer), lambda h: h.roll(1, -1))], [(Site(zoo.LAYERS - 1), lambda h: -h)], []]
    full = []
    for hooks in edits:
        with model.hooked(hooks):
            full.append(model.logits(batch))
    with replaying(model, layer):
        for hooks, expected in zip(edits, full, strict=True):
            with model.hooked(hooks):
                assert torch.equal(model.logits(batch), expected)
    assert torch.equal(model.logits(batch), full[0])
