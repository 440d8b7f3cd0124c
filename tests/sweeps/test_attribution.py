"""Laws of the screen: it is the true effect to first order, whatever the edit, the place and the batch."""

import numpy as np
import pytest
import torch
import zoo
from asked import a_direction, contrast_of, normal

from erosion.errors import BadDirection, BadInput
from erosion.interventions import (
    ablate,
    conditional,
    dose,
    norm_preserving,
    patch,
    positions,
    steer,
    zero_ablate,
)
from erosion.sites import Site
from erosion.sweeps import Attribution, attribution, grid, load_sweep, screen_error, sweep
from erosion.sweeps.grid import Cell
from erosion.token_activations import read_tokens

CONTRAST = contrast_of()
METRICS = pytest.mark.parametrize("of", ["harm margin", "choice margin"])
SMALL = 1e-3


def sites_of(model, name):
    parts = ["resid_pre", "resid_post", "attn_out", "mlp_out", *([] if name == "gpt-neox" else ["resid_mid"])]
    return [*(Site(layer, part) for layer in (0, 1) for part in parts), Site(1, "z", 0), Site(1, "z", 3)]


def small_steps(model, name):
    step = SMALL * (10 if name == "gpt2" else 1)  # whose effects are small
    fitted = [
        a_direction(site, seed=i, width=model.anatomy.width(site))
        for i, site in enumerate(sites_of(model, name))
    ]
    return grid(
        lambda sign, v, scope: steer(v, by=sign * step / v.scale, scope=scope),
        sign=[1, -1],
        v=fitted,
        scope=["all", "prompt", "response", positions(-1)],
    )


def agree(screened, true, *, within=0.01, rounding=5e-6):
    """Each cell over all questions, up to the rounding of float32."""
    off, size = np.linalg.norm(screened - true, axis=-1), np.linalg.norm(true, axis=-1)
    return bool((off <= within * size + rounding).all())


@METRICS
@pytest.mark.parametrize("name", ["qwen3", "gemma2", "gpt2", "gpt-neox", "phi3", "llama"])
def test_a_small_step_does_what_the_screen_says_within_one_percent(name, of, zoo_model):
    model = zoo_model(name)
    cells = small_steps(model, name)
    there, back = np.split(sweep(model, CONTRAST, cells).effects(of), 2)
    true = (there - back) / 2  # a step and a step back: what is of second order cancels
    screened = attribution(model, CONTRAST, cells, of=of).effects[: len(true)]
    assert agree(screened, true)
    assert (np.linalg.norm(true, axis=-1) > 1e-4).sum() > len(true) // 3
    assert not agree(screened * 1.05, true)
    assert not agree(np.roll(screened, 1, axis=-1), true)


def test_every_edit_is_priced_by_what_it_changes(zoo_model):
    model, at = zoo_model("qwen3"), Site(1)
    v = a_direction(at)
    read = read_tokens(model, CONTRAST, sites=[at]).at(at)

    def cells_of(size):
        near = {name: h + size * normal(*h.shape, seed=i) for i, (name, h) in enumerate(read.items())}
        little = steer(v, by=size / v.scale)
        edits = [
            [patch(near, at=at)],
            [patch(near, at=at, along=v)],
            [patch(near, at=at, across=v, scope="response")],
            [norm_preserving(little)],
            [conditional(little, on=v, below=0.5)],
            [little, steer(a_direction(Site(0, "mlp_out")), by=size / 10)],
        ]
        return [Cell({"edit": i}, tuple(one)) for i, one in enumerate(edits)]

    there, back = (sweep(model, CONTRAST, cells_of(size)).effects("harm margin") for size in (SMALL, -SMALL))
    screened = attribution(model, CONTRAST, cells_of(SMALL)).effects
    assert agree(screened, (there - back) / 2)
    assert not agree(screened * 1.05, (there - back) / 2)


def test_effects_of_disjoint_scopes_add_up_and_of_doses_are_proportional(zoo_model):
    model, v = zoo_model("qwen3"), a_direction(Site(1))
    cells = [
        Cell({"i": i}, (steer(v, by=by, scope=scope),))
        for i, (by, scope) in enumerate([(1, "all"), (1, "prompt"), (1, "response"), (-2, "all"), (0, "all")])
    ]
    whole, prompt, response, twice, nothing = attribution(model, CONTRAST, cells).effects
    assert np.allclose(prompt + response, whole, atol=1e-6 * np.abs(whole).max())
    assert np.allclose(twice, -2 * whole, atol=1e-5 * np.abs(whole).max())
    assert np.array_equal(nothing, np.zeros(len(CONTRAST)))


