"""Laws of activations filed by exchange: what was read is kept exactly, and patched in restores the donor."""

from contextlib import contextmanager

import agreement
import pytest
import torch
import zoo

from erosion.directions import Subspace, difference_of_means
from erosion.errors import BadContrast, BadInput, BadRun
from erosion.interventions import patch, steer, zero_ablate
from erosion.models import every_layer
from erosion.models.loading import load
from erosion.prompts import Contrast, Exchange, Message
from erosion.sites import Site
from erosion.token_activations import load_token_activations, read_tokens

NAMES = pytest.mark.parametrize("name", tuple(name for name in zoo.CONFIGS if name != "qwen2"))
PAIRS = [("w1 w2", "w3 w4 w5", "w6"), ("w9", "w10", "w11 w12 w13 w14"), ("w20 w21 w22 w23", "w24", "w25 w26")]


def exchanges_of(label, which):
    return tuple(
        Exchange(f"q{i}", (Message("user", one[0]),), one[which], "all", label) for i, one in enumerate(PAIRS)
    )


CONTRAST = Contrast(exchanges_of("aligned", 1), exchanges_of("misaligned", 2))
SITES = (Site(0), Site(1), Site(1, "mlp_out"), Site(1, "z", 2))


def a_direction(at=Site(1)):
    aligned, misaligned = torch.randn(2, 5, zoo.WIDTH, generator=torch.Generator().manual_seed(0))
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


V = a_direction()


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


def whole_batch(model):
    """All exchanges in the one batch in which they are read."""
    rendered = model.render(CONTRAST.exchanges)
    (index,) = model.plan(rendered)
    return model.batch_of(rendered, index)


@torch.no_grad()
def shake(block):
    """Give a block other weights."""
    for i, parameter in enumerate(block.parameters()):
        generator = torch.Generator().manual_seed(i)
        parameter.add_(0.3 * parameter.std() * torch.randn(parameter.shape, generator=generator) + 0.01)


def restored(name, found, donors):
    """Bit for bit; where padding is routed to experts too, up to the rounding of their shares."""
    if "moe" in name or name == "mixtral":
        return agreement.off([found], [donors], torch.ones(len(donors))) < 1e-6
    return torch.equal(found, donors)


@contextmanager
def another_first_block(model):
    """The model with other weights in block 0, and its own again afterwards."""
    block = model.bridge.blocks[0].original_component
    parameters = list(block.parameters())
    own = [parameter.detach().clone() for parameter in parameters]
    shake(block)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(parameters, own, strict=True):
                parameter.copy_(before)


@NAMES
def test_a_whole_patch_from_another_model_restores_its_logits_bit_for_bit(name, zoo_model):
    model = zoo_model(name)
    sites = [
        *every_layer(model),
        Site(1, "resid_pre"),
        *([] if name == "gpt-neox" else [Site(1, "resid_mid")]),
    ]
    batch = whole_batch(model)
    real = batch.mask.bool()
    donors = model.logits(batch)[real]
    read = read_tokens(model, CONTRAST, sites=sites)
    with another_first_block(model):
        assert agreement.off([model.logits(batch)[real]], [donors], torch.ones(len(donors))) > 1e-2
        for site in sites:
            with model.applied([patch(read.at(site), at=site)]):
                assert restored(name, model.logits(batch)[real], donors), site
        with model.applied([patch(read.at(Site(1)), at=Site(1), scope="response")]):
            assert not torch.equal(model.logits(batch)[real], donors)  # the prompt is not the donor's
    assert torch.equal(model.logits(batch)[real], donors)


@NAMES
def test_the_stream_between_a_blocks_halves_is_all_that_goes_on(name, zoo_model):
    """What attention wrote before no longer matters once the stream behind it is put back."""
    if name == "gpt-neox":
        return  # both halves read the same stream: there is none between them
    model, at = zoo_model(name), Site(1, "resid_mid")
    batch = whole_batch(model)
    real = batch.mask.bool()
    clean = model.logits(batch)[real]
    own = read_tokens(model, CONTRAST, sites=[at]).at(at)
    silenced = zero_ablate(at=Site(1, "attn_out"))
    with model.applied([silenced]):
        assert not torch.allclose(model.logits(batch)[real], clean, rtol=1e-3)
    with model.applied([silenced, patch(own, at=at)]):
        assert restored(name, model.logits(batch)[real], clean)


@pytest.mark.parametrize("part", [V, Subspace(torch.eye(zoo.WIDTH)[:3], Site(1))], ids=["v", "subspace"])
def test_along_a_direction_and_then_across_it_is_the_whole_patch(part, model):
    batch, at = whole_batch(model), Site(1)
    read = read_tokens(model, CONTRAST, sites=[at]).at(at)
    donors = model.logits(batch)
    with another_first_block(model):
        along, across = patch(read, at=at, along=part), patch(read, at=at, across=part)
        for edits in ([along, across], [across, along]):
            with model.applied(edits):
                assert agreement.off([model.logits(batch)], [donors], batch.mask) < 1e-5
        for edit in (along, across):
            with model.applied([edit]):
                assert agreement.off([model.logits(batch)], [donors], batch.mask) > 1e-3


