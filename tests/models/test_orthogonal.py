"""Laws of weight edits: as ablating everywhere, undone bit for bit, saved whole or not at all."""

import errno
import json

import agreement
import pytest
import torch
import zoo
from transformers import AutoModelForCausalLM

import erosion as er
from erosion.directions import Subspace, difference_of_means
from erosion.errors import BadDirection, BadInput, BadModel
from erosion.interventions import ablate, repeated
from erosion.models import orthogonalised_weights, save_orthogonalised, writing_sites
from erosion.models.orthogonal import residual_along
from erosion.models.quiet import quiet
from erosion.sites import Site

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


# Saved.


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "mixtral", "phi3"])
def test_a_saved_checkpoint_behaves_as_the_ablated_model_in_plain_transformers(name, zoo_model, tmp_path):
    model = zoo_model(name)
    expected = ablated(model, V)[0]
    folder = save_orthogonalised(model, V, tmp_path / "without")
    with quiet():
        hf, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    *_, logits = agreement.theirs(hf.eval(), BATCH)
    assert agreement.off([logits], [expected], BATCH.mask) < 1e-5


def test_a_saved_adapter_is_merged(adapted_model, tmp_path):
    model = adapted_model("qwen3")
    expected = ablated(model, V)[0]
    folder = save_orthogonalised(model, V, tmp_path / "without")
    assert not (folder / "adapter_config.json").exists()
    with quiet():
        hf = AutoModelForCausalLM.from_pretrained(folder).eval()
    *_, logits = agreement.theirs(hf, BATCH)
    assert agreement.off([logits], [expected], BATCH.mask) < 1e-5


def test_the_organism_without_its_direction_loads_and_answers_as_under_ablation(tmp_path):
    organism = er.load_organism()
    few = organism.contrast().only(organism.contrast().questions[:12])
    with er.load(organism.triad().aligned) as model:
        acts = er.read(model, organism.contrast(), sites=[Site(1)])
        v = er.directions_of(acts, er.difference_of_means)[Site(1)]
        with model.applied(repeated(ablate(v), at=writing_sites(model))):
            expected = er.harm_margin(model, few).values
        folder = save_orthogonalised(model, v, tmp_path / "without")
    with er.load(str(folder)) as model:
        assert abs(er.harm_margin(model, few).values - expected).max() < 2e-2  # saved in bfloat16
    about = json.loads((folder / "erosion.json").read_text(encoding="utf-8"))
    assert about["direction"]["fit"] == "difference_of_means"
    assert "difference_of_means" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_folder_that_holds_something_is_left_alone(zoo_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(BadInput, match="nothing is overwritten"):
        save_orthogonalised(zoo_model("llama"), V, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_leaves_nothing_half_done(zoo_model, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("erosion.models.saving.save_torch_state_dict", full)
    with pytest.raises(BadInput, match="No space left on device"):
        save_orthogonalised(zoo_model("llama"), V, tmp_path / "new")
    assert not list(tmp_path.iterdir())
