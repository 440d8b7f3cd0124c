"""Laws of per-example gradients: equal to one backward each, whatever the batches; nothing left behind."""

import numpy as np
import pytest
import torch
import zoo
from test_reads import CONTRAST, contrast_of
from transformers import AutoModelForCausalLM

import erosion.gradients.products as products_room
from erosion.activations import directions_of, read
from erosion.directions import difference_of_means
from erosion.errors import BadInput, BadModel, BadRun
from erosion.gradients import (
    adam_step,
    gradient_bridge,
    gradient_products,
    gradient_sketches,
    load_bridge,
    load_gradient_products,
    load_gradient_sketches,
    load_steps,
    margin_target,
    projection_target,
    real_steps,
    sgd_step,
)
from erosion.gradients.products import inner_products
from erosion.gradients.sketches import _projection
from erosion.metrics import harm_margin
from erosion.models.linears import MAPS, LinearMap, linear_maps, linears, parse_map
from erosion.sites import Site

FEW = CONTRAST.only(CONTRAST.questions[:3])
ARCHITECTURES = ("qwen3", "llama", "gemma2", "phi3", "gpt2", "gpt-neox")


def plain_model(folder, dtype):
    """The same weights in transformers alone, nothing wrapped."""
    return AutoModelForCausalLM.from_pretrained(folder / "weights", dtype=dtype).eval()


def one_backward_each(hf, rendered, names):
    """Parameter name -> [exchange, entry], by autograd on the weights of the plain model, one at a time."""
    rows = {name: [] for name in names}
    parameters = dict(hf.named_parameters())
    for one in rendered:
        start, stop = one.span("response")
        ids = torch.tensor([one.ids])
        logits = hf(input_ids=ids, use_cache=False).logits[0, start - 1 : stop - 1]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, start:stop])
        found = torch.autograd.grad(loss, [parameters[name] for name in names])
        for name, gradient in zip(names, found, strict=True):
            rows[name].append(gradient.flatten())
    return {name: torch.stack(found).double() for name, found in rows.items()}


def worst(found, expected):
    """The largest error relative to the product of norms."""
    norms = np.sqrt(np.diag(expected))
    return float((np.abs(found - expected) / np.outer(norms, norms)).max())


def name_of(one, hf):
    """Where the plain model keeps a map's weight, by its own name; several maps share a fused one."""
    layer = str(one.layer)
    known = {
        "q": ("q_proj", "qkv_proj", "c_attn", "query_key_value"),
        "k": ("k_proj", "qkv_proj", "c_attn", "query_key_value"),
        "v": ("v_proj", "qkv_proj", "c_attn", "query_key_value"),
        "o": ("o_proj", "attn.c_proj", "attention.dense"),
        "gate": ("gate_proj", "gate_up_proj"),
        "up": ("up_proj", "gate_up_proj", "c_fc", "dense_h_to_4h"),
        "down": ("down_proj", "mlp.c_proj", "dense_4h_to_h"),
    }[one.part]
    return next(
        name
        for end in known
        for name, _ in hf.named_parameters()
        if name.endswith(f"{end}.weight") and f".{layer}." in name
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inner_products_equal_one_backward_for_each_exchange_in_float32(architecture, zoo_folder, zoo_model):
    check_against_autograd(
        zoo_model(architecture), plain_model(zoo_folder(architecture), torch.float32), 1e-5
    )


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "phi3"])
def test_inner_products_equal_one_backward_for_each_exchange_in_float64(architecture, zoo_folder):
    import erosion as er

    folder = zoo_folder(architecture)
    with er.load(folder / "weights", placement=er.Placement(dtype="float64")) as model:
        check_against_autograd(model, plain_model(folder, torch.float64), 1e-9)


def check_against_autograd(model, hf, bound):
    found = gradient_products(model, FEW)
    by_name = {}
    for one in found.maps:
        by_name.setdefault(name_of(one, hf), []).append(one)
    expected = one_backward_each(hf, model.render(FEW.exchanges), list(by_name))
    assert len(found.maps) == zoo.LAYERS * len({one.part for one in found.maps})
    for name, maps in by_name.items():
        rows = expected[name]
        assert worst(found.total(maps), (rows @ rows.T).numpy()) < bound


