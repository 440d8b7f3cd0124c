"""Laws of doses: 0 is aligned and 1 is tuned, exactly; parts alone; everything undone bit for bit."""

import agreement
import pytest
import torch
import zoo

from erosion.errors import BadInput, BadModel
from erosion.models import dosed, load, parts_of_change
from erosion.models.blends import part_of
from erosion.triads import Checkpoint

BATCH = agreement.batch_of(agreement.words(*agreement.LENGTHS))
FEW = pytest.mark.parametrize("name", ["qwen3", "gpt2", "mixtral", "gemma2"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = {}

    def of(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = tuple(
                Checkpoint(str(zoo.save(name, folder / str(seed), seed=seed))) for seed in (0, 1)
            )
        return made[name]

    return of


def logits_at(model, aligned, tuned, **dose):
    with dosed(model, aligned, tuned, **dose):
        return model.logits(BATCH)


@FEW
@pytest.mark.parametrize("start", [0, 1], ids=["aligned in memory", "tuned in memory"])
def test_dose_0_is_aligned_and_dose_1_tuned_bit_for_bit(name, start, pair):
    both = pair(name)
    with load(both[0]) as model:
        aligned = model.logits(BATCH)
    with load(both[1]) as model:
        tuned = model.logits(BATCH)
    with load(both[start]) as model:
        assert torch.equal(logits_at(model, *both, dose=0), aligned)
        assert torch.equal(logits_at(model, *both, dose=1), tuned)
        half = logits_at(model, *both, dose=0.5)
        assert not torch.equal(half, aligned)
        assert torch.equal(model.logits(BATCH), (aligned, tuned)[start])


def test_a_dose_is_the_same_from_either_end(pair):
    both, found = pair("qwen3"), []
    for start in both:
        with load(start) as model:
            found.append(logits_at(model, *both, dose=0.3))
    assert agreement.off(found[:1], found[1:], BATCH.mask) < 1e-5


def test_parts_put_back_one_after_another_are_the_whole(pair):
    aligned, tuned = pair("qwen3")
    with load(aligned) as model:
        expected = model.logits(BATCH)
    with load(tuned) as model:
        parts = [change.part for change in parts_of_change(model, aligned, tuned)]
        assert torch.equal(logits_at(model, aligned, tuned, dose=0, only=parts), expected)
        assert not torch.equal(logits_at(model, aligned, tuned, dose=0, only=parts[:1]), expected)
        blocks = logits_at(model, aligned, tuned, dose=0, only=["L0"])
        inside = [part for part in parts if part.startswith("L0.")]
        assert torch.equal(logits_at(model, aligned, tuned, dose=0, only=inside), blocks)


def test_a_part_belongs_to_its_block_and_kind():
    names = {
        "model.layers.12.self_attn.q_proj.weight": "L12.attention",
        "transformer.h.0.mlp.c_fc.bias": "L0.mlp",
        "gpt_neox.layers.1.attention.dense.weight": "L1.attention",
        "model.layers.1.post_attention_layernorm.weight": "L1.norm",
        "transformer.h.0.ln_1.weight": "L0.norm",
        "model.norm.weight": "final_norm",
        "lm_head.weight": "head",
        "transformer.wpe.weight": "embedding",
    }
    assert {name: part_of(name) for name in names} == names


def test_the_size_of_a_change_is_its_frobenius_norm(pair):
    aligned, tuned = pair("llama")
    with load(aligned) as model:
        one = {name: parameter.clone() for name, parameter in model.weights.parameters.items()}
        changes = {change.part: change for change in parts_of_change(model, aligned, tuned)}
    with load(tuned) as model:
        moved = model.weights.parameters["lm_head.weight"] - one["lm_head.weight"]
    size = one["lm_head.weight"].double().norm()
    assert changes["head"].norm == pytest.approx(float(moved.double().norm()), rel=1e-6)
    assert changes["head"].relative == pytest.approx(float(moved.double().norm() / size), rel=1e-6)


# Adapters.


@pytest.fixture
def adapters(zoo_folder, tmp_path):
    weights = zoo_folder("qwen3") / "weights"
    folders = [zoo.save_adapter("qwen3", tmp_path / str(seed), weights=weights, seed=seed) for seed in (1, 2)]
    plain = Checkpoint(str(weights))
    return plain, *(Checkpoint(str(weights), adapter=str(folder)) for folder in folders)


def test_the_dose_of_an_adapter_is_its_scale_beyond_1_too(adapters):
    plain, one, _ = adapters
    with load(one) as model:
        for dose in (0.0, 0.5, 1.0, 1.5):
            with model.using(Checkpoint(one.weights, adapter=one.adapter, scale=dose)):
                expected = model.logits(BATCH)
            assert torch.equal(logits_at(model, plain, one, dose=dose), expected)
        assert not torch.equal(model.logits(BATCH), logits_at(model, plain, one, dose=0.5))


def test_between_two_adapters_each_has_its_share(adapters):
    plain, one, other = adapters
    with load(one, also=[other]) as model:
        first = model.logits(BATCH)
        with model.using(other):
            second = model.logits(BATCH)
        assert torch.equal(logits_at(model, one, other, dose=0), first)
        assert torch.equal(logits_at(model, one, other, dose=1), second)
        half = logits_at(model, one, other, dose=0.5)
        assert agreement.off([half], [first], BATCH.mask) > 1e-3
        assert torch.equal(model.logits(BATCH), first)
        with model.using(plain):
            assert not torch.equal(model.logits(BATCH), first)


def test_an_adapter_is_put_back_by_part(adapters):
    plain, one, _ = adapters
    with load(one) as model:
        changes = parts_of_change(model, plain, one)
        parts = [change.part for change in changes]
        with model.using(plain):
            expected = model.logits(BATCH)
        assert torch.equal(logits_at(model, plain, one, dose=0, only=parts), expected)
        alone = logits_at(model, plain, one, dose=0, only=parts[:1])
        assert not torch.equal(alone, expected)
        assert not torch.equal(alone, model.logits(BATCH))
        assert all(change.norm > 0 for change in changes)


# Refused.


def test_what_can_not_be_dosed_is_refused_in_one_line(pair, adapters, tmp_path):
    aligned, tuned = pair("qwen3")
    other = Checkpoint(str(zoo.save("qwen3", tmp_path / "other", seed=5)))
    _, one, _ = adapters
    with load(aligned) as model:
        with (
            pytest.raises(BadInput, match="There is no part 'L9' in this model"),
            dosed(model, aligned, tuned, dose=0, only=["L9"]),
        ):
            pass
        with pytest.raises(BadInput, match="is neither"), dosed(model, other, tuned, dose=0.5):
            pass
        with (
            pytest.raises(BadModel, match="stand on different weights"),
            dosed(model, aligned, one, dose=0.5),
        ):
            pass


def test_another_shape_is_refused(pair, tmp_path):
    aligned, _ = pair("llama")
    wider = zoo.CONFIGS["llama"]()
    wider.intermediate_size = 64
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_config(wider).save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    with (
        load(aligned) as model,
        pytest.raises(BadModel, match="a dose needs checkpoints of one shape"),
        dosed(model, aligned, Checkpoint(str(tmp_path)), dose=0.5),
    ):
        pass
