"""Laws of what is put in an activation's place, and of edits of edits: lengths kept, conditions obeyed."""

import math

import agreement
import pytest
import torch
import zoo

from erosion.directions import Subspace, difference_of_means
from erosion.errors import BadDirection, BadInput, ErosionError
from erosion.interventions import (
    ablate,
    clamp,
    conditional,
    fitted_in,
    laid_out,
    mean_ablate,
    norm_preserving,
    patch,
    positions,
    refuse_conflicts,
    refuse_seen,
    repeated,
    resample_ablate,
    rescoped,
    steer,
    zero_ablate,
)
from erosion.sites import Site

D = zoo.WIDTH
SITE = Site(1)
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
RENDERED = agreement.words(*agreement.LENGTHS)
ROWS = agreement.batch_of(RENDERED)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_direction(seed=0, at=SITE, width=D):
    aligned, misaligned = normal(2, 5, width, seed=seed)
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


def a_subspace(k=3, seed=5, at=SITE, questions=()):
    return Subspace(torch.linalg.qr(normal(D, k, seed=seed).double()).Q.T.contiguous(), at, questions)


V, W, S = a_direction(0), a_direction(1), a_subspace()
X = normal(4, 20, D, seed=9)
H = normal(4, 20, D, seed=10)
POOL = normal(7, D, seed=11)
EDITS = {
    "zero ablate": zero_ablate(at=SITE),
    "mean ablate": mean_ablate(POOL, at=SITE),
    "mean ablate along a direction": mean_ablate(POOL, at=SITE, along=V),
    "mean ablate inside a subspace": mean_ablate(POOL, at=SITE, along=S),
    "resample ablate": resample_ablate(POOL, at=SITE),
    "resample ablate along a direction": resample_ablate(POOL, at=SITE, along=V),
    "ablate a subspace": ablate(S),
    "patch inside a subspace": patch(H, at=SITE, along=S),
    "patch outside a subspace": patch(H, at=SITE, across=S),
    "norm kept": norm_preserving(steer(V, by=3)),
    "norm kept, in part": norm_preserving(conditional(clamp(V, to=5), on=W, above=0)),
    "where it lies below": conditional(steer(V, by=0.7), on=W, below=0),
    "where it lies between": conditional(norm_preserving(ablate(S)), on=W, below=1, above=-1),
    "resample where it lies below": conditional(resample_ablate(POOL, at=SITE), on=W, below=0),
}
edits = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)


def done(edit, x=X):
    return laid_out(edit, ROWS).edit(x)


def inside(x, subspace=S):
    return x.double() @ subspace.basis.T


@edits
@DTYPES
def test_an_edit_is_a_new_tensor_of_the_same_kind_and_leaves_the_old_one_alone(edit, dtype):
    x = X.to(dtype)
    before = x.clone()
    edited = done(edit, x)
    assert torch.equal(x, before)
    assert (edited.shape, edited.dtype) == (x.shape, dtype)
    assert edited.data_ptr() != x.data_ptr()
    assert not torch.equal(edited, x)
    assert (edit.at, edit.scope, edit.identity) == (SITE, "all", False)


@edits
def test_edits_in_low_precision_round_once(edit):
    x = X.to(torch.bfloat16)
    assert torch.equal(done(edit, x), done(edit, x.float()).to(torch.bfloat16))


@DTYPES
def test_a_dose_of_zero_stays_the_identity_exactly_whatever_is_wrapped_round_it(dtype):
    x, nothing = X.to(dtype), steer(V, by=0)
    for edit in (norm_preserving(nothing), conditional(nothing, on=V, below=0)):
        assert edit.identity
        assert torch.equal(edit.edit(x), x)


def test_ablating_a_subspace_removes_every_direction_in_it_and_nothing_else_and_is_idempotent():
    gone = ablate(S).edit(X)
    assert inside(gone).abs().max() < 1e-6
    some = normal(10, 3, seed=3).double() @ S.basis
    assert (gone.double() @ some.T).abs().max() < 1e-5
    assert torch.allclose(gone.double(), X.double() - inside(X) @ S.basis, atol=1e-6)
    assert torch.allclose(ablate(S).edit(gone), gone, atol=1e-6)
    one = Subspace(V.vector[None], SITE)
    assert torch.allclose(ablate(one).edit(X), ablate(V).edit(X), atol=1e-6)


