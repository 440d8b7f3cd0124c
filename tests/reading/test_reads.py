"""Laws of reading: the mean over a span, whatever the batches; saved bit for bit; memory flat."""

import gc

import numpy as np
import pytest
import torch
import zoo

import erosion.models.hooked as hooked
from erosion.activations import directions_of, load_activations, read, read_moments
from erosion.directions import difference_of_means
from erosion.errors import BadContrast, BadInput, BadRun
from erosion.interventions import steer
from erosion.models import every_layer
from erosion.models.batches import make_batch
from erosion.prompts import Contrast, Exchange, Message
from erosion.sites import PARTS, Site

SPANS = ("user", "response", "last_prompt", "last_response", "end_of_turn")


def words(generator, count):
    return " ".join(f"w{i}" for i in torch.randint(0, 80, (count,), generator=generator).tolist())


def contrast_of(n=12, seed=0, longest=20):
    generator = torch.Generator().manual_seed(seed)
    sides = {"aligned": [], "misaligned": []}
    for i in range(n):
        length = int(torch.randint(1, longest, (1,), generator=generator))
        messages = (Message("user", words(generator, length)),)
        for label, side in sides.items():
            answer = f"w{80 + len(label) % 7} " + words(generator, 1 + (i + len(label)) % 9)
            side.append(Exchange(f"q{i}", messages, answer, "ab"[i % 2], label))
    return Contrast(tuple(sides["aligned"]), tuple(sides["misaligned"]))


CONTRAST = contrast_of()


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


@pytest.fixture
def batch_tokens(model):
    """Set the size of batches for one test."""
    before = model.batch_tokens
    yield lambda tokens: setattr(model, "batch_tokens", tokens)
    model.batch_tokens = before


def seen_at(model, batch, sites):
    seen = {}
    with model.hooked([(site, lambda h, site=site: seen.__setitem__(site, h.clone())) for site in sites]):
        model.run(batch)
    return seen


@pytest.mark.parametrize("span", SPANS)
def test_a_read_is_the_mean_over_the_span_of_each_exchange_alone(span, model):
    sites = (Site(0), Site(2), Site(1, "mlp_out"), Site(1, "z", 3))
    acts = read(model, CONTRAST, sites=sites, span=span)
    assert acts.sites == sites
    assert acts.labels == ("aligned",) * 12 + ("misaligned",) * 12
    rendered = model.render(CONTRAST.exchanges)
    for i, one in enumerate(rendered[::5]):
        seen = seen_at(model, make_batch([one], [0], pad_id=0), sites)
        for site in sites:
            start, stop = one.span(span)
            expected = seen[site][0, start:stop].double().mean(0)
            found = acts[site][5 * i].double()
            assert (found - expected).abs().max() < 1e-5 * seen[site].abs().max()


def test_the_size_of_batches_is_irrelevant(model, batch_tokens):
    sites = every_layer(model)
    batch_tokens(10**6)
    whole = read(model, CONTRAST, sites=sites)
    for tokens in (1, 40, 150):
        batch_tokens(tokens)
        parts = read(model, CONTRAST, sites=sites)
        for site in sites:
            assert torch.allclose(parts[site], whole[site], atol=1e-5)


def test_memory_that_runs_out_changes_no_number(model, batch_tokens, monkeypatch):
    sites = every_layer(model)
    batch_tokens(10**6)
    whole, sizes = read(model, CONTRAST, sites=sites), []
    run = hooked.Model.run

    def narrow(self, batch):
        if len(batch.index) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(batch.index))
        run(self, batch)

    monkeypatch.setattr(hooked.Model, "run", narrow)
    halved = read(model, CONTRAST, sites=sites)
    assert len(sizes) > 4
    for site in sites:
        assert torch.allclose(halved[site], whole[site], atol=1e-5)


def test_one_exchange_too_large_is_refused_by_name(model, monkeypatch):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(hooked.Model, "run", full)
    with pytest.raises(BadInput, match=r"'q\d+/\w+' alone \(\d+ tokens\) does not fit in memory"):
        read(model, CONTRAST, sites=[Site(0)])


def test_moments_are_the_mean_and_covariance_of_the_reads(model, batch_tokens):
    sites = (Site(0), Site(1, "z", 2))
    acts = read(model, CONTRAST, sites=sites)
    for tokens in (30, 10**6):
        batch_tokens(tokens)
        moments = read_moments(model, CONTRAST, sites=sites)
        assert tuple(moments) == ("aligned", "misaligned")
        for label in moments:
            for site in sites:
                one, rows = moments[label][site], acts.labelled(label)[site].double()
                assert one.count == 12
                assert torch.allclose(one.mean, rows.mean(0), atol=1e-6)
                assert torch.allclose(one.covariance, torch.cov(rows.T), atol=1e-6)


def test_edits_around_a_read_are_seen(model):
    v = directions_of(read(model, CONTRAST, sites=[Site(1)]), difference_of_means)[Site(1)]
    before = read(model, CONTRAST, sites=every_layer(model))
    with model.applied([steer(v, by=2)]):
        after = read(model, CONTRAST, sites=every_layer(model))
    assert torch.equal(after[Site(0)], before[Site(0)])
    assert torch.allclose(after[Site(1)], before[Site(1)] + 2 * v.displacement, atol=1e-4)
    assert not torch.allclose(after[Site(2)], before[Site(2)] + 2 * v.displacement, atol=1e-2)


