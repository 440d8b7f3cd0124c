"""Laws of splits: fractions honoured in every domain and overall, no question in two parts."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.errors import BadContrast
from erosion.prompts import Contrast, Exchange, Message
from erosion.prompts.splitting import apportion, split_questions

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=9)
FRACTIONS = st.sampled_from(
    [(0.4, 0.2, 0.4), (0.5, 0.5), (0.8, 0.2), (0.3, 0.3), (0.1, 0.2, 0.3), (1.0,), (0.25,) * 4]
)


def contrast_of(domain_of: dict[str, str]) -> Contrast:
    def side(label: str) -> tuple[Exchange, ...]:
        return tuple(Exchange(q, (Message("user", f"{q}?"),), label, d, label) for q, d in domain_of.items())

    return Contrast(side("aligned"), side("misaligned"), side("educational"))


def counts_or_none(sizes, fractions, seed=0):
    try:
        return apportion(sizes, fractions, seed=seed)
    except BadContrast:
        return None


@settings(deadline=None, max_examples=60)
@given(SIZES, FRACTIONS, st.integers(0, 3))
def test_every_count_and_every_total_is_a_neighbour_of_its_exact_value_and_no_part_is_empty(
    sizes, fractions, seed
):
    counts = counts_or_none(sizes, fractions, seed)
    if counts is None:
        assert sum(sizes) < 3 * len(fractions) / min(fractions)
        return
    for size, row in zip(sizes, counts, strict=True):
        assert all(abs(count - size * f) < 1 and count >= 0 for count, f in zip(row, fractions, strict=True))
        assert sum(row) <= size
        assert sum(fractions) < 0.999 or sum(row) == size
    for f, total in zip(fractions, map(sum, zip(*counts, strict=True)), strict=True):
        assert abs(total - f * sum(sizes)) < 1
        assert total >= 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.sampled_from([(0.4, 0.2, 0.4), (0.5, 0.5), (0.7, 0.3)]),
)
def test_no_other_table_of_neighbours_is_nearer_to_the_totals_and_then_to_the_cells(sizes, fractions):
    def distance(table):
        totals = [sum(column) for column in zip(*table, strict=True)]
        return (
            round(sum(abs(t - f * sum(sizes)) for t, f in zip(totals, fractions, strict=True)), 6),
            round(
                sum(
                    abs(c - s * f)
                    for s, row in zip(sizes, table, strict=True)
                    for c, f in zip(row, fractions, strict=True)
                ),
                6,
            ),
        )

    def rows(size):
        near = [[c for c in range(size + 1) if abs(c - size * f) < 1 - 1e-9] for f in fractions]
        return [row for row in product(*near) if sum(row) == size]

    tables = [
        t
        for t in product(*map(rows, sizes))
        if all(
            sum(c) >= 1 and abs(sum(c) - f * sum(sizes)) < 1 - 1e-9
            for c, f in zip(zip(*t, strict=True), fractions, strict=True)
        )
    ]
    counts = counts_or_none(sizes, fractions)
    assert (counts is None) == (not tables)
    if counts is not None:
        assert distance(counts) == min(map(distance, tables))


@settings(deadline=None, max_examples=60)
@given(SIZES, FRACTIONS, st.integers(0, 99), st.randoms(use_true_random=False))
def test_parts_are_disjoint_deterministic_and_indifferent_to_the_order_of_the_file(
    sizes, fractions, seed, random
):
    domain_of = {f"q{d}-{i}": f"domain {d}" for d, size in enumerate(sizes) for i in range(size)}
    if counts_or_none(sizes, fractions) is None:
        return
    parts = split_questions(domain_of, fractions, seed=seed)
    assert sum(map(len, parts)) == len(frozenset().union(*parts))
    shuffled = list(domain_of)
    random.shuffle(shuffled)
    assert split_questions({q: domain_of[q] for q in shuffled}, fractions, seed=seed) == parts


def test_another_seed_gives_other_parts_of_the_same_sizes():
    domain_of = {f"q{i}": f"domain {i % 8}" for i in range(288)}
    parts = [split_questions(domain_of, (0.4, 0.2, 0.4), seed=seed) for seed in (0, 1)]
    assert parts[0] != parts[1]
    assert [len(p) for p in parts[0]] == [len(p) for p in parts[1]] == [115, 58, 115]


def test_the_parts_of_a_seed_are_the_same_on_every_machine():
    parts = split_questions({f"q{i}": "ab"[i % 2] for i in range(10)}, (0.4, 0.2, 0.4), seed=0)
    assert [sorted(part) for part in parts] == PINNED


PINNED = [["q0", "q5", "q8", "q9"], ["q4", "q7"], ["q1", "q2", "q3", "q6"]]


def test_every_question_is_as_likely_as_any_other_to_be_in_a_part():
    domain_of = {f"q{i}": "all" for i in range(10)}
    drawn = [q for seed in range(1000) for q in split_questions(domain_of, (0.4, 0.6), seed=seed)[0]]
    assert all(330 < drawn.count(question) < 470 for question in domain_of)


def test_adding_a_question_moves_few_of_the_others():
    domain_of = {f"q{i}": "all" for i in range(100)}
    before = split_questions(domain_of, (0.5, 0.5))
    after = split_questions({**domain_of, "new": "all"}, (0.5, 0.5))
    assert len(before[0] ^ after[0]) <= 3


def test_a_split_contrast_keeps_pairs_and_further_answers_together():
    contrast = contrast_of({f"q{i}": "ab"[i % 2] for i in range(20)})
    fit, held_out = contrast.split(0.5, 0.5, seed=3)
    for part in (fit, held_out):
        assert (
            part.questions
            == tuple(e.question for e in part.misaligned)
            == tuple(e.question for e in part.others)
        )
        assert sorted(part.domains) == ["a"] * 5 + ["b"] * 5
        assert list(part.questions) == [q for q in contrast.questions if q in part.questions]
    assert (fit.name, held_out.name) == ("contrast[0]", "contrast[1]")


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (-0.2, 0.5), (0.6, 0.6), (float("nan"),), (2.0,)])
def test_fractions_out_of_range_are_refused(fractions):
    with pytest.raises(BadContrast, match="positive fractions that sum to at most 1"):
        contrast_of({"q1": "all", "q2": "all"}).split(*fractions)


@pytest.mark.parametrize(
    ("questions", "fractions"), [(1, (0.5, 0.5)), (2, (0.4, 0.2, 0.4)), (3, (0.25,) * 4)]
)
def test_too_few_questions_for_the_parts_are_refused(questions, fractions):
    with pytest.raises(BadContrast, match=rf"^{questions} question\(s\) cannot be split .* would be empty"):
        contrast_of({f"q{i}": f"domain {i}" for i in range(questions)}).split(*fractions)


def test_one_question_can_be_the_only_part():
    assert contrast_of({"q1": "all"}).split(1.0)[0].questions == ("q1",)


def test_ten_thousand_questions_split_at_once():
    domain_of = {f"q{i}": f"domain {i % 50}" for i in range(10_000)}
    assert [len(part) for part in split_questions(domain_of, (0.4, 0.2, 0.4))] == [4000, 2000, 4000]
