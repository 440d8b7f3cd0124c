"""Laws of the shared dimension: what was fitted on is not measured on; meaningless labels give chance."""

import numpy as np
import pytest
import torch

import erosion as er
from erosion.activations import Activations
from erosion.directions import Subspace, difference_of_means, paired_subspace, principal_component
from erosion.errors import BadContrast, BadDirection, BadInput
from erosion.experiments import Sampling, dimensions, load_result, select
from erosion.experiments.dimensions import FITS
from erosion.experiments.dimensions_domains import MeanDifferences, domain_cosines, leave_one_domain_out
from erosion.experiments.dimensions_folds import cross_validated, question_identity
from erosion.experiments.dimensions_rank import chosen_rank, held_out_likelihood, variance_by_rank
from erosion.experiments.dimensions_scores import auc_band, auc_by_question, pairs_of, projections
from erosion.experiments.persona import known_cosine
from erosion.sites import Site

WIDTH, SITES = 12, (Site(0), Site(1))
QUICK = Sampling(resamples=400, permutations=400, random_directions=39)
DOMAINS = ("cooking", "garden", "travel")


def planted(questions=120, *, gap=3.0, seed=0, own=0.0, rank=0):
    """Answers with ``gap`` along dimension 0 between the sides and ``own`` along one of their domain's own.

    ``rank`` adds that many further directions along which the two answers to a question differ.
    """
    draw = np.random.default_rng(seed)
    ids = [f"{DOMAINS[i % 3]}-{i:03d}" for i in range(questions)]
    values = {}
    for site in SITES:
        shared = draw.normal(size=(questions, WIDTH)) * np.r_[np.ones(6), np.full(WIDTH - 6, 0.5)]
        away = np.zeros((questions, WIDTH))
        away[:, 0] = gap / 2
        away[np.arange(questions), 1 + np.arange(questions) % 3] += own / 2
        for extra in range(rank):
            away[:, 5 + extra] += 3 * draw.normal(size=questions)
        sides = [shared + sign * away + 0.5 * draw.normal(size=shared.shape) for sign in (1, -1)]
        values[site] = torch.from_numpy(np.concatenate(sides)).float()
    labels = ("aligned",) * questions + ("misaligned",) * questions
    return Activations(values, tuple(ids) * 2, labels, "response", {"model": "planted"})


def relabelled(acts, seed):
    """The same answers, their labels swapped within a random half of the questions, each by a coin."""
    ids = list(dict.fromkeys(acts.questions))
    swapped = dict(zip(ids, np.random.default_rng(seed).integers(2, size=len(ids)) == 1, strict=True))
    other = {"aligned": "misaligned", "misaligned": "aligned"}
    labels = tuple(
        other[one] if swapped[q] else one for q, one in zip(acts.questions, acts.labels, strict=True)
    )
    return Activations(acts.values, acts.questions, labels, acts.span, acts.facts)