def test_directions_ablated_one_after_another_leave_a_part_where_they_are_not_orthogonal():
    both = Subspace(torch.linalg.qr(torch.stack([V.vector, W.vector]).T.double()).Q.T, SITE)
    left = ablate(W).edit(ablate(V).edit(X))
    assert inside(left, both).abs().max() > 0.1
    assert inside(ablate(both).edit(X), both).abs().max() < 1e-6


def test_a_patch_inside_a_subspace_and_one_outside_it_make_the_whole_patch():
    along, across = patch(H, at=SITE, along=S), patch(H, at=SITE, across=S)
    assert torch.allclose(inside(along.edit(X)), inside(H), atol=1e-5)
    assert torch.allclose(inside(across.edit(X)), inside(X), atol=1e-5)
    assert torch.allclose(across.edit(along.edit(X)), H, atol=1e-5)
    assert torch.allclose(along.edit(across.edit(X)), H, atol=1e-5)


@pytest.mark.parametrize("inner", [steer(V, by=50), ablate(S), clamp(V, to=-9), patch(H, at=SITE)])
def test_a_kept_norm_is_the_old_one_and_the_direction_is_the_edits(inner):
    kept = norm_preserving(inner).edit(X)
    assert torch.allclose(kept.norm(dim=-1), X.norm(dim=-1), rtol=1e-5)
    assert not torch.allclose(inner.edit(X).norm(dim=-1), X.norm(dim=-1), rtol=1e-2)
    assert torch.allclose(torch.cosine_similarity(kept, inner.edit(X), dim=-1), torch.ones(4, 20), atol=1e-5)


def test_a_kept_norm_makes_no_nan_of_what_is_zero_before_or_after():
    assert torch.equal(norm_preserving(zero_ablate(at=SITE)).edit(X), torch.zeros_like(X))
    assert torch.equal(norm_preserving(steer(V, by=1)).edit(torch.zeros_like(X)), torch.zeros_like(X))


@DTYPES
@pytest.mark.parametrize("bounds", [{"below": 0.2}, {"above": 0.2}, {"below": 1.0, "above": -0.5}])
def test_a_condition_leaves_all_other_positions_bit_for_bit(bounds, dtype):
    x, inner = X.to(dtype), steer(V, by=2)
    edited = conditional(inner, on=W, **bounds).edit(x)
    projection = x.to(torch.promote_types(dtype, torch.float32)) @ W.vector.to(
        torch.promote_types(dtype, torch.float32)
    )
    acts = (projection < bounds.get("below", math.inf)) & (projection > bounds.get("above", -math.inf))
    assert 0 < acts.sum() < acts.numel()
    assert torch.equal(edited[~acts], x[~acts])
    assert torch.equal(edited[acts], inner.edit(x)[acts])


def test_a_mean_and_a_zero_are_what_they_say_and_along_a_direction_leave_the_rest():
    mean = POOL.double().mean(0)
    assert torch.allclose(mean_ablate(POOL, at=SITE).edit(X), mean.float().expand_as(X))
    assert torch.equal(zero_ablate(at=SITE).edit(X), torch.zeros_like(X))
    partly = mean_ablate(POOL, at=SITE, along=S).edit(X)
    assert torch.allclose(inside(partly), inside(mean).expand(4, 20, 3), atol=1e-5)
    assert torch.allclose(
        partly.double() - inside(partly) @ S.basis, X.double() - inside(X) @ S.basis, atol=1e-5
    )
    shuffled = mean_ablate(POOL.flip(0), at=SITE)
    assert torch.allclose(shuffled.edit(X), mean_ablate(POOL, at=SITE).edit(X), atol=1e-6)


def test_a_resample_is_one_row_of_the_pool_for_each_exchange_at_all_its_positions():
    drawn = done(resample_ablate(POOL, at=SITE))
    for row in drawn:
        assert torch.equal(row, row[:1].expand_as(row))
        assert (row[0] == POOL).all(-1).sum() == 1
    assert len({tuple(row[0].tolist()) for row in drawn}) > 1


