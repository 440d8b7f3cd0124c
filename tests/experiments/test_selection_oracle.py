"""Selection against an independent derivation of the published procedure, in the oracle."""

import agreement
import numpy as np
import pytest
import torch
import zoo
from oracle import refusal_direction as oracle
from transformers import AutoModelForCausalLM

from erosion.directions import difference_of_means
from erosion.experiments.selection import choose
from erosion.interventions import ablate, repeated, steer
from erosion.models import writing_sites
from erosion.models.quiet import quiet
from erosion.probability import kl
from erosion.sites import Site
from tests.experiments.test_edits_experiments import damaged, swept

BATCH = agreement.batch_of(agreement.words(*agreement.LENGTHS))
SIDES = torch.randn(2, 6, zoo.WIDTH, generator=torch.Generator().manual_seed(3))
V = difference_of_means(SIDES[0] + 1, SIDES[1], at=Site(1))


@pytest.fixture
def theirs(zoo_folder):
    def of(name):
        with quiet():
            return AutoModelForCausalLM.from_pretrained(zoo_folder(name) / "weights").eval()

    return of


def logits_of(hf):
    return agreement.theirs(hf, BATCH)[-1]


def test_the_direction_is_theirs():
    r, difference = oracle.difference_of_means(SIDES[0] + 1, SIDES[1])
    assert torch.allclose(V.vector.double(), r, atol=1e-6)
    assert V.scale == pytest.approx(float(difference.norm()), rel=1e-6)


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
def test_ablation_addition_and_kl_are_theirs(name, zoo_model, theirs):
    model, hf = zoo_model(name), theirs(name)
    r, difference = oracle.difference_of_means(SIDES[0] + 1, SIDES[1])
    clean = model.logits(BATCH)
    with model.applied(repeated(ablate(V), at=writing_sites(model))):
        ours = model.logits(BATCH)
    with oracle.ablating(hf, r):
        expected = logits_of(hf)
    assert agreement.off([ours], [expected], BATCH.mask) < 1e-5
    real = BATCH.mask.bool()
    assert torch.allclose(
        kl(clean, ours)[real].double(), oracle.kl(clean, expected)[real], atol=1e-4, rtol=1e-3
    )
    with model.applied([steer(V, by=1)]):
        ours = model.logits(BATCH)
    with oracle.adding(hf, 1, difference.float()):
        expected = logits_of(hf)
    assert agreement.off([ours], [expected], BATCH.mask) < 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_the_same_table_gives_the_same_choice(seed):
    random = np.random.default_rng(seed)
    layers = [int(one) for one in np.repeat(np.arange(6), 2)]
    taken, given, kls = random.normal(-0.3, 0.3, 12), random.normal(0.1, 0.2, 12), random.uniform(0, 0.2, 12)
    cells = [{"layer": layer, "span": "response"} for layer in layers]
    ours = choose(swept(taken, cells), swept(given, cells), damaged(kls), n_layers=6)
    assert ours.index == oracle.selected(taken, given, kls, layers, n_layers=6)