@pytest.mark.parametrize("architecture", ["phi3", "gpt2", "gpt-neox"])
def test_the_parts_of_a_fused_projection_are_what_the_model_reads_as_q_k_and_v(architecture, zoo_model):
    """A single token looks at nothing but itself: its output depends on the value, not on query and key."""
    model = zoo_model(architecture)
    places = linears(model)
    batch = model.batch_of(model.render(FEW.exchanges[:1]), [0])
    batch = type(batch)(batch.ids[:, :1], batch.mask[:, :1], batch.rendered, batch.index, batch.offset)
    before = model.logits(batch)
    for part, matters in (("q", False), ("k", False), ("v", True)):
        place = places[LinearMap(1, part)]
        change = torch.randn(place.weight.shape, generator=torch.Generator().manual_seed(0))
        place.add(change)
        moved = (model.logits(batch) - before).abs().max()
        place.add(-change)
        assert (moved > 1e-2) == matters


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


@pytest.fixture
def batch_tokens(model):
    """Set the size of batches for one test."""
    before = model.batch_tokens
    yield lambda tokens: setattr(model, "batch_tokens", tokens)
    model.batch_tokens = before


def test_an_adapter_is_looked_through_to_the_weight_below_it(zoo_folder, adapted_model):
    model = adapted_model("qwen3")
    merged = AutoModelForCausalLM.from_pretrained(zoo_folder("qwen3") / "weights")
    merged.load_adapter(str(zoo_folder("qwen3") / "adapter"))
    found = gradient_products(model, FEW, maps=[LinearMap(1, "q"), LinearMap(1, "k")])
    names = [
        name
        for part in ("q_proj", "k_proj")
        for name, _ in merged.named_parameters()
        if f"layers.1.self_attn.{part}" in name and "lora" not in name
    ]
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    expected = one_backward_each(merged.eval(), model.render(FEW.exchanges), names)
    for one, name in zip(found.maps, names, strict=True):
        assert worst(found[one], (expected[name] @ expected[name].T).numpy()) < 1e-5


def test_batches_rounds_and_the_way_to_multiply_are_irrelevant(model, batch_tokens, monkeypatch):
    batch_tokens(10**6)
    whole = gradient_products(model, CONTRAST)
    for tokens, kept in ((40, 2**30), (150, 200_000)):
        batch_tokens(tokens)
        monkeypatch.setattr(products_room, "_KEPT", kept)
        parts = gradient_products(model, CONTRAST)
        assert parts.maps == whole.maps
        assert np.allclose(parts.rows.losses, whole.rows.losses, atol=1e-5)
        assert max(worst(parts[one], whole[one]) for one in whole.maps) < 1e-5


def test_both_ways_to_multiply_give_the_same():
    generator = torch.Generator().manual_seed(0)
    pieces = [
        tuple(torch.randn(n, tokens, width, generator=generator, dtype=torch.float64) for width in (6, 5))
        for n, tokens in ((2, 3), (3, 4))
    ]
    gradients = torch.cat([torch.einsum("bto,bti->boi", d, a).flatten(1) for d, a in pieces])
    expected = gradients @ gradients.T
    for way in (products_room._by_tokens, products_room._by_gradients, inner_products):
        assert torch.allclose(way(pieces), expected, rtol=1e-12, atol=1e-12)


def test_memory_that_runs_out_changes_no_inner_product(model, batch_tokens, monkeypatch):
    batch_tokens(10**6)
    whole = gradient_products(model, CONTRAST)
    backward = products_room.backward

    def narrow(model, batch, *args, **kwargs):
        if len(batch.index) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return backward(model, batch, *args, **kwargs)

    monkeypatch.setattr(products_room, "backward", narrow)
    halved = gradient_products(model, CONTRAST)
    assert max(worst(halved[one], whole[one]) for one in whole.maps) < 1e-5


def test_the_backward_pass_stops_at_the_first_map_asked_for(model):
    reached = []
    block = model.bridge.blocks[1].original_component
    handle = block.register_forward_hook(
        lambda module, inputs, output: reached.append(
            (output[0] if isinstance(output, tuple) else output).requires_grad
        )
    )
    try:
        gradient_products(model, FEW, maps=[LinearMap(2, "o")])
        gradient_products(model, FEW, maps=[LinearMap(1, "o")])
    finally:
        handle.remove()
    assert reached == [False, True]