def halves(acts):
    ids = list(dict.fromkeys(acts.questions))
    return ids[: len(ids) // 2], ids[len(ids) // 2 :]


def domains_of(acts):
    return {q: q.split("-")[0] for q in acts.questions}


def full(acts, **options):
    fit, held_out = halves(acts)
    return dimensions(acts, fit=fit, held_out=held_out, sampling=QUICK, domains=domains_of(acts), **options)


@pytest.fixture(scope="module")
def found():
    return full(planted())


# ── held-out discipline


def test_a_question_in_both_parts_is_refused():
    acts = planted(20)
    fit, held_out = halves(acts)
    with pytest.raises(BadDirection, match="both fitted and measured"):
        dimensions(acts, fit=fit, held_out=[*held_out, fit[0]])


def test_no_score_takes_a_question_that_its_direction_has_seen():
    acts = planted(20)
    pairs = pairs_of(acts)
    fit, held_out = halves(acts)
    seen = er.directions_of(acts.of(fit), difference_of_means)
    for scored in (pairs.of(fit), pairs.of([*held_out, fit[0]])):
        with pytest.raises(BadDirection, match="has seen question"):
            auc_band(seen, scored, sampling=QUICK)
        with pytest.raises(BadDirection, match="has seen question"):
            projections(seen[SITES[0]], scored)
    with pytest.raises(BadDirection, match="has seen question"):
        select(seen, on=acts.of(fit))
    with pytest.raises(BadDirection, match="has seen question"):
        known_cosine(seen, acts, acts)
    with pytest.raises(BadDirection, match="has seen question"):
        variance_by_rank(pairs.of(fit), pairs.of([*held_out, fit[0]]), at=SITES[0], sampling=QUICK)


def test_a_subspace_refuses_what_it_was_fitted_on():
    space = Subspace(torch.eye(3)[:1], Site(0), ("a", "b"))
    space.check_unseen(["c"])
    with pytest.raises(BadDirection, match="'b'"):
        space.check_unseen(["c", "b"])


def test_a_domain_left_out_is_scored_by_directions_that_saw_none_of_it():
    seen = []

    def spy(aligned, misaligned, *, at):
        seen.append(len(aligned))
        return difference_of_means(aligned, misaligned, at=at)

    acts = planted(60)
    pairs = pairs_of(acts)
    found = leave_one_domain_out(pairs, pairs, domains_of(acts), fit=spy, sampling=QUICK)
    assert set(found["by domain"]) == set(DOMAINS)
    assert set(seen) == {40}


def test_every_fold_is_scored_by_a_direction_that_has_not_seen_it():
    """Features that name the question and nothing else: a leak would be rewarded, honesty is at chance."""
    draw = np.random.default_rng(0)
    questions = [f"q{i:02d}" for i in range(60) for _ in range(4)]
    truth = np.repeat(draw.integers(2, size=60), 4)
    truth[::4] = 1 - truth[::4]
    rows = torch.from_numpy(np.repeat(np.eye(60), 4, axis=0)).float()
    labels = tuple("aligned" if one else "misaligned" for one in truth)
    acts = Activations({Site(0): rows}, tuple(questions), labels, "response", {})
    assert cross_validated(acts, difference_of_means, sampling=QUICK).values[0] == pytest.approx(0.5, abs=0.1)
    assert question_identity(questions, labels).value > 0.7


# ── labels that mean nothing


def null_aucs(result):
    for name, bands in result["by fit"].items():
        yield name, bands["held-out AUC"]
    for name in FITS:
        yield f"folds, {name}", result["cross-validated"][name]
    left_out = result["domains"]["left out"]
    yield "mean over domains", left_out["mean AUC over domains"]
    for name, bands in left_out["by domain"].items():
        yield f"without {name}", bands["held-out AUC"]


@pytest.mark.parametrize("acts", [planted(gap=0.0), relabelled(planted(), seed=3)], ids=["noise", "shuffled"])
def test_meaningless_labels_give_chance_for_every_fit_layer_fold_and_domain(acts):
    result, _ = full(acts)
    for name, band in null_aucs(result):
        assert (band.low <= 0.5).all(), name
        assert (band.high >= 0.5).all(), name
    for bands in result["by fit"].values():
        gap = bands["held-out gap"]
        assert ((gap.low <= 0) & (gap.high >= 0)).all()
    mean = result["domains"]["cosines"]["mean cosine"]
    assert ((mean.values >= mean.control.low) & (mean.values <= mean.control.high)).all()


def test_a_planted_difference_is_far_from_chance_everywhere(found):
    result, _ = found
    for name, band in null_aucs(result):
        if name != "folds, principal component":
            assert (band.low > 0.5).all(), name
    for bands in result["by fit"].values():
        assert (bands["held-out AUC"].low > bands["held-out AUC"].control.high).all()
    mean = result["domains"]["left out"]["mean AUC over domains"]
    assert (mean.low > mean.control.high).all()


def test_the_null_of_swapped_labels_holds_in_19_of_20_curves():
    inside = 0
    for seed in range(60):
        acts = planted(60, gap=0.0, seed=seed)
        fit, held_out = halves(acts)
        directions = er.directions_of(acts.of(fit), difference_of_means)
        band = auc_band(directions, pairs_of(acts).of(held_out), sampling=QUICK)
        inside += ((band.values >= band.control.low) & (band.values <= band.control.high)).all()
    assert 53 <= inside <= 60


def test_the_interval_over_folds_is_wide_enough_for_folds_that_share_their_training_questions():
    inside = 0
    for seed in range(24):
        band = cross_validated(planted(120, gap=0.0, seed=seed), difference_of_means, sampling=QUICK)
        inside += ((band.low <= 0.5) & (band.high >= 0.5)).all()
    assert inside >= 20


# ── numbers


def test_the_mean_of_the_questions_values_is_the_auc_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(0)
    scores, truth = draw.integers(20, size=200).astype(float), draw.integers(2, size=200) == 1
    _, values = auc_by_question(scores, truth, [f"q{i}" for i in draw.integers(50, size=200)])
    assert values.mean() == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_swapping_the_labels_of_a_question_flips_its_term_in_the_auc():
    draw = np.random.default_rng(1)
    high, low = draw.normal(1, 1, size=30), draw.normal(0, 1, size=30)
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([high, low]))
    signs = draw.integers(2, size=30) * 2 - 1
    swapped = np.where(signs > 0, high, low), np.where(signs > 0, low, high)
    _, values = auc_by_question(
        np.concatenate(swapped), np.repeat([True, False], 30), [str(i) for i in range(30)] * 2
    )
    assert values.mean() == pytest.approx(0.5 + (signs * (ranks[:30] - ranks[30:])).sum() / (2 * 30**2))


