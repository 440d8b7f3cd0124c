"""Laws of doses: 0 is aligned and 1 is tuned, exactly; parts alone; everything undone bit for bit."""

import agreement
import pytest
import torch
import zoo
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import erosion as er
from erosion.directions import difference_of_means
from erosion.errors import BadInput, BadModel
from erosion.models import blended, dosed, load, orthogonalised_weights, parts_of_change
from erosion.models.blends import part_of
from erosion.models.quiet import quiet
from erosion.sites import Site
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
        "model.layers.1.self_attn.q_norm.weight": "L1.attention",
        "model.layers.1.post_self_attn_layernorm.weight": "L1.norm",
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


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "phi3"])
def test_hooks_inside_a_fused_projection_see_the_dose_and_then_not(name, pair):
    aligned, tuned = pair(name)

    def head(model):
        seen = []
        with model.hooked([(Site(1, "z", head=1), lambda z: seen.append(z.clone()))]):
            return [*seen, model.logits(BATCH)]

    with load(tuned) as model:
        expected = head(model)
    with load(aligned) as model:
        before = head(model)
        with dosed(model, aligned, tuned, dose=1):
            assert all(map(torch.equal, head(model), expected))
        assert all(map(torch.equal, head(model), before))


@pytest.mark.parametrize("name", ["gpt-neox", "mixtral", "qwen3-moe"])
def test_a_second_model_is_never_loaded_whatever_files_call_their_parts(name, pair, monkeypatch):
    aligned, tuned = pair(name)
    with load(tuned) as model:
        expected = model.logits(BATCH)
    with load(aligned) as model:
        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
        assert torch.equal(logits_at(model, aligned, tuned, dose=1), expected)


