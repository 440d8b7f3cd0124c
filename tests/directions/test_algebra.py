"""Laws of what several directions make together, and of a direction used elsewhere."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion import directions as room
from erosion.directions import (
    Direction,
    Passport,
    Subspace,
    average,
    check_unseen,
    difference_of_means,
    load_directions,
    moved,
    orthogonalised,
    paired_subspace,
    random_direction,
    random_subspace,
    save,
    span_of,
)
from erosion.errors import BadDirection
from erosion.sites import Site
from tests.directions.planted import AT, WIDTH, draws, sides


def fitted(
    seed: int, *, questions: tuple[str, ...] | None = None, at: Site = AT, width: int = WIDTH
) -> Direction:
    facts = {"model": "m", "span": "response", "held_out": {"metric": "AUC", "value": 0.9}}
    return difference_of_means(*sides(40, seed=seed, width=width), at=at).stamped(
        questions=questions, **facts
    )


@pytest.fixture(scope="module")
def parts() -> list[Direction]:
    return [fitted(i, questions=(f"q{i}", "shared")) for i in range(4)]


def displacements(parts: list[Direction]) -> torch.Tensor:
    return torch.stack([part.displacement for part in parts]).double()


def refused(match: str):
    return pytest.raises(BadDirection, match=match)


def test_what_is_left_is_the_displacement_minus_its_projection_by_the_formula(parts):
    v, *others = parts
    rows = displacements(others)
    coefficients = torch.linalg.lstsq(rows.T, v.displacement.double()).solution
    expected = v.displacement.double() - rows.T @ coefficients
    left = orthogonalised(v, against=others)
    assert torch.allclose(left.displacement.double(), expected, atol=1e-5)
    assert float(left.vector.norm()) == pytest.approx(1, abs=1e-6)
    assert left.scale == pytest.approx(float(expected.norm()), rel=1e-6)


def test_what_is_left_is_at_right_angles_to_every_other_and_so_is_what_is_left_of_that(parts):
    v, *others = parts
    left = orthogonalised(v, against=others)
    assert max(abs(left.cosine(w)) for w in others) < 1e-6
    again = orthogonalised(left, against=others)
    assert torch.allclose(again.displacement, left.displacement, atol=1e-5)


def test_one_two_and_the_subspace_they_span_take_out_the_same(parts):
    v, w, u, _ = parts
    by_one = orthogonalised(v, against=w)
    assert torch.equal(by_one.vector, orthogonalised(v, against=[w]).vector)
    assert torch.equal(by_one.vector, orthogonalised(v, against=-2 * w).vector)
    by_two, by_span = orthogonalised(v, against=[w, u]), orthogonalised(v, against=span_of([w, u]))
    assert torch.allclose(by_two.displacement, by_span.displacement, atol=1e-5)
    assert torch.allclose(
        by_two.displacement, orthogonalised(v, against=[w, u, 2 * w]).displacement, atol=1e-4
    )


def test_the_parts_inside_and_outside_add_up(parts):
    v, w = parts[:2]
    left = orthogonalised(v, against=w)
    inside = float(w.project(v.displacement)) ** 2
    assert left.scale**2 + inside == pytest.approx(v.scale**2, rel=1e-6)


def test_a_direction_of_scale_zero_keeps_a_unit_vector(parts):
    left = orthogonalised(0 * parts[0], against=parts[1])
    assert left.scale == 0
    assert float(left.vector.norm()) == pytest.approx(1, abs=1e-6)


def test_the_passport_says_what_was_taken_out_and_has_seen_what_all_have(parts):
    v, w, u, _ = parts
    passport = orthogonalised(-v, against=[w, u]).passport
    assert passport.fit == "difference_of_means without difference_of_means and difference_of_means"
    assert passport.questions == ("q0", "shared", "q1", "q2")
    assert passport.sign == "misaligned is positive"
    assert passport.held_out is None
    assert passport.residual_norm == v.passport.residual_norm
    subspace = orthogonalised(v, against=span_of([w, u])).passport
    assert subspace.fit == "difference_of_means without a subspace of 2"
    assert subspace.questions == ("q0", "shared", "q1", "q2")
    with refused("'q2'"):
        check_unseen(orthogonalised(v, against=u), ["q2"])


def test_nothing_left_is_refused(parts):
    v, w, u, _ = parts
    for against in (v, -3 * v, [w, v], [w, u, v + w], span_of([v, w])):
        with refused("is left without") as caught:
            orthogonalised(v, against=against)
        assert "\n" not in str(caught.value)
    with refused("no direction to take out"):
        orthogonalised(v, against=[])


def test_an_average_is_the_mean_displacement(parts):
    mean = average(parts)
    assert torch.allclose(mean.displacement.double(), displacements(parts).mean(0), atol=1e-5)
    assert torch.allclose(
        average(parts[:2]).displacement, (0.5 * (parts[0] + parts[1])).displacement, atol=1e-5
    )
    assert torch.allclose(average(reversed(parts)).vector, mean.vector, atol=1e-6)
    assert average(iter(parts[:1])) is parts[0]
    assert torch.allclose(average([parts[0]] * 3).displacement, parts[0].displacement, atol=1e-5)


@given(count=st.integers(2, 6), cosine=st.floats(0.0, 0.99))
@settings(max_examples=30, deadline=None)
def test_directions_that_disagree_give_a_mean_shorter_by_the_stated_formula(count, cosine):
    shared, own = cosine**0.5, (1 - cosine) ** 0.5
    rows = [shared * torch.eye(count + 1)[0] + own * torch.eye(count + 1)[i + 1] for i in range(count)]
    mean = average([Direction(row, Passport(site=AT, fit="mine", scale=3.0)) for row in rows])
    assert mean.scale == pytest.approx(3 * ((1 + (count - 1) * cosine) / count) ** 0.5, rel=1e-5)


def test_an_average_names_its_parts_keeps_what_they_agree_on_and_has_seen_all(parts):
    v, w = parts[:2]
    passport = average([v, w.stamped(span="user")]).passport
    assert passport.fit == "average(difference_of_means, difference_of_means)"
    assert passport.questions == ("q0", "shared", "q1")
    assert (passport.model, passport.span, passport.held_out) == ("m", None, None)
    assert passport.sign == "aligned is positive"
    mixed = average([v, -w]).passport
    assert mixed.sign is None
    assert mixed.fit == "average(difference_of_means, -(difference_of_means))"


def test_what_can_not_be_averaged_is_refused(parts):
    v = parts[0]
    with refused("no direction to average"):
        average([])
    with refused("cancel: their mean is zero"):
        average([v, -v])
    with refused("cancel"):
        average([0 * v, 0 * parts[1]])


def test_a_span_is_orthonormal_in_the_order_given_and_holds_every_part(parts):
    space = span_of(parts)
    assert torch.allclose(space.basis @ space.basis.T, torch.eye(4).double(), atol=1e-12)
    for k in range(1, 5):
        rows = space.first(k).basis
        for part in parts[:k]:
            inside = part.vector.double() @ rows.T @ rows
            assert torch.allclose(inside, part.vector.double(), atol=1e-6)
    assert torch.allclose(space.basis[0], parts[0].vector.double(), atol=1e-6)
    assert float(space.basis[1] @ parts[1].vector.double()) > 0
    assert torch.allclose(space.basis, span_of([5 * part for part in parts]).basis, atol=1e-12)


def test_a_span_has_seen_what_its_parts_have(parts):
    space = span_of(parts[:2])
    assert space.questions == ("q0", "shared", "q1")
    assert space.site == AT
    space.check_unseen(["q2"])
    with refused("'q1'"):
        space.check_unseen(["q2", "q1"])


def test_dependent_directions_are_refused_by_their_place(parts):
    v, w, u, _ = parts
    for dependent, place in (([v, 2 * v], "2 of 2"), ([v, w, v + w], "3 of 3"), ([v, w, -w, u], "3 of 4")):
        with refused(f"Direction {place} at {AT}.*leave it out") as caught:
            span_of(dependent)
        assert "\n" not in str(caught.value)
    with refused("Direction 3 of 3"):
        span_of([fitted(i, width=2) for i in range(3)])
    with refused("no direction to span a subspace"):
        span_of([])


@pytest.mark.parametrize("combine", [average, span_of, lambda both: orthogonalised(both[0], against=both[1])])
def test_other_sites_and_widths_are_refused(parts, combine):
    v = parts[0]
    with refused(r"L3.resid_post and L4.resid_post can not be combined: .*moved\(v, to="):
        combine([v, fitted(1, at=Site(4))])
    with refused("are 24 and 8 wide"):
        combine([v, fitted(1, width=8)])


def test_a_subspace_of_another_site_or_width_is_refused(parts):
    with refused("L3.resid_post and L4.resid_post can not"):
        orthogonalised(parts[0], against=span_of([fitted(1, at=Site(4))]))
    with refused("are 24 and 8 wide"):
        orthogonalised(parts[0], against=Subspace(torch.eye(8)[:1], AT))


def test_a_moved_direction_is_the_same_vector_and_remembers_where_it_is_from(parts, tmp_path):
    v = parts[0]
    there = moved(v, to=Site(5, "attn_out"))
    assert torch.equal(there.vector, v.vector)
    assert there.site == Site(5, "attn_out")
    kept = ("scale", "fit", "sign", "questions", "model", "span")
    assert all(getattr(there.passport, name) == getattr(v.passport, name) for name in kept)
    assert there.passport.fitted_at == "L3.resid_post"
    assert there.passport.held_out is None
    assert there.passport.residual_norm is None
    assert "difference_of_means at L3.resid_post" in repr(there)
    assert moved(there, to=Site(9)).passport.fitted_at == "L3.resid_post"
    assert moved(there, to=AT).passport.fitted_at is None
    assert moved(v, to=AT) is v
    assert load_directions(save(there, tmp_path / "v.safetensors"))[there.site].passport == there.passport


def test_moved_directions_combine_and_say_where_each_is_from(parts):
    v, there = parts[0], moved(fitted(1, at=Site(4)), to=AT)
    assert (
        v + there
    ).passport.fit == "difference_of_means at L3.resid_post + difference_of_means at L4.resid_post"
    assert (v + there).passport.fitted_at is None
    both = average([there, moved(fitted(2, at=Site(4)), to=AT)])
    assert both.passport.fitted_at == "L4.resid_post"


def test_a_subspace_moves_with_its_rows_and_questions(parts):
    space = span_of(parts[:2])
    there = moved(space, to=Site(0, "mlp_out"))
    assert there.site == Site(0, "mlp_out")
    assert there.basis is space.basis
    assert there.questions == space.questions


def test_heads_have_a_width_of_their_own(parts):
    head = fitted(0, at=Site(3, "z", 1), width=8)
    assert moved(head, to=Site(4, "z", 0)).site == Site(4, "z", 0)
    with refused("can not be used at L3.z.0"):
        moved(parts[0], to=Site(3, "z", 0))
    with refused("can not be used at L3.attn_out"):
        moved(head, to=Site(3, "attn_out"))


def test_unknown_questions_stay_unknown_and_known_ones_stay_refused(parts):
    unknown, none, known = fitted(5), random_direction(like=parts[0], seed=0), parts[1]
    assert average([unknown, fitted(6)]).passport.questions is None
    assert span_of([unknown, none]).questions is None  # "none" would be a claim
    assert (unknown + none).passport.questions is None
    assert orthogonalised(none, against=random_direction(like=none, seed=1)).passport.questions == ()
    for made in (average([unknown, known]), orthogonalised(unknown, against=known), unknown + known):
        assert made.passport.questions == ("q1", "shared")
    with refused("'q1'"):
        span_of([unknown, known]).check_unseen(["q1"])


def test_a_subspace_that_was_told_no_questions_does_not_claim_to_have_seen_none():
    aligned, misaligned = sides(20)
    assert paired_subspace(aligned, misaligned, at=AT, k=2).questions is None
    assert paired_subspace(aligned, misaligned, at=AT, k=2, questions=["a", "b", "a"]).questions == ("a", "b")
    assert paired_subspace(aligned, misaligned, at=AT, k=2).first(1).questions is None
    assert random_subspace(aligned, at=AT, k=2, white=draws(2, 20, seed=0)).questions == ()
    Subspace(torch.eye(3)[:1], AT).check_unseen(["a"])
    Subspace(torch.eye(3)[:1], AT, ()).check_unseen(["a"])


def test_the_repr_says_so_where_the_questions_are_unknown(parts):
    assert repr(fitted(0)).endswith("24 wide, questions unknown)")
    assert repr(parts[0]).endswith("24 wide)")
    assert repr(fitted(0, questions=())).endswith("24 wide)")


def test_every_verb_here_is_exported_and_documented():
    for verb in (average, moved, orthogonalised, span_of):
        assert verb.__name__ in room.__all__
        assert ">>>" in inspect.getdoc(verb)
