"""Laws of loading: what is safe and whole is loaded as it is; anything else is refused in one line."""

import json
import shutil
import socket
import time

import agreement
import pytest
import torch
import zoo
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from erosion.errors import BadContrast, BadInput, BadModel
from erosion.models import (
    Placement,
    find,
    load,
    load_tokenizer,
    rendering_of,
    require_same_architecture,
    shape_of,
)
from erosion.models.checkpoints import hash_weights
from erosion.models.quiet import quiet
from erosion.progress import progress
from erosion.triads import Checkpoint

BATCH = agreement.batch_of(agreement.words(*agreement.LENGTHS))


def refused(folder, match, **how):
    with pytest.raises(BadModel, match=match) as error:
        load(folder, **how)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    return str(error.value)


@pytest.fixture
def weights(zoo_folder, tmp_path):
    """A copy of a llama's folder, to be spoilt."""
    return shutil.copytree(zoo_folder("llama") / "weights", tmp_path / "weights")


def altered(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def config_of(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "nothing", "There is no model folder .*nothing': give a folder or a hub name")
    refused("gpt-nothing", r"give a folder or a hub name \(owner/name\)")


def test_an_empty_folder_and_a_file_are_refused(tmp_path):
    refused(tmp_path, "holds no config.json")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "There is no model folder")


