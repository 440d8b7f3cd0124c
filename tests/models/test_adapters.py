"""Laws of LoRA adapters: on is PEFT's own, off is the model below, and what cannot be exact is refused."""

import json
import shutil
import warnings

import agreement
import pytest
import torch
import zoo
from transformers import AutoModelForCausalLM

from erosion.errors import BadInput, BadModel
from erosion.models import load
from erosion.models.checkpoints import hash_weights
from erosion.models.quiet import quiet
from erosion.triads import Checkpoint

RENDERED = agreement.words(*agreement.LENGTHS)
BATCH = agreement.batch_of(RENDERED)


@pytest.fixture(scope="session")
def kind_of_adapter(zoo_folder, tmp_path_factory):
    """Kind -> (weights, adapter, logits that PEFT gives): adapters beyond the plain one."""
    from peft import LoraConfig, get_peft_model

    made, root = {}, tmp_path_factory.mktemp("kinds")

    def adapter(kind, architecture="llama", **options):
        if (kind, architecture) not in made:
            weights, folder = zoo_folder(architecture) / "weights", root / f"{kind}-{architecture}"
            options = {"target_modules": ["q_proj", "v_proj", "down_proj"], **options}
            with quiet():
                hf = AutoModelForCausalLM.from_pretrained(weights)
                adapted = get_peft_model(hf, LoraConfig(r=2, lora_alpha=8, **options)).eval()
                torch.manual_seed(0)
                with torch.no_grad():
                    for parameter in adapted.parameters():
                        if parameter.requires_grad:
                            parameter.add_(torch.randn_like(parameter) * 0.3)
                adapted.save_pretrained(str(folder))
            made[kind, architecture] = weights, folder, agreement.theirs(adapted, BATCH)[-1]
        return made[kind, architecture]

    return adapter


KINDS = {
    "rank-stabilised": {"use_rslora": True},
    "ranks of their own": {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 32}},
    "magnitudes (DoRA)": {"use_dora": True},
    "a whole head": {"modules_to_save": ["lm_head"]},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "the head": {"target_modules": ["lm_head", "q_proj"]},
    "single tokens": {"trainable_token_indices": [9, 10]},
}
LINEAR = ("rank-stabilised", "ranks of their own")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_lora_is_exact_when_on_and_gone_when_off(kind, kind_of_adapter, zoo_model):
    weights, adapter, expected = kind_of_adapter(kind, **KINDS[kind])
    on = Checkpoint(str(weights), adapter=str(adapter))
    plain = zoo_model("llama").logits(BATCH)
    assert agreement.off([expected], [plain], BATCH.mask) > 1e-2
    model = load(on)
    assert agreement.off([model.logits(BATCH)], [expected], BATCH.mask) < 1e-5
    with model.using(Checkpoint(str(weights))):
        assert torch.equal(model.logits(BATCH), plain)
    assert agreement.off([model.logits(BATCH)], [expected], BATCH.mask) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_adapter_is_refused_where_the_update_is_not_linear(kind, kind_of_adapter):
    weights, adapter, _ = kind_of_adapter(kind, **KINDS[kind])
    half = Checkpoint(str(weights), adapter=str(adapter), scale=0.5)
    if kind in LINEAR:
        assert load(half).provenance.adapter_scale == 0.5
        return
    with pytest.raises(BadModel, match=r"not linear in its scale .* cannot be at 0.5: use 0 or 1"):
        load(half)


def test_an_adapter_that_brings_biases_of_the_weights_below_is_refused(kind_of_adapter):
    weights, adapter, _ = kind_of_adapter("biases", "qwen2", target_modules=["q_proj"], bias="all")
    with pytest.raises(BadModel, match=r"replaces weights below it \(\d+, first .*bias\).*merge it") as error:
        load(Checkpoint(str(weights), adapter=str(adapter)))
    assert "\n" not in str(error.value)