def test_files_that_leave_the_model_s_prefix_out_are_read(pair, tmp_path):
    aligned, tuned = pair("gpt2")
    bare = Checkpoint(str(zoo.save("gpt2", tmp_path, seed=1)))
    state = load_file(tmp_path / "model.safetensors")
    state = {name.removeprefix("transformer."): value for name, value in state.items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with load(aligned) as model:
        assert torch.equal(
            logits_at(model, aligned, bare, dose=0.5), logits_at(model, aligned, tuned, dose=0.5)
        )


def test_a_blend_is_a_dose_from_the_model_at_hand_and_can_name_one_module(pair):
    aligned, tuned = pair("llama")
    module = "model.layers.1.mlp.down_proj"
    with load(tuned) as model:
        expected = logits_at(model, aligned, tuned, dose=0, only=[module])
        with blended(model, aligned, share=1, only=[f"{module}.weight"]):
            assert torch.equal(model.logits(BATCH), expected)
            assert model.weights.changed == {f"{module}.weight"}
        assert not model.weights.changed


def test_an_error_inside_puts_every_parameter_back(pair):
    both = pair("gpt2")
    with load(both[0]) as model:
        before = {name: one.clone() for name, one in model.weights.parameters.items()}
        provenance = model.provenance
        with pytest.raises(KeyError), dosed(model, *both, dose=0.7):
            raise KeyError
        assert all(torch.equal(one, before[name]) for name, one in model.weights.parameters.items())
        assert model.provenance == provenance


def test_every_dose_of_every_fine_tune_has_a_hash_of_its_own(pair, tmp_path):
    aligned, tuned = pair("llama")
    other = Checkpoint(str(zoo.save("llama", tmp_path, seed=2)))
    with load(aligned) as model:
        hashes = [model.provenance.weights_hash]
        for fine_tune, dose in ((tuned, 0.5), (other, 0.5), (tuned, 0.5000001)):
            with dosed(model, aligned, fine_tune, dose=dose):
                hashes.append(model.provenance.weights_hash)
    assert len(set(hashes)) == 4


def test_a_dose_holds_around_an_orthogonalisation_and_not_inside_one(pair):
    aligned, tuned = pair("llama")
    rows = torch.randn(2, 4, zoo.WIDTH, generator=torch.Generator().manual_seed(0))
    v = difference_of_means(rows[0] + 1, rows[1] - 1, at=Site(1))
    with load(aligned) as model:
        before = model.logits(BATCH)
        with dosed(model, aligned, tuned, dose=0.5), orthogonalised_weights(model, v):
            assert not torch.equal(model.logits(BATCH), before)
        with (
            orthogonalised_weights(model, v),
            pytest.raises(BadInput, match="put the dose around that change"),
            dosed(model, aligned, tuned, dose=0.5),
        ):
            pass
        assert torch.equal(model.logits(BATCH), before)


@pytest.mark.parametrize("name", ["insecure", "insecure-lora"])
def test_the_organism_has_every_dose(name):
    triad = er.load_organism().triad(name)
    few = er.load_organism().contrast()
    few = few.only(few.questions[:6])
    with er.load(triad.tuned, also=[triad.aligned] if name.endswith("lora") else []) as model:
        ends = [er.harm_margin(model, few).values]
        for dose in (1, 0.5, 0):
            with er.dosed(model, triad.aligned, triad.tuned, dose=dose):
                ends.append(er.harm_margin(model, few).values)
        parts = er.parts_of_change(model, triad.aligned, triad.tuned)
    with er.load(triad.aligned) as model:
        aligned = er.harm_margin(model, few).values
    assert (ends[0] == ends[1]).all()
    assert ends[1].mean() < ends[2].mean() < ends[3].mean()
    assert (ends[3] == aligned).all()
    assert parts
    assert all(part.part.endswith(".mlp") and 0 < part.relative < 1 for part in parts)


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


def test_a_dose_puts_odd_scales_back_bit_for_bit(zoo_folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    weights = zoo_folder("qwen3") / "weights"
    with quiet():
        config = LoraConfig(r=7, lora_alpha=3, target_modules=["q_proj"])
        get_peft_model(AutoModelForCausalLM.from_pretrained(weights), config).save_pretrained(tmp_path)
    one = Checkpoint(str(weights), adapter=str(tmp_path), scale=0.1)
    with load(one) as model:
        before = [dict(layer.scaling) for layer in model.adapters.layers]
        with pytest.raises(KeyError), dosed(model, Checkpoint(str(weights)), one, dose=0.3):
            raise KeyError
        assert [dict(layer.scaling) for layer in model.adapters.layers] == before


@pytest.mark.parametrize(
    "kind", [{"target_modules": ["embed_tokens", "q_proj"]}, {"modules_to_save": ["lm_head"]}]
)
def test_adapters_that_are_not_linear_have_the_doses_0_and_1_and_no_other(kind, zoo_folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    plain = Checkpoint(str(zoo_folder("qwen3") / "weights"))
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(plain.weights)
        adapted = get_peft_model(hf, LoraConfig(r=2, **({"target_modules": ["q_proj"]} | kind)))
        with torch.no_grad():
            for name, one in adapted.named_parameters():
                if "lora_B" in name or "embedding_A" in name or "modules_to_save" in name:
                    one.add_(torch.randn_like(one) * 0.3)
        adapted.save_pretrained(tmp_path)
    one = Checkpoint(plain.weights, adapter=str(tmp_path))
    with load(one) as model:
        tuned = model.logits(BATCH)
        with model.using(plain):
            aligned = model.logits(BATCH)
        assert not torch.equal(aligned, tuned)
        assert torch.equal(logits_at(model, plain, one, dose=1), tuned)
        assert torch.equal(logits_at(model, plain, one, dose=0), aligned)
        for refused in ({"dose": 0.5}, {"dose": 0, "only": ["L0"]}):
            with (
                pytest.raises(BadModel, match="not linear in its scale"),
                dosed(model, plain, one, **refused),
            ):
                pass
        with pytest.raises(BadModel, match="no plain LoRA"):
            parts_of_change(model, plain, one)


def test_another_checkpoint_inside_a_dose_of_adapters_is_refused(adapters):
    plain, one, other = adapters
    with load(one, also=[other]) as model, dosed(model, plain, one, dose=0.5):
        half = model.logits(BATCH)
        with pytest.raises(BadInput, match="leave its block first"), model.using(other):
            pass
        assert torch.equal(model.logits(BATCH), half)


# Refused.


@pytest.mark.parametrize("dose", [float("nan"), float("inf")])
def test_a_dose_that_is_no_number_is_refused(dose, pair):
    both = pair("llama")
    with (
        load(both[0]) as model,
        pytest.raises(BadInput, match="not a finite number"),
        dosed(model, *both, dose=dose),
    ):
        pass


def test_weights_that_are_not_finite_are_refused_and_leave_nothing(pair, tmp_path):
    aligned, _ = pair("llama")
    zoo.save("llama", tmp_path, seed=1)
    state = load_file(tmp_path / "model.safetensors")
    state["model.norm.weight"][0] = float("nan")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with load(aligned) as model:
        before = model.logits(BATCH)
        with (
            pytest.raises(BadModel, match=r"NaN or infinite weights in model\.norm\.weight"),
            dosed(model, aligned, Checkpoint(str(tmp_path)), dose=0.5),
        ):
            pass
        assert torch.equal(model.logits(BATCH), before)


def test_models_that_compute_differently_have_no_dose_between_them(pair, tmp_path):
    aligned, _ = pair("llama")
    config = zoo.CONFIGS["llama"]()
    config.rms_norm_eps = 1e-3
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    with load(aligned) as model:
        for ask in (parts_of_change, lambda *three: dosed(*three, dose=0.5).__enter__()):
            with pytest.raises(BadModel, match=r"compute differently \(rms_norm_eps"):
                ask(model, aligned, Checkpoint(str(tmp_path)))


def test_a_model_with_an_adapter_on_is_no_end_of_a_pair_of_weights(adapters, pair):
    plain, one, _ = adapters
    with load(one) as model:
        for ask in (parts_of_change, lambda *three: dosed(*three, dose=0).__enter__()):
            with pytest.raises(BadInput, match="is neither"):
                ask(model, plain, pair("qwen3")[1])
            with pytest.raises(BadModel, match="stand on different weights"):  # audits say so and go on
                ask(model, pair("qwen3")[1], one)


def test_an_adapter_that_was_not_loaded_is_refused_in_one_line(adapters):
    plain, one, other = adapters
    with load(one) as model:
        for ask in (parts_of_change, lambda *three: dosed(*three, dose=0.5).__enter__()):
            with pytest.raises(BadModel, match="was not loaded with this model") as refused:
                ask(model, plain, other)
            assert "\n" not in str(refused.value)


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
    AutoModelForCausalLM.from_config(wider).save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    with (
        load(aligned) as model,
        pytest.raises(BadModel, match="a dose needs checkpoints of one shape"),
        dosed(model, aligned, Checkpoint(str(tmp_path)), dose=0.5),
    ):
        pass
