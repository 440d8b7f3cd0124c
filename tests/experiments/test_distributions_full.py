"""Laws of output distributions: the benign control shows the trap; curves keep to the same questions."""

import dataclasses

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments import Sampling, TokenReads, distributions, divergences, load_result
from erosion.experiments.shared_positions import relative_bins, shared_positions
from erosion.figures import distributions as figures
from erosion.figures import distributions_claims as claims
from erosion.metrics import Continuations, Divergences, Responses

N = 40
QUICK = Sampling(resamples=200, permutations=200)
DOMAINS = {f"q{i}": "cooking" if i % 2 else "code" for i in range(N)}


def responses(levels, *, lengths=(6,), seed=0, noise=0.05):
    """N questions; each side's tokens lie at its level, questions varying around it."""
    rng = np.random.default_rng(seed)
    sizes = [lengths[i % len(lengths)] for i in range(N)] * 2
    own = np.tile(rng.normal(0, noise, N), 2)
    sides = [levels[0]] * N + [levels[1]] * N
    values = [
        side + shift + rng.normal(0, noise, n) for side, shift, n in zip(sides, own, sizes, strict=True)
    ]
    return Responses(
        tuple(f"q{i}" for i in range(N)) * 2,
        ("aligned",) * N + ("misaligned",) * N,
        tuple(tuple(range(n)) for n in sizes),
        tuple(values),
        tuple(np.abs(one) for one in values),
        np.zeros(2 * N),
    )


def compared(scored, *, level=0.5):
    rng = np.random.default_rng(1)
    like = [len(one) for one in scored.log_likelihood]
    values = {
        name: tuple(level + 0.1 * rng.random(n) for n in like)
        for name in ("kl", "reverse_kl", "jensen_shannon")
    }
    ones = tuple(np.ones(n) for n in like)
    zeros = tuple(np.zeros(n) for n in like)
    words = tuple(tuple(f"w{i}" for i in range(n)) for n in like)
    return Divergences(
        scored.questions,
        scored.labels,
        words,
        **values,
        outside=zeros,
        other_outside=zeros,
        rank=ones,
        other_rank=ones,
    )


MODELS = {"base": (-1.0, -1.0), "aligned": (-0.5, -3.0), "tuned": (-0.9, -1.4)}


def contrast(**options):
    return {name: responses(levels, seed=i, **options) for i, (name, levels) in enumerate(MODELS.items())}


def reads(*, base=True, level=0.5, **options):
    scored = contrast(**options)
    pairs = (
        ("tuned from aligned", "tuned from base", "aligned from base") if base else ("tuned from aligned",)
    )
    if not base:
        del scored["base"]
    said = Continuations(("q0",), ("asked",), (("a", "b"),), ((0.6, 0.4),))
    return TokenReads(
        scored, {p: compared(scored["tuned"], level=level) for p in pairs}, dict.fromkeys(scored, said)
    )


def test_the_published_numbers_on_harmless_answers_stand_beside_the_harmful_ones():
    flat = {
        name: responses((level, level - 1))
        for name, level in (("base", -1.0), ("aligned", -3.0), ("tuned", -1.4))
    }
    result = distributions(contrast(), DOMAINS, trained_domains=["code"], benign=flat, sampling=QUICK)
    harm = result.published["misaligned answers"]
    assert harm["eroded fraction [95%]"].value == pytest.approx(harm["eroded fraction"])
    right = result.published["right answers"]
    assert right["eroded fraction [95%]"].value == pytest.approx(0.8, abs=0.01)
    assert harm["change per token"].control.value == right["change per token"].value == pytest.approx(1.6)
    benign = result["overall"]["benign"]
    assert benign["style drift"].value == pytest.approx(1.6)
    assert benign["competence-specific change"].covers(0)
    assert "not particular to harm" in claims.likelihood_rise(result)