def test_no_pass_computes_the_output_head(model):
    computed = []
    handle = model.hf.get_output_embeddings().register_forward_pre_hook(lambda *_: computed.append(1))
    try:
        read(model, CONTRAST, sites=[Site(0)])
        assert not computed
        model.logits(model.batch_of(model.render(CONTRAST.exchanges), [0]))
        assert computed
    finally:
        handle.remove()


def test_no_pass_keeps_a_cache(model, monkeypatch):
    seen = []
    block = model.bridge.blocks[0].original_component
    handle = block.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("past_key_values")), with_kwargs=True
    )
    try:
        read(model, CONTRAST, sites=[Site(0)])
        model.logits(model.batch_of(model.render(CONTRAST.exchanges), [0, 1]))
    finally:
        handle.remove()
    assert seen
    assert set(seen) == {None}


def tensors_alive():
    gc.collect()
    return sum(1 for one in gc.get_objects() if issubclass(type(one), torch.Tensor))


def test_memory_is_flat_in_the_number_of_exchanges(model, batch_tokens):
    batch_tokens(60)
    sites, alive = every_layer(model), []
    for n in (6, 24):
        contrast = contrast_of(n)
        last = len(model.plan(model.render(contrast.exchanges)))
        before, passes, at_the_end = tensors_alive(), [], []

        def count(h, passes=passes, last=last, at_the_end=at_the_end):
            passes.append(1)
            if len(passes) == last:
                at_the_end.append(tensors_alive())

        with model.hooked([(Site(2), count)]):
            read_moments(model, contrast, sites=sites)
        alive.append(at_the_end[0] - before)
        assert tensors_alive() <= before
    assert alive[1] <= alive[0] + 4


def test_ten_thousand_short_exchanges_are_read_in_reasonable_time(model):
    import time

    exchanges = tuple(
        Exchange(f"q{i}", (Message("user", f"w{i % 80} w{i % 7}"),), f"w{i % 11}", "all", "aligned")
        for i in range(10_000)
    )
    start = time.process_time()
    acts = read(model, exchanges, sites=[Site(1)])
    assert len(acts) == 10_000
    assert torch.isfinite(acts[Site(1)]).all()
    assert time.process_time() - start < 30


# Refusals.


def test_what_is_not_there_is_refused(model, zoo_model):
    with pytest.raises(BadContrast, match="'q0/aligned' has no span 'system': choose one of"):
        read(model, CONTRAST, sites=[Site(0)], span="system")
    with pytest.raises(BadInput, match="L3 does not exist: this model has 3 layers"):
        read(model, CONTRAST, sites=[Site(0), Site(3)])
    with pytest.raises(BadInput, match="its blocks have no resid_mid"):
        read(zoo_model("gpt-neox"), CONTRAST, sites=[Site(0, "resid_mid")])


def test_a_part_is_one_of_those_that_exist():
    assert set(PARTS) == {"resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z"}


# Activations as a value.


def test_activations_are_saved_and_loaded_bit_for_bit(model, tmp_path):
    acts = read(model, CONTRAST, sites=(Site(0), Site(1, "z", 3)))
    again = load_activations(acts.save(tmp_path / "acts.safetensors"))
    assert again.sites == acts.sites
    assert (again.questions, again.labels, again.span) == (acts.questions, acts.labels, acts.span)
    assert dict(again.facts) == dict(acts.facts)
    for site in acts.sites:
        assert torch.equal(again[site], acts[site])
        assert again[site].dtype == torch.float32


def test_the_facts_say_what_was_read(model):
    facts = read(model, CONTRAST, sites=[Site(0)]).facts
    assert facts["contrast_hash"] == CONTRAST.hash
    assert facts["weights_hash"] == model.provenance.weights_hash
    assert facts["template_hash"] == model.rendering.hash
    assert facts["adapter_hash"] is None


def test_a_file_of_another_kind_or_a_newer_version_is_refused(model, tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "text").write_text("not activations")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "newer.safetensors", {"activations": '{"schema": 2}'})
    for name in ("text", "other.safetensors", "absent"):
        with pytest.raises(BadRun, match="holds no activations that can be read"):
            load_activations(tmp_path / name)
    with pytest.raises(BadRun, match="has schema 2 and this version reads 1: update erosion"):
        load_activations(tmp_path / "newer.safetensors")


def test_sides_and_questions_can_be_taken_out(model):
    acts = read(model, CONTRAST, sites=[Site(0)])
    assert torch.equal(acts.aligned[Site(0)], acts[Site(0)][:12])
    assert torch.equal(acts.misaligned[Site(0)], acts[Site(0)][12:])
    some = acts.of(["q3", "q1"])
    assert some.questions == ("q1", "q3", "q1", "q3")
    assert torch.equal(some[Site(0)], acts[Site(0)][[1, 3, 13, 15]])
    with pytest.raises(BadContrast, match="No exchange is labelled 'tuned': there are aligned, misaligned"):
        acts.labelled("tuned")
    with pytest.raises(BadContrast, match="None of these questions was read"):
        acts.of(["elsewhere"])


def test_a_direction_remembers_what_it_was_made_from(model):
    acts = read(model, CONTRAST, sites=[Site(1)])
    v = directions_of(acts, difference_of_means)[Site(1)]
    gap = acts.aligned[Site(1)].mean(0) - acts.misaligned[Site(1)].mean(0)
    assert np.isclose(v.scale, float(gap.norm()), rtol=1e-5)
    assert v.passport.questions == CONTRAST.questions
    assert v.passport.span == "response"
    assert v.passport.weights_hash == model.provenance.weights_hash
    assert v.site.layer < zoo.LAYERS