def test_adapters_on_the_same_weights_are_loaded_once_and_switched(kind_of_adapter, zoo_folder):
    folder = zoo_folder("llama")
    kinds = [kind_of_adapter(kind, **KINDS[kind]) for kind in ("a whole head", "rank-stabilised")]
    weights = str(folder / "weights")
    aligned = Checkpoint(weights)
    model = load(aligned, also=[Checkpoint(weights, adapter=str(adapter)) for _, adapter, _ in kinds])
    plain = model.logits(BATCH)
    for _ in range(2):
        for _, adapter, expected in kinds:
            with model.using(Checkpoint(weights, adapter=str(adapter))) as tuned:
                assert agreement.off([tuned.logits(BATCH)], [expected], BATCH.mask) < 1e-5
                assert tuned.provenance.adapter_hash == hash_weights(adapter)
                assert str(tuned.found) == f"{weights} + {adapter}"
        assert torch.equal(model.logits(BATCH), plain)
        assert model.provenance.adapter_hash is None


def test_the_adapter_is_switched_back_after_an_error(adapted_model, zoo_folder):
    model, before = adapted_model("llama"), adapted_model("llama").logits(BATCH)
    with pytest.raises(KeyError), model.using(Checkpoint(str(zoo_folder("llama") / "weights"))):
        raise KeyError
    assert torch.equal(model.logits(BATCH), before)
    assert model.provenance.adapter_scale == 1


def test_an_adapters_folder_alone_leads_to_its_weights(zoo_folder, adapted_model):
    model = load(zoo_folder("llama") / "adapter")
    assert torch.equal(model.logits(BATCH), adapted_model("llama").logits(BATCH))


def test_only_one_copy_of_the_weights_is_in_memory(zoo_model, adapted_model):
    for name in ("llama", "qwen3"):
        plain, adapted = zoo_model(name).provenance.n_parameters, adapted_model(name).provenance.n_parameters
        assert plain < adapted < 1.3 * plain


def test_nothing_of_an_adapter_asks_for_gradients(adapted_model, zoo_folder):
    model = adapted_model("llama")
    with model.using(Checkpoint(str(zoo_folder("llama") / "weights"))):
        pass
    assert not any(parameter.requires_grad for parameter in model.hf.parameters())


@pytest.mark.parametrize("name", ["phi3", "gpt2", "gpt-neox"])
def test_a_hook_inside_a_fused_projection_with_an_adapter_is_refused(name, adapted_model):
    model = adapted_model(name)
    hooks = [("blocks.1.attn.hook_pattern", lambda p, hook: None)]
    with model.bridge.hooks(fwd_hooks=hooks), pytest.raises(BadModel, match="fused projection") as error:
        model.run(BATCH)
    assert "\n" not in str(error.value)
    model.run(BATCH)


# Adapters that do not belong.


def copied(adapter, to, **changes):
    shutil.copytree(adapter, to)
    config = json.loads((to / "adapter_config.json").read_text())
    (to / "adapter_config.json").write_text(json.dumps(config | changes))
    return to


def refused(weights, adapter, match):
    with pytest.raises(BadModel, match=match) as error:
        load(Checkpoint(str(weights), adapter=str(adapter)))
    assert "\n" not in str(error.value)


def test_an_adapter_of_another_width_is_refused(zoo_folder, tmp_path):
    from transformers import LlamaConfig

    torch.manual_seed(0)
    wide = AutoModelForCausalLM.from_config(LlamaConfig(**(zoo._SHAPE | {"hidden_size": 64})))
    wide.save_pretrained(tmp_path / "weights")
    zoo.tokenizer().save_pretrained(tmp_path / "weights")
    refused(tmp_path / "weights", zoo_folder("llama") / "adapter", "the weights it was trained on")


