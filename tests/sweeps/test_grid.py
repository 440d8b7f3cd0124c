"""Laws of grids: every combination once, in order, with its labels; nothing that cannot be measured."""

import pytest
from asked import a_direction, contrast_of

import erosion as er
from erosion.errors import BadDirection, BadInput
from erosion.interventions import ablate, dose, positions, steer, zero_ablate
from erosion.sites import Site
from erosion.sweeps import Cell, grid, sweep

V = {layer: a_direction(Site(layer)) for layer in range(3)}


def test_a_grid_is_every_combination_once_the_last_axis_fastest():
    cells = grid(lambda layer, by: steer(V[layer], by=by), layer=range(3), by=[0.5, -1])
    assert [dict(cell.labels) for cell in cells] == [
        {"layer": layer, "by": by} for layer in range(3) for by in (0.5, -1)
    ]
    assert [str(cell) for cell in cells][:2] == ["steer +0.5 at L0.resid_post", "steer -1 at L0.resid_post"]


def test_cells_that_are_none_are_left_out_and_axes_may_be_used_up():
    axis = iter([0, 1, 2])
    cells = grid(lambda layer, to: steer(V[to], by=1) if to > layer else None, layer=axis, to=range(3))
    assert [tuple(cell.labels.values()) for cell in cells] == [(0, 1), (0, 2), (1, 2)]


def test_labels_are_plain_values():
    cells = grid(
        lambda where, scope: zero_ablate(at=where, scope=scope), where=[Site(1)], scope=[positions(0, -1)]
    )
    assert dict(cells[0].labels) == {"where": "L1.resid_post", "scope": "prompt[0, -1]"}


def test_a_cell_knows_the_last_block_that_its_edits_leave_as_it_is():
    def layer_of(*sites):
        return Cell({}, tuple(zero_ablate(at=site) for site in sites)).layer

    assert layer_of(Site(2)) == 2
    assert layer_of(Site(2, "resid_pre")) == layer_of(Site(2, "mlp_out")) == layer_of(Site(2, "z", 0)) == 1
    assert layer_of(Site(2), Site(1, "attn_out")) == 0
    assert layer_of(Site(0)) == 0
    assert layer_of(Site(0, "resid_pre")) == layer_of() == -1


def test_edits_may_be_several_and_stand_beside_a_dose():
    half = dose(0.5, aligned="a", tuned="b")
    (cell,) = grid(lambda layer: (steer(V[layer], by=1), half, ablate(V[2])), layer=[0])
    assert (len(cell.edits), cell.dose) == (2, half)
    assert str(cell) == "0.5 of the fine-tune; steer +1 at L0.resid_post; ablate at L2.resid_post"
    (alone,) = grid(lambda share: dose(share, aligned="a", tuned="b", only=("L1",)), share=[0.25])
    assert (alone.edits, str(alone)) == ((), "0.25 of the fine-tune in L1")


@pytest.mark.parametrize(
    ("make", "axes", "fact"),
    [
        (lambda: None, {}, "needs at least one axis: name one"),
        (lambda layer: None, {"layer": []}, "The axis 'layer' is empty"),
        (lambda layer: "steer", {"layer": [0]}, r"At {'layer': 0} 's' is no edit: give edits"),
        (lambda layer: (), {"layer": [0]}, r"At {'layer': 0} there is no edit"),
        (lambda layer: V[0], {"layer": [0]}, "is no edit"),
        (lambda layer: [dose(1, aligned="a", tuned="b")] * 2, {"layer": [0]}, "there are 2 doses"),
    ],
)
def test_a_grid_that_cannot_be_measured_is_refused_in_one_line(make, axes, fact):
    with pytest.raises(BadInput, match=fact) as refused:
        grid(make, **axes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_a_dose_that_is_not_finite_is_refused(share):
    with pytest.raises(BadInput, match="is not a finite number: 0 is aligned and 1 is tuned"):
        dose(share, aligned="a", tuned="b")


@pytest.mark.parametrize("measure", [er.sweep, er.attribution])
@pytest.mark.parametrize(
    ("edits", "fact"),
    [
        ((steer(a_direction(Site(9)), by=1),), "L9 does not exist"),
        ((steer(a_direction(Site(1), width=16), by=1),), "16 wide"),
        ((steer(V[1].stamped(questions=("q3",)), by=1),), "q3"),
    ],
)
def test_a_cell_that_does_not_fit_the_model_or_the_questions_is_refused(edits, fact, measure, zoo_model):
    with pytest.raises((BadInput, BadDirection), match=fact) as refused:
        measure(zoo_model("qwen3"), contrast_of(), [Cell({}, edits)])
    assert "\n" not in str(refused.value)


def test_conflicting_edits_and_an_empty_grid_are_refused_before_anything_runs(zoo_model):
    model = zoo_model("qwen3")
    before = model.passes.count
    with pytest.raises(BadInput, match="would erase"):
        sweep(model, contrast_of(), [Cell({}, (steer(V[1], by=1), zero_ablate(at=Site(1))))])
    with pytest.raises(BadInput, match="no cell to measure"):
        sweep(model, contrast_of(), [])
    assert model.passes.count == before