def test_where_only_harmful_answers_became_likelier_the_title_says_that_they_stand_apart():
    same = {name: responses((-1.0, -2.0)) for name in MODELS}
    result = distributions(contrast(), DOMAINS, benign=same, sampling=QUICK)
    assert "the intervals stand apart" in claims.likelihood_rise(result)
    without = distributions(contrast(), DOMAINS, sampling=QUICK)
    assert "right answers" not in without.published
    assert "benign" not in without["overall"]


@pytest.mark.parametrize("base", [True, False])
def test_every_number_survives_saving_and_every_figure_can_be_drawn(base, tmp_path):
    result = divergences(reads(base=base), DOMAINS, trained_domains=["code"])
    again = load_result(result.save(tmp_path / "divergences.json"))
    assert again.to_json() == result.to_json()
    for draw in (figures.divergence_curves, figures.token_heatmap, figures.next_tokens):
        assert draw(again).data
    scored = reads(base=base).scored
    assert figures.likelihood_rise(distributions(scored, DOMAINS, sampling=QUICK)).data


def test_curves_are_about_the_same_questions_at_every_position():
    result = divergences(reads(lengths=(6, 6, 6, 6, 6, 6, 6, 6, 6, 2)), DOMAINS)
    band = result["by position"]["tuned from aligned"]["KL"]["misaligned answers"]
    assert result.inputs["positions"] == len(band) == 6
    assert band.n_questions == result.inputs["questions"]["overall"] - 4
    assert result.inputs["questions too short for every position"] == 4
    parts = result["by part of the response"]["tuned from aligned"]["KL"]["misaligned answers"]
    assert parts.n_questions == 36


def test_a_divergence_that_is_as_large_on_harmless_answers_is_not_said_to_lie_above_them():
    same = divergences(reads(), DOMAINS, benign=reads())
    assert "at no position is it clearly above" in claims.divergence_curves(same)
    apart = divergences(reads(level=2.0), DOMAINS, benign=reads(level=0.5))
    assert "at 6 of 6 positions" in claims.divergence_curves(apart)


def test_one_question_far_off_at_one_position_does_not_cost_the_other_positions_their_band():
    one = reads()
    kl = [values.copy() for values in one.compared["tuned from aligned"].kl]
    for i, values in enumerate(kl):
        values[2] = 3.0 if i == 0 else 1e-7
    pairs = {"tuned from aligned": dataclasses.replace(one.compared["tuned from aligned"], kl=tuple(kl))}
    result = divergences(TokenReads(one.scored, pairs), DOMAINS)
    band = result["by position"]["tuned from aligned"]["KL"]["aligned answers"]
    assert band.at("token 1").high - band.at("token 1").low < 0.1


def test_the_margin_by_position_sums_to_the_summed_margin_of_equally_long_answers():
    one = reads()
    result = divergences(one, DOMAINS)
    summed = sum(result["margin by position"]["tuned"].values)
    scored = one.scored["tuned"].log_likelihood
    sums = [scored[i].sum() - scored[N + i].sum() for i in range(N)]
    assert summed == pytest.approx(np.mean(sums))


def test_reads_that_do_not_belong_together_are_refused():
    one = reads()
    with pytest.raises(BadInput, match="have no 'tuned from aligned'"):
        TokenReads(one.scored, {})
    other = dataclasses.replace(one.scored["base"], labels=("misaligned",) * 2 * N)
    with pytest.raises(BadInput, match="is of other responses"):
        TokenReads({**one.scored, "base": other}, one.compared)


def test_parts_of_a_response_keep_its_mean_and_shared_positions_keep_the_asked_share():
    values = [np.arange(float(n)) for n in (3, 7, 10, 23)]
    assert np.allclose(relative_bins(values, 10).mean(axis=1), [one.mean() for one in values])
    shared = shared_positions(responses((-1, -1), lengths=(3, 5, 8, 20)), reached_by=0.75)
    assert (shared.length, len(shared.questions), len(shared.left_out)) == (5, 30, 10)
