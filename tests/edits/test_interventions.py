"""Pure laws of edits: the identity at dose 0, doses that add up, projections that go where they are told."""

import math

import pytest
import torch

from erosion.directions import difference_of_means, random_direction
from erosion.errors import BadInput
from erosion.interventions import ablate, clamp, patch, refuse_conflicts, rescoped, steer
from erosion.sites import Site

D = 12
SITE = Site(2)
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])


def a_direction(seed=0, width=D):
    generator = torch.Generator().manual_seed(seed)
    aligned, misaligned = torch.randn(2, 5, width, generator=generator)
    return difference_of_means(aligned + 1, misaligned - 1, at=SITE)


V, W = a_direction(0), a_direction(1)
X = torch.randn(3, 4, D, generator=torch.Generator().manual_seed(9))
H = torch.randn(3, 4, D, generator=torch.Generator().manual_seed(10))
EDITS = {
    "steer": steer(V, by=0.7),
    "ablate": ablate(V),
    "clamp": clamp(V, to=1.5),
    "patch": patch(H, at=SITE),
    "patch one vector": patch(H[0, 0], at=SITE),
    "patch along": patch(H, at=SITE, along=V),
    "patch across": patch(H, at=SITE, across=V),
}
edits = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)


def along(x, v=V):
    return x.double() @ v.vector.double()


def across(x, v=V):
    return x.double() - along(x, v)[..., None] * v.vector.double()


@edits
@DTYPES
def test_an_edit_is_a_new_tensor_of_the_same_kind_and_leaves_the_old_one_alone(edit, dtype):
    x = X.to(dtype)
    before = x.clone()
    edited = edit.edit(x)
    assert torch.equal(x, before)
    assert edited.shape == x.shape
    assert edited.dtype == dtype
    assert edited.data_ptr() != x.data_ptr()
    assert edit.at == SITE
    assert not edit.identity


@DTYPES
def test_a_dose_of_zero_is_the_identity_exactly(dtype):
    edit = steer(V, by=0)
    assert edit.identity
    assert torch.equal(edit.edit(X.to(dtype)), X.to(dtype))
    assert steer(V, by=-0.0).identity


def test_steering_adds_the_fitted_gap_and_nothing_across():
    moved = steer(V, by=1).edit(X)
    assert torch.allclose(moved - X, V.displacement.expand_as(X), atol=1e-5)
    assert torch.allclose(along(moved) - along(X), torch.tensor(V.scale, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.25), (1.0, -1.0), (-2.0, 0.5), (0.3, 0.0)])
def test_two_doses_are_their_sum(a, b):
    both = steer(V, by=b).edit(steer(V, by=a).edit(X.double()))
    assert torch.allclose(both, steer(V, by=a + b).edit(X.double()), atol=1e-12)


def test_a_negative_dose_is_the_negative_direction():
    assert torch.allclose(steer(V, by=-0.6).edit(X), steer(-V, by=0.6).edit(X), atol=1e-6)
    assert torch.allclose(steer(V, by=0.6).edit(X), steer(V * 0.6, by=1).edit(X), atol=1e-5)


def test_an_ablation_leaves_no_projection_and_nothing_else_undone_and_is_idempotent():
    gone = ablate(V).edit(X)
    assert along(gone).abs().max() < 1e-6
    assert torch.allclose(across(gone), across(X), atol=1e-6)
    assert torch.allclose(ablate(V).edit(gone), gone, atol=1e-6)
    assert torch.allclose(ablate(-V).edit(X), gone, atol=1e-6)


@pytest.mark.parametrize("to", [-3, 0, 1.5])
def test_a_clamp_reaches_its_value_and_leaves_the_rest(to):
    clamped = clamp(V, to=to).edit(X)
    assert torch.allclose(along(clamped), torch.full((3, 4), float(to), dtype=torch.float64), atol=1e-5)
    assert torch.allclose(across(clamped), across(X), atol=1e-5)
    assert torch.allclose(clamp(V, to=to).edit(clamped), clamped, atol=1e-5)


def test_a_clamp_to_zero_is_an_ablation():
    assert torch.allclose(clamp(V, to=0).edit(X), ablate(V).edit(X), atol=1e-7)


@DTYPES
def test_a_self_patch_is_the_identity(dtype):
    x = X.to(dtype)
    assert torch.equal(patch(x, at=SITE).edit(x), x)
    assert torch.equal(patch(x, at=SITE, along=V).edit(x), x)
    assert torch.equal(patch(x, at=SITE, across=V).edit(x), x)