def test_a_models_own_activations_change_no_bit_whatever_the_batch(model):
    batch = whole_batch(model)
    before = model.logits(batch)[batch.mask.bool()]
    read = read_tokens(model, CONTRAST, sites=SITES)
    for site in SITES:
        with model.applied([patch(read.at(site), at=site)]):
            assert torch.equal(model.logits(batch)[batch.mask.bool()], before)
    for side in ("left", "right"):
        for i, one in enumerate(batch.rendered):
            alone = agreement.batch_of([one], side=side)
            expected = model.logits(alone)
            with model.applied([patch(read.at(Site(1)), at=Site(1))]):
                assert agreement.off([model.logits(alone)], [expected], alone.mask) < 1e-5, i


def test_a_donor_in_another_model_is_patched_in_through_a_file(model, tmp_path):
    """Two models in memory one after the other: block 0 differs, what is behind it does not."""
    hf = zoo.make("qwen3")
    shake(hf.model.layers[0])
    hf.save_pretrained(tmp_path / "other")
    zoo.tokenizer().save_pretrained(tmp_path / "other")
    saved = read_tokens(model, CONTRAST, sites=[Site(0)]).save(tmp_path / "tokens.safetensors")
    donors = model.logits(batch := whole_batch(model))
    with load(tmp_path / "other") as other:
        source = load_token_activations(saved).at(Site(0))
        assert not torch.allclose(other.logits(batch), donors, rtol=1e-2)
        with other.applied([patch(source, at=Site(0))]):
            found = other.logits(batch)
    real = batch.mask.bool()
    assert torch.equal(found[real], donors[real])


# What is read and kept.


def test_tokens_are_those_of_each_exchange_alone(model):
    read = read_tokens(model, CONTRAST, sites=SITES)
    rendered = model.render(CONTRAST.exchanges)
    assert read.ids == tuple(one.id for one in CONTRAST.exchanges)
    assert read.lengths == tuple(map(len, rendered))
    assert read.responses == tuple(one.span("response") for one in rendered)
    for site in SITES:
        for one in rendered:
            seen = []
            with model.hooked([(site, lambda h, seen=seen: seen.append(h[0].clone()))]):
                model.run(agreement.batch_of([one]))
            assert read.at(site)[one.id].shape == (len(one), model.anatomy.width(site))
            assert agreement.off([read.at(site)[one.id]], seen, torch.ones(len(one))) < 1e-5


def test_edits_around_a_reading_are_seen(model):
    before = read_tokens(model, CONTRAST, sites=[Site(1)]).values[Site(1)]
    with model.applied([steer(V, by=1)]):
        after = read_tokens(model, CONTRAST, sites=[Site(1)]).values[Site(1)]
    assert torch.allclose(after - before, V.displacement.expand_as(after), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_read_is_kept_bit_for_bit_in_its_own_dtype(dtype, model, tmp_path):
    from dataclasses import replace

    read = read_tokens(model, CONTRAST, sites=SITES)
    read = replace(read, values={site: values.to(dtype) for site, values in read.values.items()})
    path = read.save(tmp_path / "tokens.safetensors")
    again = load_token_activations(path)
    assert (again.ids, again.lengths, again.responses) == (read.ids, read.lengths, read.responses)
    assert dict(again.facts) == dict(read.facts)
    assert set(again.sites) == set(SITES)
    for site in SITES:
        assert again.values[site].dtype == dtype
        assert torch.equal(again.values[site], read.values[site])
    assert load_token_activations(path, sites=[Site(1)]).sites == (Site(1),)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"\xff" * 64])
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "tokens.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadRun, match=r"tokens\.safetensors holds no token activations") as refused:
        load_token_activations(path)
    assert "\n" not in str(refused.value)


def test_a_file_cut_short_and_a_site_that_it_does_not_hold_are_refused(model, tmp_path):
    path = read_tokens(model, CONTRAST, sites=[Site(1)]).save(tmp_path / "tokens.safetensors")
    with pytest.raises(BadRun, match="holds no token activations"):
        load_token_activations(path, sites=[Site(2)])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadRun, match="holds no token activations"):
        load_token_activations(path)
    with pytest.raises(BadRun, match="holds no token activations"):
        load_token_activations(tmp_path / "nothing")


def test_what_was_not_read_is_refused_in_one_line(model):
    read = read_tokens(model, CONTRAST, sites=[Site(1)])
    with pytest.raises(BadContrast, match=r"L0.resid_post was not read: there are L1.resid_post"):
        read.at(Site(0))
    with pytest.raises(BadInput, match="L9 does not exist"):
        read_tokens(model, CONTRAST, sites=[Site(9)])
    with pytest.raises(BadContrast, match="'q0/aligned' is there twice"):
        read_tokens(model, [*CONTRAST.aligned, CONTRAST.aligned[0]], sites=[Site(1)])


def test_a_source_of_other_exchanges_or_other_words_is_refused_in_one_line(model):
    read = read_tokens(model, CONTRAST.aligned, sites=[Site(1)]).at(Site(1))
    for source, fact in (
        (read, "holds nothing for 'q./misaligned': read the source on these exchanges"),
        ({one.id: torch.zeros(2, zoo.WIDTH) for one in CONTRAST.exchanges}, "holds 2 tokens for 'q"),
        ({one.id: torch.zeros(9, 5) for one in CONTRAST.exchanges}, "is 5 wide and the site 32"),
    ):
        with pytest.raises(BadInput, match=fact) as refused, model.applied([patch(source, at=Site(1))]):
            model.run(whole_batch(model))
        assert "\n" not in str(refused.value)
