"""The rules by which TransformerLens and transformers are used, where no other law already holds them."""

import ast
from pathlib import Path

import agreement
import pytest
import torch

import erosion
from erosion.errors import BadInput

SOURCE = Path(erosion.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def names_in(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def test_what_corrupts_or_changes_a_model_is_never_called():
    forbidden = {"functional_call", "enable_compatibility_mode", "HookedTransformer", "run_with_cache"}
    assert not [path for path in FILES if names_in(path) & forbidden]


def test_wrapping_is_proved_at_every_load(zoo_model):
    assert 0 <= zoo_model("gpt2").provenance.wrap_error < 1e-5


def test_a_wrap_that_changed_the_logits_would_be_refused(zoo_folder, monkeypatch):
    from erosion.errors import BadModel
    from erosion.models import load, proofs

    probe = proofs.probe_logits
    monkeypatch.setattr(proofs, "probe_logits", lambda hf: probe(hf) * 1.001)
    with pytest.raises(BadModel, match=r"Wrapping changed the logits of .* by 1\.0e-03 of the largest"):
        load(zoo_folder("qwen3") / "weights")


def test_a_hook_that_does_not_see_the_hidden_state_would_be_refused(zoo_folder, monkeypatch):
    from erosion.errors import BadModel
    from erosion.models import load, proofs

    real = proofs.probe

    def probe(hf, name):
        found = real(hf, name)
        return proofs.Probe(found.logits, (*found.hidden[:2], *(1.001 * h for h in found.hidden[2:])))

    monkeypatch.setattr("erosion.models.loading.probe", probe)
    with pytest.raises(BadModel, match=r"The hook at L1.resid_post of .* is 1.0e-03 off the hidden state"):
        load(zoo_folder("qwen3") / "weights")


def test_a_padded_tensor_without_its_mask_is_refused(zoo_model):
    with pytest.raises(BadInput, match="without its mask reads wrong: make a Batch"):
        zoo_model("qwen3").run(torch.zeros(2, 5, dtype=torch.long))


def test_padding_without_a_mask_is_wrong_so_that_the_rule_means_something(zoo_model):
    model, batch = zoo_model("qwen3"), agreement.batch_of(agreement.words(9, 5), side="left")
    with torch.no_grad():
        bare = model.hf(input_ids=batch.ids, use_cache=False).logits
    assert agreement.off([bare], [model.logits(batch)], batch.mask) > 1e-3


def test_a_batch_is_affordable_and_never_nothing(zoo_model):
    assert 256 <= zoo_model("qwen3").batch_tokens <= 16_384