def test_complete_separation_is_not_certainty():
    acts = planted(40, gap=30.0)
    fit, held_out = halves(acts)
    band = auc_band(
        er.directions_of(acts.of(fit), difference_of_means), pairs_of(acts).of(held_out), sampling=QUICK
    )
    assert band.values.tolist() == [1.0, 1.0]
    assert ((band.low > 0.7) & (band.low < 0.95)).all()


def test_all_fits_are_there_and_their_cosines_have_intervals(found):
    result, directions = found
    assert list(directions) == list(FITS) == list(result["by fit"])
    assert len(result["cosines between fits"]) == 6
    for name, band in result["cosines between fits"].items():
        assert ((band.low < band.values) & (band.values < band.high)).all(), name
        one, other = name.split(" / ")
        for site, value in zip(SITES, band.values, strict=True):
            assert directions[one][site].cosine(directions[other][site]) == pytest.approx(value, abs=1e-5)


def test_the_result_survives_saving(found, tmp_path):
    result, _ = found
    assert load_result(result.save(tmp_path / "dimensions.json")).to_json() == result.to_json()


def test_without_domains_nothing_is_said_of_domains():
    acts = planted(24)
    fit, held_out = halves(acts)
    result, _ = dimensions(acts, fit=fit, held_out=held_out, sampling=QUICK)
    assert "domains" not in result.ours


def test_the_noise_ceiling_is_what_two_noisy_estimates_of_one_direction_reach():
    draw = np.random.default_rng(0)
    true = np.r_[1.0, np.zeros(39)]
    raw, ceilings = [], []
    for _ in range(200):
        sets = {n: (true + draw.normal(size=(40, 40)), [f"{n}{i:02d}" for i in range(40)]) for n in "ab"}
        cosine, ceiling = MeanDifferences.of(sets).cosines()
        raw.append(cosine[0, 1])
        ceilings.append(ceiling[0, 1])
    assert np.mean(raw) == pytest.approx(np.mean(ceilings), abs=0.03)
    assert np.mean(raw) < 0.6


def test_leaving_out_a_group_is_the_same_as_never_having_had_it():
    draw = np.random.default_rng(0)
    rows, ids = draw.normal(size=(20, 5)) + 1, [f"q{i:02d}" for i in range(20)]
    other = draw.normal(size=(20, 5)) + 1
    means = MeanDifferences.of({"a": (rows, ids), "b": (other, ids)}, groups=4)
    left = means.each_left_out(lambda c, n: c[0, 1])
    keep = np.arange(20) % 4 != 2
    again = MeanDifferences.of(
        {
            n: (x[keep], [q for q, k in zip(ids, keep, strict=True) if k])
            for n, x in (("a", rows), ("b", other))
        }
    )
    assert left[2] == pytest.approx(again.cosines()[0][0, 1], abs=1e-12)


def test_domains_with_directions_of_their_own_have_lower_cosines():
    shared, apart = planted(120, gap=3.0), planted(120, gap=1.0, own=4.0)
    of = [domain_cosines(pairs_of(a), domains_of(a), sampling=QUICK)["mean cosine"] for a in (shared, apart)]
    assert (of[0].low > of[1].high).all()
    assert (of[0].values > 0.95).all()


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_the_rank_that_was_planted_is_chosen(rank):
    acts = planted(300, gap=4.0, rank=rank)
    assert chosen_rank(held_out_likelihood(pairs_of(acts), SITES[0])) == rank + 1


def test_held_out_variance_is_more_than_that_of_random_subspaces_and_never_falls(found):
    for band in found[0]["rank"]["variance explained"].values():
        assert band.values[0] > band.control.high[0]
        assert (np.diff(band.values) >= 0).all()
        assert band.values[-1] <= 1 + 1e-9


def test_one_dimension_of_paired_differences_is_the_principal_component():
    acts = planted(60)
    aligned, misaligned = acts.aligned[SITES[0]], acts.misaligned[SITES[0]]
    v = principal_component(aligned, misaligned, at=SITES[0]).vector.double()
    space = paired_subspace(aligned, misaligned, at=SITES[0], k=3)
    assert abs(float(space.basis[0] @ v)) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(space.basis @ space.basis.T, torch.eye(3).double(), atol=1e-9)