def test_a_resample_depends_on_the_seed_and_the_exchange_not_on_its_batch():
    edit = resample_ablate(POOL, at=SITE, seed=3)
    together = done(edit)[:, 0]
    for i, one in enumerate(RENDERED):
        alone = agreement.batch_of([one], side="left")
        assert torch.equal(edit.on(alone).edit(X[:1, : len(one)])[0, 0], together[i])
    assert not torch.equal(done(resample_ablate(POOL, at=SITE, seed=4))[:, 0], together)


def test_resampling_draws_every_row_of_the_pool_about_equally_often():
    many = agreement.batch_of(agreement.words(*[5] * 700))
    drawn = resample_ablate(POOL, at=SITE).on(many).edit(torch.zeros(700, 5, D))[:, 0]
    counts = torch.stack([(drawn == row).all(-1).sum() for row in POOL]).double()
    assert counts.sum() == 700
    assert ((counts - 100) ** 2 / 100).sum() < 22.5  # chi squared with 6 degrees of freedom, p = 0.001


# On a model.


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


@edits
def test_each_edit_acts_at_its_site_on_a_model_and_comes_off_again(edit, model):
    seen = []
    before = model.logits(ROWS)
    watch = [(SITE, lambda h: seen.append(h.clone()))]
    with model.hooked(watch), model.applied([edit]), model.hooked(watch):
        model.run(ROWS)
    assert torch.equal(seen[1], done(edit, seen[0]))
    assert torch.equal(model.logits(ROWS), before)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_resampled_batch_equals_its_exchanges_one_by_one(side, model):
    with model.applied([resample_ablate(POOL, at=SITE)]):
        whole = model.logits(batch := agreement.batch_of(RENDERED, side=side))
        for row, (one, offset) in enumerate(zip(RENDERED, batch.offset, strict=True)):
            alone = agreement.batch_of([one])
            mine = whole[row : row + 1, offset : offset + len(one)]
            assert agreement.off([mine], [model.logits(alone)], alone.mask) < 1e-5


def test_an_edit_that_changes_nothing_is_an_error_unless_that_is_an_answer(model):
    fact = "changed nothing in 1 passes"
    with pytest.raises(ErosionError, match=fact), model.applied([norm_preserving(steer(V, by=1e-30))]):
        model.run(ROWS)
    with model.applied([conditional(steer(V, by=1), on=V, above=1e9)]):
        model.run(ROWS)
    own = {}
    with model.hooked([(SITE, lambda h: own.update(h=h.clone()))]):
        before = model.logits(ROWS)
    with pytest.raises(ErosionError, match=fact), model.applied([patch(own["h"], at=SITE)]):
        assert torch.equal(model.logits(ROWS), before)
    filed = {one.id: own["h"][row, : len(one)] for row, one in enumerate(RENDERED)}
    with model.applied([patch(filed, at=SITE)]):  # two models may agree, and that is an effect of zero
        real = ROWS.mask.bool()
        assert torch.equal(model.logits(ROWS)[real], before[real])