def test_gradients_leave_the_model_as_it_was(model):
    batch = model.batch_of(model.render(FEW.exchanges), [0, 1])
    before = model.logits(batch)
    wanted = {name: p.requires_grad for name, p in model.hf.named_parameters()}
    gradient_products(model, FEW)
    gradient_sketches(model, FEW, rank=4)
    assert torch.equal(model.logits(batch), before)
    assert {name: p.requires_grad for name, p in model.hf.named_parameters()} == wanted
    assert all(p.grad is None for p in model.hf.parameters())
    assert not any(place.module._forward_hooks for place in linears(model).values())


def test_the_end_of_the_turn_is_not_in_the_loss(model):
    found = gradient_products(model, FEW, maps=[LinearMap(2, "o")])
    one = model.render(FEW.exchanges)[0]
    start, stop = one.span("response")
    log_p = model.logits(model.batch_of([one], [0]))[0].log_softmax(-1)
    expected = -np.mean([float(log_p[t - 1, one.ids[t]]) for t in range(start, stop)])
    assert found.rows.losses[0] == pytest.approx(expected, abs=1e-5)


def test_a_sketch_of_full_rank_is_exact(model):
    exact = gradient_products(model, FEW)
    sketched = gradient_sketches(model, FEW, rank=48).products()
    assert max(worst(sketched[one], exact[one]) for one in exact.maps) < 1e-4


def test_a_sketch_is_the_gradient_between_two_projections_that_are_the_identity_on_average():
    drawn = np.stack([_projection(7, 3, f"{seed} L0.q out").numpy() for seed in range(3000)])
    squares = np.einsum("spi,spj->sij", drawn, drawn)
    assert np.abs(squares.mean(0) - np.eye(7)).max() < 4.5 * squares.std(0).max() / 3000**0.5
    assert np.allclose(np.einsum("spi,sqi->spq", drawn, drawn), 7 / 3 * np.eye(3))


def test_sketched_inner_products_come_closer_at_higher_rank(model):
    exact = gradient_products(model, FEW)
    errors = [
        np.mean([worst(sketched[one], exact[one]) for one in exact.maps])
        for sketched in (gradient_sketches(model, FEW, rank=rank).products() for rank in (3, 12, 32))
    ]
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.7 * errors[1]


def test_sketches_merge_only_when_they_compare(model):
    first, second = (gradient_sketches(model, part, rank=6) for part in (FEW, contrast_of(4, seed=3)))
    both = first.merged(second)
    assert len(both) == len(first) + len(second)
    one = both.maps[0]
    assert torch.equal(both.values[one][len(first) :], second.values[one])
    with pytest.raises(BadInput, match="seed 1"):
        first.merged(gradient_sketches(model, FEW, rank=6, seed=1))


def test_saved_products_and_sketches_come_back_bit_for_bit(model, tmp_path):
    products = gradient_products(model, FEW)
    again = load_gradient_products(products.save(tmp_path / "p.safetensors"))
    assert again.maps == products.maps
    assert again.rows.questions == products.rows.questions
    assert again.facts == products.facts
    assert all(np.array_equal(again[one], products[one]) for one in products.maps)
    assert np.array_equal(again.rows.losses, products.rows.losses)
    sketches = gradient_sketches(model, FEW, rank=5, seed=2)
    back = load_gradient_sketches(sketches.save(tmp_path / "s.safetensors"))
    assert (back.rank, back.seed) == (5, 2)
    assert all(torch.equal(back.values[one], sketches.values[one]) for one in sketches.maps)
    with pytest.raises(BadRun, match="no gradient products"):
        load_gradient_products(tmp_path / "s.safetensors")


@pytest.mark.parametrize("architecture", ["qwen2-moe", "mixtral"])
def test_experts_are_refused_in_words_and_attention_is_not(architecture, zoo_model):
    model = zoo_model(architecture)
    with pytest.raises(BadModel, match="routes tokens to experts"):
        gradient_products(model, FEW)
    maps = linear_maps(model, parts=["q", "o"])
    assert len(maps) == 2 * zoo.LAYERS
    assert len(gradient_products(model, FEW, maps=maps)) == 6


