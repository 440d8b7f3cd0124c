"""Laws of weight edits: as ablating everywhere, undone bit for bit, saved whole or not at all."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import agreement
import pytest
import torch
import zoo
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM

import erosion as er
from erosion.directions import Subspace, difference_of_means
from erosion.errors import BadDirection, BadInput, BadModel
from erosion.interventions import ablate, repeated
from erosion.models import load, orthogonalised_weights, save_checkpoint, save_orthogonalised, writing_sites
from erosion.models.orthogonal import residual_along
from erosion.models.quiet import quiet
from erosion.sites import Site
from erosion.triads import Checkpoint

POST_NORM = ("gemma2", "gemma3", "olmo2")
EVERY = pytest.mark.parametrize("name", zoo.CONFIGS)
POSSIBLE = pytest.mark.parametrize("name", [name for name in zoo.CONFIGS if name not in POST_NORM])
BATCH = agreement.batch_of(agreement.words(*agreement.LENGTHS))


def a_direction(seed=0, width=zoo.WIDTH):
    generator = torch.Generator().manual_seed(seed)
    aligned, misaligned = torch.randn(2, 4, width, generator=generator)
    return difference_of_means(aligned + 1, misaligned - 1, at=Site(1))


V = a_direction()


def ablated(model, direction):
    with model.applied(repeated(ablate(direction), at=writing_sites(model))):
        return model.logits(BATCH), residual_along(model, direction)


@EVERY
def test_ablating_at_every_writing_site_leaves_no_part_at_any_layer(name, zoo_model):
    model = zoo_model(name)
    assert residual_along(model, V) > 1e-2
    assert ablated(model, V)[1] < 1e-6


@POSSIBLE
def test_orthogonalised_weights_are_ablation_at_every_writing_site_and_are_undone(name, zoo_model):
    model = zoo_model(name)
    before, tied = model.logits(BATCH), model.hf.config.tie_word_embeddings
    expected, hashed = ablated(model, V)[0], model.provenance.weights_hash
    with orthogonalised_weights(model, V):
        assert agreement.off([model.logits(BATCH)], [expected], BATCH.mask) < 1e-5
        assert not model.hf.config.tie_word_embeddings
        assert model.provenance.weights_hash != hashed
    assert torch.equal(model.logits(BATCH), before)
    assert model.hf.config.tie_word_embeddings == tied
    assert model.provenance.weights_hash == hashed


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "phi3"])
def test_adapters_are_taken_in_and_given_back(name, adapted_model):
    model = adapted_model(name)
    before, expected = model.logits(BATCH), ablated(model, V)[0]
    with orthogonalised_weights(model, V):
        assert agreement.off([model.logits(BATCH)], [expected], BATCH.mask) < 1e-5
    assert torch.equal(model.logits(BATCH), before)


def test_a_subspace_takes_all_its_directions(zoo_model):
    model = zoo_model("gpt2")
    basis = torch.linalg.qr(torch.stack([V.vector, a_direction(1).vector]).T.double())[0].T
    with orthogonalised_weights(model, Subspace(basis, Site(1))):
        for direction in (V, a_direction(1)):
            assert residual_along(model, direction) < 1e-5


def test_an_error_inside_puts_everything_back(zoo_model):
    model = zoo_model("gpt2")
    before = model.logits(BATCH)
    with pytest.raises(KeyError), orthogonalised_weights(model, V):
        raise KeyError
    assert torch.equal(model.logits(BATCH), before)


@pytest.mark.parametrize("name", POST_NORM)
def test_architectures_that_normalise_what_they_write_are_refused(name, zoo_model):
    with (
        pytest.raises(BadModel, match="normalises what attention and MLP write"),
        orthogonalised_weights(zoo_model(name), V),
    ):
        pytest.fail("it was edited")


def test_another_width_is_refused(zoo_model):
    fact = "16 wide and the residual stream 32"
    with (
        pytest.raises(BadDirection, match=fact),
        orthogonalised_weights(zoo_model("llama"), a_direction(width=16)),
    ):
        pytest.fail("it was edited")


def test_a_model_that_writes_in_an_unknown_way_is_found_out_and_put_back(zoo_model, monkeypatch):
    import re

    model = zoo_model("llama")
    before = model.logits(BATCH)
    monkeypatch.setattr("erosion.models.orthogonal._WRITERS", re.compile("o_proj"))
    with pytest.raises(BadModel, match="still writes along the direction"), orthogonalised_weights(model, V):
        pytest.fail("it was edited")
    assert torch.equal(model.logits(BATCH), before)


def test_two_directions_of_one_name_leave_two_hashes(zoo_model):
    model, hashes = zoo_model("llama"), set()
    for vector in (V.vector, a_direction(1).vector):
        with orthogonalised_weights(model, replace(V, vector=vector)):
            hashes.add(model.provenance.weights_hash)
    assert len(hashes) == 2


def test_in_bfloat16_it_holds_to_rounding_and_is_undone(zoo_folder):
    placement = er.Placement(dtype="bfloat16")
    with load(zoo_folder("llama") / "weights", placement=placement) as model:
        before = model.logits(BATCH)
        with orthogonalised_weights(model, V):
            assert residual_along(model, V) < 1e-2
        assert torch.equal(model.logits(BATCH), before)


def test_a_stream_that_is_not_finite_proves_nothing(zoo_model):
    model = zoo_model("llama")
    weight = model.weights.parameters["model.layers.1.mlp.up_proj.weight"]
    was, weight.data = weight.data, weight.data * float("nan")
    try:
        with pytest.raises(BadModel, match="still writes along"), orthogonalised_weights(model, V):
            pytest.fail("it was edited")
    finally:
        weight.data = was


def test_weights_that_are_quantised_are_refused(zoo_model):
    model = zoo_model("llama")
    weight = model.weights.parameters["model.layers.1.mlp.up_proj.weight"]
    was, weight.data = weight.data, weight.data.to(torch.float8_e4m3fn)
    try:
        with pytest.raises(BadModel, match="float8_e4m3fn: quantised"), orthogonalised_weights(model, V):
            pytest.fail("it was edited")
    finally:
        weight.data = was


# Saved.


def names_in(folder):
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        return set(file.keys())


@POSSIBLE
def test_a_saved_checkpoint_behaves_as_the_ablated_model_in_plain_transformers(
    name, zoo_folder, zoo_model, tmp_path
):
    model = zoo_model(name)
    expected = ablated(model, V)[0]
    folder = save_orthogonalised(model, V, tmp_path / "without")
    with quiet():
        hf, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not hf.config.tie_word_embeddings
    untied = {"lm_head.weight"} if model.weights.tied else set()
    assert names_in(folder) == names_in(zoo_folder(name) / "weights") | untied
    *_, logits = agreement.theirs(hf.eval(), BATCH)
    assert agreement.off([logits], [expected], BATCH.mask) < 1e-5


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gpt-neox", "mixtral"])
def test_a_saved_adapter_is_merged(name, adapted_model, tmp_path):
    model = adapted_model(name)
    expected = ablated(model, V)[0]
    folder = save_orthogonalised(model, V, tmp_path / "without")
    assert not (folder / "adapter_config.json").exists()
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(folder).eval()
    *_, logits = agreement.theirs(hf, BATCH)
    assert agreement.off([logits], [expected], BATCH.mask) < 1e-5


def test_the_organism_without_its_direction_loads_and_answers_as_under_ablation(tmp_path):
    organism = er.load_organism()
    with er.load(organism.triad().aligned) as model:
        acts = er.read(model, organism.contrast(), sites=[Site(1)])
        v = er.directions_of(acts, er.difference_of_means)[Site(1)]
        with model.applied(repeated(ablate(v), at=writing_sites(model))):
            expected = model.logits(BATCH)
        folder = save_orthogonalised(model, v, tmp_path / "without")
        edited = 3 * model.n_layers + 1  # o, down and its bias in every layer, and the embedding
    with er.load(str(folder)) as model:
        assert agreement.off([model.logits(BATCH)], [expected], BATCH.mask) < 1e-5
    about = json.loads((folder / "erosion.json").read_text(encoding="utf-8"))
    assert about["direction"]["fit"] == "difference_of_means"
    assert about["edited"] == edited
    assert about["verified_at"] < 1e-6
    assert "difference_of_means" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_folder_that_holds_something_is_left_alone(zoo_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(BadInput, match="nothing is overwritten"):
        save_orthogonalised(zoo_model("llama"), V, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
)
@pytest.mark.parametrize("where", ["save_torch_state_dict", "_to_disk"])
def test_a_full_disk_leaves_nothing_half_done_and_the_model_as_it_was(
    where, error, zoo_model, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise error

    model = zoo_model("llama")
    before = model.logits(BATCH)
    monkeypatch.setattr(f"erosion.models.saving.{where}", full)
    with pytest.raises(BadInput, match=r"No space left on device.*nothing is half-done"):
        save_orthogonalised(model, V, tmp_path / "new")
    assert not list(tmp_path.iterdir())
    assert torch.equal(model.logits(BATCH), before)


def test_a_folder_below_a_file_is_refused_in_one_line(zoo_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written") as refused:
        save_orthogonalised(zoo_model("llama"), V, tmp_path / "file" / "new")
    assert "\n" not in str(refused.value)


def test_an_empty_folder_is_filled_and_settings_are_kept_as_they_were(zoo_folder, tmp_path):
    settings = '{"do_sample": false, "temperature": 0.6}'  # which transformers reads and refuses to write
    weights = Path(zoo.save("llama", tmp_path / "weights"))
    (weights / "generation_config.json").write_text(settings)
    (tmp_path / "new").mkdir()
    with load(weights) as model:
        folder = save_orthogonalised(model, V, tmp_path / "new")
    assert (folder / "generation_config.json").read_text() == settings


@pytest.mark.parametrize("kind", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"lora_bias": True}])
def test_adapters_that_can_not_be_added_to_a_matrix_are_not_saved_wrong(kind, zoo_folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    weights = zoo_folder("qwen3") / "weights"
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(weights)
        config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], **kind)
        get_peft_model(hf, config).save_pretrained(tmp_path / "adapter")
    checkpoint = Checkpoint(str(weights), adapter=str(tmp_path / "adapter"))
    with load(checkpoint) as model:
        with pytest.raises(BadModel, match="no plain LoRA"):
            save_checkpoint(model, tmp_path / "new", facts={})
        assert not (tmp_path / "new").exists()
        with model.using(Checkpoint(str(weights))):  # off, it changes nothing
            save_checkpoint(model, tmp_path / "new", facts={})