# What is refused, in one line.


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: mean_ablate(POOL[:0], at=SITE), "0 activations for L1.resid_post hold none"),
        (lambda: mean_ablate(POOL * math.nan, at=SITE), "NaN or infinity: read some there"),
        (lambda: resample_ablate(POOL[:0], at=SITE), "hold none"),
        (lambda: mean_ablate(POOL, at=SITE, along=a_direction(width=7)), "width 7, the activations 32"),
        (lambda: patch(H, at=SITE, across=Subspace(torch.eye(7)[:2], SITE)), "width 7, the patch 32"),
        (lambda: patch({}, at=SITE), "holds no exchange"),
        (lambda: patch({"a": H[0], "b": H[1] * math.nan}, at=SITE), "NaN or infinity"),
        (lambda: zero_ablate(at=SITE, scope="answer"), "no scope 'answer'"),
        (lambda: conditional(ablate(V), on=V), "below=None and above=None name no range"),
        (lambda: conditional(ablate(V), on=V, below=0, above=0), "name no range of projections"),
        (lambda: conditional(ablate(V), on=V, below=math.nan), "name no range of projections"),
        (lambda: conditional(ablate(V), on=a_direction(at=Site(2)), below=0), "condition is read at L2"),
        (lambda: repeated(ablate(V), at=[]), "repeated at no site"),
        (lambda: rescoped(norm_preserving(ablate(V)), "nowhere"), "no scope 'nowhere'"),
        (lambda: resample_ablate(POOL, at=SITE).edit(X), "draws by exchange and this pass runs none"),
        (lambda: patch({"a": H[0]}, at=SITE).edit(X), "filed by exchange and this pass runs none"),
        (lambda: patch({"a": H[0]}, at=SITE).on(ROWS), "holds nothing for 'q0/aligned': read the source"),
        (lambda: patch({"q0/aligned": H[0, :3]}, at=SITE).on(ROWS), "3 tokens for 'q0/aligned', .* has 20"),
        (lambda: patch(H[:2], at=SITE).edit(X), r"holds \(2, 20, 32\) and the model \(4, 20, 32\)"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(make, fact):
    with pytest.raises(BadInput, match=fact) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (ablate(Subspace(torch.eye(16)[:2], SITE)), "16 wide and L1.resid_post is 32 wide"),
        (resample_ablate(normal(3, 16), at=SITE), "16 wide and the site 32"),
        (norm_preserving(patch({"q0/aligned": normal(3, 16)}, at=SITE)), "16 wide and the site 32"),
        (norm_preserving(ablate(a_subspace(at=Site(8)))), "L8 does not exist"),
        (patch(H, at=SITE, along=a_direction(at=Site(0))), "uses a direction of L0.resid_post"),
        (mean_ablate(POOL, at=SITE, along=a_subspace(at=Site(0))), "uses a direction of L0.resid_post"),
    ],
)
def test_what_belongs_to_another_model_or_site_is_refused_before_it_runs(edit, fact, model):
    with pytest.raises((BadInput, BadDirection), match=fact), model.applied([edit]):
        pytest.fail("it was applied")


def test_every_direction_is_found_however_deep_it_lies_and_is_taken_along():
    deep = norm_preserving(conditional(patch(H, at=SITE, along=S), on=W, below=0))
    assert fitted_in(deep) == (W, S)
    (there,) = repeated(deep, at=[Site(2, "mlp_out")])
    assert there.at == Site(2, "mlp_out")
    assert {fitted.site for fitted in fitted_in(there)} == {Site(2, "mlp_out")}
    assert rescoped(deep, positions(0)).scope == positions(0)


def test_questions_that_a_direction_saw_are_refused_however_deep_it_lies():
    seen = V.stamped(questions=("q1", "q2"))
    for edit in (
        norm_preserving(steer(seen, by=1)),
        conditional(ablate(W), on=seen, below=0),
        patch(H, at=SITE, across=seen),
        mean_ablate(POOL, at=SITE, along=a_subspace(questions=("q1",))),
    ):
        refuse_seen([edit], ["q3"])
        refuse_seen([edit], ["q1"], allowing=["q1"])
        with pytest.raises(BadDirection, match="q1"):
            refuse_seen([steer(W.stamped(questions=()), by=1), edit], ["q1", "q3"])


def test_what_would_erase_an_edit_before_it_is_refused_and_what_would_not_is_not():
    first = steer(V, by=1, scope=positions(0, 1))
    for whole in (zero_ablate(at=SITE), mean_ablate(POOL, at=SITE), resample_ablate(POOL, at=SITE)):
        with pytest.raises(BadInput, match=f"'{whole}' would erase 'steer"):
            refuse_conflicts([first, whole])
        refuse_conflicts([whole, first])
        refuse_conflicts([first, rescoped(whole, "response")])
        refuse_conflicts([first, rescoped(whole, positions(2))])
        with pytest.raises(BadInput, match="would erase"):
            refuse_conflicts([first, rescoped(whole, positions(-1))])  # the same token of a prompt of two
    refuse_conflicts([first, resample_ablate(POOL, at=SITE, along=W), mean_ablate(POOL, at=SITE, along=W)])


def test_edits_read_as_sentences():
    assert str(ablate(S)) == "ablate 3 dimensions at L1.resid_post"
    assert str(zero_ablate(at=Site(0, "mlp_out"))) == "zero ablate at L0.mlp_out"
    assert str(resample_ablate(POOL, at=SITE, along=V)) == "resample ablate at L1.resid_post along v"
    assert str(norm_preserving(steer(V, by=2, scope=positions(0, -1)))) == (
        "steer +2 at L1.resid_post (prompt[0, -1]), norm kept"
    )
    assert str(EDITS["where it lies between"]).endswith("norm kept where v.x < 1 and > -1")