@METRICS
def test_the_batch_is_irrelevant(of, zoo_model):
    model = zoo_model("gpt2")
    cells = small_steps(model, "gpt2")[:12]
    together = attribution(model, CONTRAST, cells, of=of).effects
    whole, model.batch_tokens = model.batch_tokens, 1
    try:
        apart = attribution(model, CONTRAST, cells, of=of).effects
    finally:
        model.batch_tokens = whole
    assert np.allclose(together, apart, rtol=1e-3, atol=1e-3 * np.abs(apart).max())


def test_a_screen_leaves_no_gradient_and_no_hook_behind(zoo_model):
    model = zoo_model("qwen3")
    wants = [parameter.requires_grad for parameter in model.hf.parameters()]
    attribution(model, CONTRAST, small_steps(model, "qwen3")[:4])
    assert [parameter.requires_grad for parameter in model.hf.parameters()] == wants
    assert all(parameter.grad is None for parameter in model.hf.parameters())
    assert not model.bridge.list_hooks()


# How far a screen can be trusted.

MANY = grid(
    lambda layer, part, seed, by: steer(a_direction(Site(layer, part), seed=seed), by=by),
    seed=range(4),
    layer=range(zoo.LAYERS),
    by=[0.02, -0.1],
    part=["attn_out", "mlp_out", "resid_post"],
)


@pytest.fixture(scope="module")
def screened_and_measured(zoo_model):
    model = zoo_model("qwen3")
    return attribution(model, CONTRAST, MANY), sweep(model, CONTRAST, MANY)


def test_a_screen_ranks_many_small_edits_as_they_are(screened_and_measured):
    screened, measured = screened_and_measured
    error = screen_error(screened, measured)
    assert error.n_cells == len(MANY) == 72
    assert error.rank_correlation > 0.9
    assert 10 <= error.worst_miss <= 30
    assert str(error).startswith("screen: rank correlation 0.9")
    sizes = np.abs(screened.effects.mean(-1))
    assert [cell.labels for cell in screened.top(2)] == [MANY[i].labels for i in np.argsort(-sizes)[:2]]


def test_a_screen_that_ranks_at_random_is_found_out(screened_and_measured):
    screened, measured = screened_and_measured
    order = torch.randperm(len(MANY), generator=torch.Generator().manual_seed(0)).numpy()
    random = Attribution(screened.cells, screened.effects[order], screened.questions, screened.metric)
    error = screen_error(random, measured)
    assert abs(error.rank_correlation) < 0.4
    assert error.worst_miss > 30


def test_cells_are_matched_by_their_labels_in_any_order_and_after_a_sweep_was_read_back(
    screened_and_measured, tmp_path
):
    screened, measured = screened_and_measured
    expected = screen_error(screened, measured)
    assert screen_error(screened, load_sweep(measured.save(tmp_path / "sweep.json"))) == expected
    order = np.arange(len(MANY))[::-1]
    turned = Attribution(
        tuple(screened.cells[i] for i in order), screened.effects[order], screened.questions, screened.metric
    )
    assert screen_error(turned, measured) == expected
    part = measured.where(layer=1)
    assert screen_error(screened, part).n_cells == 24


def test_a_screen_of_other_cells_is_refused(screened_and_measured):
    screened, measured = screened_and_measured
    few = Attribution(screened.cells[:2], screened.effects[:2], screened.questions, screened.metric)
    with pytest.raises(BadInput, match="2 cells were both screened and measured: measure at least three"):
        screen_error(few, measured)


@pytest.mark.parametrize(
    ("cells", "of", "fact"),
    [
        ([], "harm margin", "got 0 cells"),
        ([Cell({}, (zero_ablate(at=Site(0)),))], "warmth", "one of harm margin, choice margin"),
        ([Cell({}, (), dose(0.5, aligned="a", tuned="b"))], "harm margin", "changes weights, .* sweep it"),
        ([Cell({}, (ablate(a_direction(Site(1)).stamped(questions=("q2",))),))], "harm margin", "q2"),
        ([Cell({}, (ablate(a_direction(Site(6))),))], "harm margin", "L6 does not exist"),
        ([Cell({}, (ablate(a_direction(Site(1), width=16)),))], "harm margin", "16 wide"),
        ([Cell({}, (patch(normal(3, 2, zoo.WIDTH), at=Site(1)),))], "harm margin", "on the same tokens"),
    ],
)
def test_what_cannot_be_screened_is_refused_in_one_line(cells, of, fact, zoo_model):
    with pytest.raises((BadInput, BadDirection), match=fact) as refused:
        attribution(zoo_model("qwen3"), CONTRAST, cells, of=of)
    assert "\n" not in str(refused.value)