def test_a_pickle_is_refused_and_never_opened(weights):
    (weights / "model.safetensors").unlink()
    (weights / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    refused(weights, "holds pytorch_model.bin, a pickle, and no safetensors: pickles can run code")


def test_a_pickle_beside_safetensors_is_left_alone(weights, zoo_model):
    (weights / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert torch.equal(load(weights).logits(BATCH), zoo_model("llama").logits(BATCH))


def test_missing_configuration_weights_and_keys_are_refused(weights):
    def without_a_key(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"]

    altered(weights, without_a_key)
    refused(weights, r"lacks weights of its own configuration: 1 .* first model.layers.1.mlp.up_proj.weight")
    (weights / "model.safetensors").unlink()
    refused(weights, r"holds no \*.safetensors: the weights are missing")
    (weights / "config.json").unlink()
    refused(weights, "holds no config.json")


def test_misshapen_and_truncated_weights_are_refused(weights):
    def cut(tensors):
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:5].clone()

    altered(weights, cut)
    refused(weights, "weights")
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(weights, "cannot be loaded")


def test_a_broken_or_unknown_configuration_is_refused(weights):
    config_of(weights, model_type="nothing-known")
    refused(weights, "nothing-known")
    (weights / "config.json").write_text("{")
    refused(weights, "config")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(weights, value):
    def spoil(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"][3, 4] = value

    altered(weights, spoil)
    refused(weights, "NaN or infinite weights in model.layers.2.mlp.down_proj.weight")


def test_numbers_that_overflow_in_the_chosen_dtype_are_refused_with_a_better_one(weights):
    def enlarge(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"].mul_(1e6).clamp_(-6e4, 6e4)
        tensors["model.layers.2.mlp.up_proj.weight"].mul_(1e4)

    altered(weights, enlarge)
    refused(weights, "NaN or infinite .*bfloat16 or float32", placement=Placement(dtype="float16"))


def test_an_architecture_that_cannot_be_wrapped_is_refused(tmp_path):
    from transformers import BartConfig

    config = BartConfig(vocab_size=96, d_model=16, encoder_layers=1, decoder_layers=1, decoder_ffn_dim=16)
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    refused(tmp_path, "cannot wrap Bart|cannot be measured|Bart")


# Code that comes with a checkpoint.


def test_code_that_comes_with_a_checkpoint_is_never_run(weights, monkeypatch):
    (weights / "evil.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked to trust code"))
    config_of(weights, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    assert load(weights).n_layers == zoo.LAYERS  # a kind that transformers knows: its own class is taken
    config_of(weights, model_type="own-kind")
    refused(weights, "The configuration .* cannot be read .*custom code.*without code of its own")
    with pytest.raises(BadModel, match="cannot be read"):
        require_same_architecture(
            [("aligned", Checkpoint(str(weights))), ("tuned", Checkpoint(str(weights)))]
        )
    with pytest.raises(BadModel, match="cannot be read"):
        shape_of(Checkpoint(str(weights)))


# Names on the hub.


def test_an_unknown_hub_name_fails_at_once_when_offline(monkeypatch):
    start = time.perf_counter()
    refused("someone/nothing-like-it", "not in the hub cache, and cannot be fetched .HF_HUB_OFFLINE is set")
    assert time.perf_counter() - start < 5


def test_an_unknown_hub_name_fails_within_seconds_where_nobody_answers(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    start = time.perf_counter()
    refused("someone/nothing-like-it", "cannot be fetched .*[Rr]efused.*check the spelling")
    assert time.perf_counter() - start < 5


@pytest.fixture
def hub(zoo_folder, tmp_path, monkeypatch):
    """A pretended hub: what is asked of it, and a cache of it in a folder."""
    asked, cache = [], tmp_path / "cache"

    def snapshot_download(name, *, local_files_only=False, **how):
        if local_files_only:
            if not cache.exists():
                raise FileNotFoundError(name)
            return str(cache)
        asked.append((name, how))
        shutil.copytree(zoo_folder("llama") / "weights", cache, dirs_exist_ok=True)
        return str(cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("erosion.models.hub._require_network", lambda: None)
    monkeypatch.setattr("erosion.models.hub._size", lambda *_: "1.2 GB")
    return cache, asked


def test_a_hub_name_is_downloaded_once_and_its_size_said_before(hub):
    cache, asked = hub
    steps = []
    with progress(steps.append):
        assert find(Checkpoint("owner/llama", revision="v1")).weights == cache
        assert find(Checkpoint("owner/llama", revision="v1")).weights == cache
    assert [name for name, _ in asked] == ["owner/llama"]
    assert asked[0][1]["revision"] == "v1"
    assert not any("bin" in pattern for pattern in asked[0][1]["allow_patterns"])
    assert [(step.name, step.done) for step in steps] == [
        ("downloading owner/llama (1.2 GB)", 0),
        ("downloading owner/llama (1.2 GB)", 1),
    ]


def test_a_cache_that_holds_only_a_part_is_completed(hub, zoo_folder):
    cache, asked = hub
    cache.mkdir()
    shutil.copy(zoo_folder("llama") / "weights" / "config.json", cache)  # as a tokenizer's download leaves it
    assert find(Checkpoint("owner/llama")).weights == cache
    assert len(asked) == 1


def test_a_cache_that_lacks_a_shard_is_completed(hub, zoo_folder):
    cache, asked = hub
    shutil.copytree(zoo_folder("llama") / "weights", cache)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (cache / "model.safetensors.index.json").write_text(json.dumps(index))
    find(Checkpoint("owner/llama"))
    assert len(asked) == 1


# Precision and place.


def test_the_checkpoints_own_dtype_is_kept_and_another_one_can_be_asked_for(zoo_folder, tmp_path):
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(zoo_folder("llama") / "weights", dtype=torch.bfloat16)
        hf.save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.provenance.dtype == "bfloat16"
    assert {parameter.dtype for parameter in model.hf.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        expected = hf(BATCH.ids[:1], use_cache=False).logits
    one = agreement.batch_of(agreement.words(*agreement.LENGTHS)[:1])
    assert torch.equal(model.logits(one), expected)
    assert load(tmp_path, placement=Placement(dtype="float32")).provenance.dtype == "float32"


def test_an_unknown_dtype_and_an_absent_device_are_refused():
    with pytest.raises(BadModel, match="no dtype 'int8': choose auto, float32"):
        Placement(dtype="int8")
    if not torch.cuda.is_available():
        with pytest.raises(BadModel, match="there is no GPU here"):
            Placement(device="cuda")


def test_a_model_says_what_it_is(zoo_model):
    model = zoo_model("llama")
    assert repr(model).endswith("3 layers x 32, float32, sdpa on cpu)")
    assert model.provenance.to_json()["n_parameters"] == sum(p.numel() for p in model.hf.parameters())


def test_a_closed_model_says_so(zoo_folder):
    with load(zoo_folder("llama") / "weights") as model:
        pass
    with pytest.raises(BadInput, match="was closed: load it again"):
        model.logits(BATCH)


# Triads.


def saved(folder, **changes):
    with quiet():
        LlamaConfig(**(zoo._SHAPE | changes)).save_pretrained(folder)
        save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    return Checkpoint(str(folder))


def test_models_of_one_architecture_pass_whatever_their_padded_rows(tmp_path):
    one = saved(tmp_path / "a")
    require_same_architecture(
        [("base", one), ("aligned", saved(tmp_path / "b", vocab_size=104)), ("tuned", one)]
    )


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"num_hidden_layers": 5}, r"aligned and tuned differ in depth \(3 against 5\)"),
        ({"hidden_size": 64}, r"differ in width \(32 against 64\)"),
        ({"vocab_size": 9000}, r"differ in vocabulary \(96 against 9000 rows\)"),
    ],
)
def test_models_of_another_shape_are_refused_before_any_weights_are_read(changes, fact, tmp_path):
    pair = [("aligned", saved(tmp_path / "a")), ("tuned", saved(tmp_path / "b", **changes))]
    with pytest.raises(BadModel, match=fact):
        require_same_architecture(pair)


def test_models_of_another_kind_are_refused(zoo_folder):
    pair = [("aligned", Checkpoint(str(zoo_folder(name) / "weights"))) for name in ("llama", "qwen3")]
    with pytest.raises(BadModel, match=r"differ in kind \(llama against qwen3\)"):
        require_same_architecture(pair)


# Tokenizers.


def test_a_word_level_tokenizer_that_qwen2_would_read_as_nothing_is_refused(zoo_folder, tmp_path):
    folder = shutil.copytree(zoo_folder("qwen2") / "weights", tmp_path / "qwen2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    zoo.tokenizer().save_pretrained(folder)
    refused(folder, "returns no token for a word")


def test_a_missing_tokenizer_is_refused(weights):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (weights / name).unlink()
    refused(weights, "holds no tokenizer that can be read")


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_a_saved_tokenizer_reads_words_as_before(name, zoo_folder):
    original = (zoo.byte_tokenizer if name == "qwen2" else zoo.tokenizer)()
    reloaded = load_tokenizer(zoo_folder(name) / "weights")
    for text in ("w1 w2 w87", "<s><user> w3 <end><assistant> w4"):
        before, after = (t(text, add_special_tokens=False)["input_ids"] for t in (original, reloaded))
        assert after == before


def test_an_adapters_own_tokenizer_comes_before_that_of_its_weights(zoo_folder, tmp_path):
    folder = shutil.copytree(zoo_folder("llama") / "adapter", tmp_path / "adapter")
    zoo.tokenizer().save_pretrained(folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }} own")
    assert "own" in load_tokenizer(folder).chat_template
    assert "own" not in load_tokenizer(zoo_folder("llama") / "adapter").chat_template


def test_a_base_model_without_a_template_says_how_to_choose_one(weights):
    for name in ("chat_template.jinja",):
        (weights / name).unlink()
    with pytest.raises(BadContrast, match="has no chat template: choose one with --template plain") as error:
        rendering_of(weights)
    assert "\n" not in str(error.value)
    assert rendering_of(weights, "plain").name == "plain"


# Hashes.


def test_weights_are_hashed_once_and_anew_when_a_byte_changes(weights, monkeypatch):
    import erosion.models.checkpoints as checkpoints

    read, real = [], checkpoints.hash_file
    monkeypatch.setattr(checkpoints, "hash_file", lambda path: read.append(path.name) or real(path))
    first = hash_weights(weights)
    assert hash_weights(weights) == first
    assert read == ["model.safetensors"]
    file = weights / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert hash_weights(weights) != first
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert hash_weights(weights) == first


def test_a_cache_that_cannot_be_read_or_written_only_costs_time(weights, tmp_path, monkeypatch):
    first = hash_weights(weights)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert hash_weights(weights) == first
    (tmp_path / "cache" / "erosion").mkdir(parents=True)
    (tmp_path / "cache" / "erosion" / "hashes.json").write_text("not JSON")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert hash_weights(weights) == first


def test_the_name_of_a_shard_counts_and_the_folder_does_not(weights, tmp_path):
    first = hash_weights(weights)
    assert hash_weights(shutil.copytree(weights, tmp_path / "elsewhere")) == first
    (weights / "model.safetensors").rename(weights / "other.safetensors")
    assert hash_weights(weights) != first