def test_an_adapter_of_another_kind_of_model_is_refused(zoo_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(zoo_folder("gpt2") / "weights", zoo_folder("llama") / "adapter", "weights it was trained on")


def test_an_adapter_of_a_deeper_model_is_refused(zoo_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "deeper")
    tensors = load_file(folder / "adapter_model.safetensors")
    extra = {name.replace("layers.2", "layers.7"): value.clone() for name, value in tensors.items()}
    save_file(tensors | extra, folder / "adapter_model.safetensors", {"format": "pt"})
    refused(zoo_folder("llama") / "weights", folder, "made for another model .* first .*layers.7")


def test_an_adapter_that_lacks_a_tensor_is_refused(zoo_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "partial")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    refused(zoo_folder("llama") / "weights", folder, r"1 tensor\(s\) do not find their place")


def test_an_adapter_with_nan_is_refused(zoo_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "nan")
    tensors = load_file(folder / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = torch.nan
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    refused(zoo_folder("llama") / "weights", folder, "NaN or infinite weights")


def test_an_adapter_whose_recorded_weights_differ_is_refused_and_the_right_one_is_not(zoo_folder, tmp_path):
    weights = zoo_folder("llama") / "weights"
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "recorded")
    (folder / "erosion.json").write_text(json.dumps({"weights_hash": "0" * 64}))
    refused(weights, folder, "trained on weights 000000000000 and these are")
    (folder / "erosion.json").write_text(json.dumps({"weights_hash": hash_weights(weights)}))
    assert load(Checkpoint(str(weights), adapter=str(folder))).provenance.adapter_hash


def test_an_adapter_that_names_other_weights_is_a_warning(zoo_folder, tmp_path):
    folder = copied(
        zoo_folder("llama") / "adapter", tmp_path / "mirror", base_model_name_or_path="someone/mirror"
    )
    with pytest.warns(UserWarning, match="names someone/mirror as its weights"):
        load(Checkpoint(str(zoo_folder("llama") / "weights"), adapter=str(folder)))


def test_an_adapter_that_is_no_lora_is_refused(zoo_folder, tmp_path):
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "ia3", peft_type="IA3")
    refused(zoo_folder("llama") / "weights", folder, "is a IA3 adapter: only LoRA")


def test_an_adapter_whose_configuration_is_broken_is_refused(zoo_folder, tmp_path):
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "broken")
    (folder / "adapter_config.json").write_text("{")
    refused(zoo_folder("llama") / "weights", folder, "cannot be read")


def test_a_truncated_adapter_is_refused(zoo_folder, tmp_path):
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "cut")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(zoo_folder("llama") / "weights", folder, "cannot be read")


def test_a_pickled_adapter_is_refused(zoo_folder, tmp_path):
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "pickled")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    refused(zoo_folder("llama") / "weights", folder, "a pickle, and no safetensors")


def test_an_adapter_on_an_adapter_is_refused(zoo_folder):
    adapter = zoo_folder("llama") / "adapter"
    refused(adapter, adapter, "is itself an adapter")


def test_an_adapter_that_names_no_weights_is_refused(zoo_folder, tmp_path):
    folder = copied(zoo_folder("llama") / "adapter", tmp_path / "orphan", base_model_name_or_path=None)
    with pytest.raises(BadModel, match="does not name the weights"):
        load(folder)


def test_an_adapter_that_was_not_loaded_cannot_be_used(zoo_folder, zoo_model):
    folder = zoo_folder("llama")
    checkpoint = Checkpoint(str(folder / "weights"), adapter=str(folder / "adapter"))
    with (
        pytest.raises(BadModel, match="was not loaded with this model"),
        zoo_model("llama").using(checkpoint),
    ):
        pass


def test_a_checkpoint_on_other_weights_cannot_be_used(zoo_folder, zoo_model):
    other = Checkpoint(str(zoo_folder("qwen3") / "weights"))
    with pytest.raises(BadInput, match="stands on other weights"), zoo_model("llama").using(other):
        pass
    with pytest.raises(BadModel, match="stands on other weights"):
        load(zoo_folder("llama") / "weights", also=[other])


def test_a_peft_model_is_never_wrapped(zoo_folder):
    from erosion.models.wrapping import wrap

    with (
        agreement.oracle(zoo_folder("llama"), "adapter on") as hf,
        pytest.raises(BadModel, match="never wrapped"),
    ):
        wrap(hf, zoo_folder("llama") / "weights", zoo.tokenizer())