def test_a_patch_along_a_direction_takes_its_projection_and_keeps_the_rest():
    patched = patch(H, at=SITE, along=V).edit(X)
    assert torch.allclose(along(patched), along(H), atol=1e-5)
    assert torch.allclose(across(patched), across(X), atol=1e-5)
    assert torch.equal(patch(H, at=SITE).edit(X), H)


def test_a_patch_across_a_direction_keeps_the_projection_and_takes_the_rest():
    patched = patch(H, at=SITE, across=V).edit(X)
    assert torch.allclose(along(patched), along(X), atol=1e-5)
    assert torch.allclose(across(patched), across(H), atol=1e-5)


def test_a_patch_across_keeps_the_models_own_precision():
    x = X.double() * 1.001
    patched = patch(H.bfloat16(), at=SITE, across=V).edit(x)
    assert torch.allclose(along(patched), along(x), atol=1e-6)


def test_a_patch_along_and_one_across_make_the_whole_patch():
    both = patch(H, at=SITE, across=V).edit(patch(H, at=SITE, along=V).edit(X))
    assert torch.allclose(both, H, atol=1e-5)


def test_a_patch_is_along_or_across_not_both():
    with pytest.raises(BadInput, match="give one of them"):
        patch(H, at=SITE, along=V, across=V)


def test_a_patch_that_would_erase_an_edit_before_it_is_refused_and_nothing_else():
    whole, steered = patch(H, at=SITE), steer(V, by=1)
    with pytest.raises(BadInput, match=r"'patch at .*' would erase 'steer \+1 at .*' before it"):
        refuse_conflicts([steered, whole])
    with pytest.raises(BadInput, match="would erase"):
        refuse_conflicts([rescoped(steered, "prompt"), whole])
    refuse_conflicts([whole, steered])
    refuse_conflicts([rescoped(steered, "prompt"), rescoped(whole, "response")])
    refuse_conflicts([steered, patch(H, at=Site(SITE.layer + 1))])
    refuse_conflicts([steered, patch(H, at=SITE, along=W)])


def test_a_patch_along_takes_the_sources_own_precision():
    source = H.double() * 1.001
    patched = patch(source, at=SITE, along=V).edit(X.double())
    assert torch.allclose(along(patched), along(source), atol=1e-12)


def test_edits_in_low_precision_round_once():
    x = X.to(torch.bfloat16)
    for edit in EDITS.values():
        exact = edit.edit(x.float()).to(torch.bfloat16)
        assert torch.equal(edit.edit(x), exact)


def test_two_directions_ablated_together_leave_nothing_of_either_when_they_are_orthogonal():
    u = random_direction(like=V, seed=0)
    w = u.vector - (u.vector @ V.vector) * V.vector
    w = type(V)(w / w.norm(), V.passport)
    gone = ablate(w).edit(ablate(V).edit(X))
    assert along(gone, V).abs().max() < 1e-6
    assert along(gone, w).abs().max() < 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_doses_and_targets_that_are_not_finite_are_refused(value):
    with pytest.raises(BadInput, match=f"by={value} is not a finite number"):
        steer(V, by=value)
    with pytest.raises(BadInput, match=f"to={value} is not a finite number"):
        clamp(V, to=value)
    with pytest.raises(BadInput, match="holds NaN or infinity: read the source again"):
        patch(torch.full((D,), value), at=SITE)


@pytest.mark.parametrize("make", [lambda s: steer(V, by=1, scope=s), lambda s: ablate(V, scope=s)])
def test_an_unknown_scope_is_refused_with_the_known_ones(make):
    with pytest.raises(BadInput, match="no scope 'answer': choose one of all, prompt, response"):
        make("answer")


def test_a_patch_of_other_tokens_or_width_is_refused():
    with pytest.raises(
        BadInput, match=r"holds \(3, 4, 12\) and the model \(3, 5, 12\): read the source on the same"
    ):
        patch(H, at=SITE).edit(torch.zeros(3, 5, D))
    with pytest.raises(BadInput, match="direction has width 7, the patch 12"):
        patch(H, at=SITE, along=a_direction(width=7))


def test_an_edit_reads_as_a_sentence_and_can_be_rescoped():
    assert str(steer(V, by=-1)) == "steer -1 at L2.resid_post"
    assert str(ablate(V, scope="prompt")) == "ablate at L2.resid_post (prompt)"
    assert str(clamp(V, to=0.25)) == "clamp to 0.25 at L2.resid_post"
    assert str(patch(H, at=Site(1, "mlp_out"), along=V)) == "patch at L1.mlp_out along v"
    assert rescoped(steer(V, by=1), "response").scope == "response"
    with pytest.raises(BadInput, match="no scope"):
        rescoped(steer(V, by=1), "nowhere")