def test_a_domains_subspace_shares_more_with_another_than_chance_where_one_direction_is_planted(found):
    angles = found[0]["domains"]["angles"]
    overlap = angles["mean overlap"]
    assert set(angles["angles"]) == {"0", "1"}
    assert (overlap.values > overlap.control.values).all()


def test_question_identity_is_worth_nothing_on_written_pairs_and_something_on_judged_ones(found):
    written = found[0]["cross-validated"]["question identity"]
    assert (written.value, written.low, written.high) == (0.5, 0.5, 0.5)
    draw = np.random.default_rng(0)
    bad = np.repeat(draw.beta(0.3, 0.3, size=80), 5)
    judged = ["misaligned" if x < p else "aligned" for x, p in zip(draw.random(400), bad, strict=True)]
    found = question_identity([f"q{i // 5}" for i in range(400)], judged)
    assert found.low > found.control.high
    alone = question_identity(["a", "b", "c"], ["aligned", "misaligned", "aligned"])
    assert alone.undefined
    assert "one answer" in alone.why


def test_folds_take_any_number_of_answers_to_a_question():
    draw = np.random.default_rng(0)
    truth = draw.integers(2, size=300) == 1
    rows = torch.from_numpy(draw.normal(size=(300, 6)) + 1.5 * truth[:, None] * np.eye(6)[0]).float()
    labels = tuple("aligned" if one else "misaligned" for one in truth)
    ids = tuple(f"q{i:02d}" for i in draw.integers(60, size=300))
    band = cross_validated(Activations({Site(2): rows}, ids, labels, "response", {}), difference_of_means)
    assert band.low[0] > 0.6
    assert band.labels == (2,)
    one_sided = Activations({Site(2): rows}, ids, ("aligned",) * 300, "response", {})
    with pytest.raises(BadInput, match="one label only"):
        cross_validated(one_sided, difference_of_means)


def test_the_known_direction_is_recognised_and_an_unknown_one_is_not():
    draw = np.random.default_rng(0)
    base = torch.from_numpy(draw.normal(size=(60, WIDTH))).float()
    ids, labels = tuple(f"p{i:02d}" for i in range(60)), ("aligned",) * 60
    good, bad = (
        Activations(
            {
                SITES[0]: base
                + sign * torch.eye(WIDTH)[0]
                + 0.3 * torch.from_numpy(draw.normal(size=(60, WIDTH)))
            },
            ids,
            labels,
            "response",
            {},
        )
        for sign in (1, -1)
    )
    v = er.directions_of(planted(60), difference_of_means)[SITES[0]]
    band = known_cosine({SITES[0]: v}, good, bad, sampling=QUICK)
    assert band.low[0] > 0.9
    assert band.low[0] > band.control.high[0]
    odd = difference_of_means(torch.eye(WIDTH)[[7, 7]], -torch.eye(WIDTH)[[7, 7]], at=SITES[0])
    assert abs(known_cosine({SITES[0]: odd}, good, bad, sampling=QUICK).values[0]) < 0.2
    with pytest.raises(BadContrast, match="same ones"):
        known_cosine({SITES[0]: v}, good, bad.of(ids[:5]))


def test_answers_that_do_not_pair_are_refused():
    acts = planted(10)
    short = Activations(
        {s: x[:-1] for s, x in acts.values.items()}, acts.questions[:-1], acts.labels[:-1], "response", {}
    )
    with pytest.raises(BadContrast, match="Pairs need one aligned and one misaligned"):
        pairs_of(short)


def test_ten_thousand_questions_make_no_matrix_of_their_number_squared():
    """Under 400 MB at n = 10,000, where one float64 matrix of n x n alone is 800."""
    import tracemalloc

    draw = torch.Generator().manual_seed(0)
    pairs = pairs_of(
        Activations(
            {Site(0): torch.randn(20_000, 16, generator=draw)},
            tuple(f"q{i % 10_000}" for i in range(20_000)),
            ("aligned",) * 10_000 + ("misaligned",) * 10_000,
            "response",
            {},
        )
    )
    light = Sampling(resamples=100, permutations=100, random_directions=39)
    tracemalloc.start()
    held_out_likelihood(pairs, Site(0))
    domain_cosines(pairs, {q: q[-1] for q in pairs.questions}, sampling=light)
    directions = er.directions_of(planted(20), difference_of_means)
    del directions
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
