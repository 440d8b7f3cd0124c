"""Laws of token influence: the inner product of two exact gradients, token by token; nothing left behind."""

import numpy as np
import pytest
import torch
from test_gradients import name_of, plain_model
from test_reads import CONTRAST
from torch.nn.functional import log_softmax

from erosion.errors import BadModel
from erosion.gradients import margin_target, token_influence
from erosion.gradients.influence import MOVE
from erosion.models import Placement, load
from erosion.models.linears import linear_maps

ASKED, OTHERS = CONTRAST.only(CONTRAST.questions[:2]), CONTRAST.only(CONTRAST.questions[2:4])


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "phi3"])
def test_equal_to_the_inner_product_of_exact_gradients(architecture, zoo_folder):
    folder = zoo_folder(architecture)
    hf = plain_model(folder, torch.float64)
    with load(folder / "weights", placement=Placement(dtype="float64")) as model:
        found = token_influence(model, ASKED, target=margin_target(OTHERS))
        asked, others = model.render(ASKED.exchanges), model.render(OTHERS.exchanges)
        names = sorted({name_of(one, hf) for one in linear_maps(model)})
    weights = [dict(hf.named_parameters())[name] for name in names]

    def log_p(one):
        start, stop = one.span("response")
        ids = torch.tensor([one.ids])
        logits = hf(input_ids=ids, use_cache=False).logits[0, start - 1 : stop - 1]
        return log_softmax(logits, -1)[torch.arange(stop - start), ids[0, start:stop]]

    signs = [1 if one.id.endswith("/aligned") else -1 for one in others]
    margin = sum(sign * log_p(one).mean() for sign, one in zip(signs, others, strict=True)) / len(OTHERS)
    u = torch.autograd.grad(margin, weights)
    length = sum(one.square().sum() for one in u).sqrt()
    scale = MOVE * sum(one.square().sum() for one in weights).sqrt() / length
    most = max(float(np.abs(one).max()) for one in found.values.values())
    for one in asked:
        for t, value in enumerate(log_p(one)):
            gradient = torch.autograd.grad(value, weights, retain_graph=True)
            exact = sum((g * d).sum() for g, d in zip(gradient, u, strict=True)) * scale
            assert found.values[one.id][t] == pytest.approx(float(exact.detach()), abs=1e-3 * most)
    assert found.error < 0.01


def test_the_weights_are_put_back_bit_for_bit(zoo_folder):
    with load(zoo_folder("qwen3") / "weights") as model:
        before = {name: one.clone() for name, one in model.hf.named_parameters()}
        found = token_influence(model, ASKED, target=margin_target(OTHERS))
        assert any(np.abs(one).max() > 0 for one in found.values.values())
        assert all(torch.equal(one, before[name]) for name, one in model.hf.named_parameters())


def test_weights_too_coarse_for_a_small_move_are_refused_in_words(zoo_folder):
    with (
        load(zoo_folder("qwen3") / "weights", placement=Placement(dtype="bfloat16")) as model,
        pytest.raises(BadModel, match="precision is too low"),
    ):
        token_influence(model, ASKED, target=margin_target(OTHERS))