def test_a_map_that_is_not_there_is_refused(zoo_model):
    model = zoo_model("gpt2")
    with pytest.raises(BadInput, match=r"L9\.q does not exist: this model has L0 to L2"):
        gradient_products(model, FEW, maps=[LinearMap(9, "q")])
    with pytest.raises(BadInput, match=r"L0\.gate does not exist"):
        gradient_products(model, FEW, maps=[LinearMap(0, "gate")])
    assert {one.part for one in linear_maps(model)} == set(MAPS) - {"gate"}
    with pytest.raises(BadInput, match="no linear map 'qkv'"):
        parse_map("L1.qkv")


@pytest.fixture(scope="module")
def targets(zoo_model):
    model = zoo_model("qwen3")
    on = contrast_of(5, seed=7)
    v = directions_of(read(model, on, sites=[Site(1)]), difference_of_means)[Site(1)]
    return on, projection_target(v, on=on), margin_target(on)


def test_a_target_is_what_the_metrics_say_it_is(model, targets):
    on, projection, margin = targets
    batch = model.batch_of(model.render(on.exchanges), range(len(on.exchanges)))
    assert float(margin.values(model, batch).mean()) == pytest.approx(
        float(harm_margin(model, on).values.mean()), abs=1e-5
    )
    acts = read(model, on, sites=[Site(1)])
    v = directions_of(acts, difference_of_means)[Site(1)]
    assert projection.values(model, batch).tolist() == pytest.approx(
        (v.project(acts[Site(1)]) / v.scale).tolist(), abs=1e-4
    )


def test_a_small_step_moves_the_target_as_predicted(model, targets):
    for target in targets[1:]:
        bridge = gradient_bridge(model, FEW, target=target)
        steps = real_steps(model, FEW, target=target, step=sgd_step(bridge.rate(1e-4)))
        predicted = bridge.predicted * steps.rate
        assert np.abs(steps.moved - predicted).max() < 0.1 * np.abs(predicted).max()


def test_maps_above_the_site_cannot_move_the_projection(model, targets):
    bridge = gradient_bridge(model, FEW, target=targets[1])
    assert all((bridge.values[one] == 0).all() for one in bridge.values if one.layer > 1)
    assert all((bridge.values[one] != 0).any() for one in bridge.values if one.layer <= 1)


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "phi3"])
def test_every_bit_is_back_after_a_step_and_after_an_error(architecture, zoo_model, targets, monkeypatch):
    model = zoo_model(architecture)
    were = {name: p.detach().clone() for name, p in model.hf.named_parameters()}
    margin = margin_target(targets[0])
    moved = real_steps(model, FEW, target=margin, step=adam_step(1e-3)).moved
    assert (moved != 0).all()
    broken = type(margin)("broken", "none", margin.exchanges, _fails_when_stepped(model, were))
    with pytest.raises(ZeroDivisionError):
        real_steps(model, FEW, target=broken, step=sgd_step(0.1))
    assert all(torch.equal(p, were[name]) for name, p in model.hf.named_parameters())


def _fails_when_stepped(model, were):
    def values(model, batch):
        if any(not torch.equal(p, were[name]) for name, p in model.hf.named_parameters()):
            raise ZeroDivisionError
        return torch.zeros(len(batch.index))

    return values


def test_saved_bridges_and_steps_come_back_bit_for_bit(model, targets, tmp_path):
    bridge = gradient_bridge(model, FEW, target=targets[2])
    back = load_bridge(bridge.save(tmp_path / "b.safetensors"))
    assert np.array_equal(back.predicted, bridge.predicted)
    assert (back.target, back.weight_norm, back.rate()) == (bridge.target, bridge.weight_norm, bridge.rate())
    steps = real_steps(model, FEW, target=targets[2], step=sgd_step(bridge.rate()))
    again = load_steps(steps.save(tmp_path / "s.safetensors"))
    assert np.array_equal(again.moved, steps.moved)
    assert (again.step, again.rate, again.before) == ("SGD", steps.rate, steps.before)
