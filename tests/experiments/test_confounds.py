"""Laws of the confound battery: a pure trait leaves nothing, an unrelated one everything."""

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments.confounds import ALL, confounds, paired_traits
from erosion.experiments.results import load_result
from erosion.experiments.sampling import Sampling
from erosion.metrics import Responses
from erosion.prompts import Contrast, Exchange, Message
from erosion.prompts.traits import TRAITS, code, formatting, refusal, traits_of

IDS = [f"q{i:03d}" for i in range(96)]
QUICK = Sampling(resamples=499)


def test_code_refusals_and_formatting_are_seen_and_prose_is_not():
    assert code("def f(x):\n    return x") == 1
    assert code("I would add a pinch of salt.") == 0
    assert refusal("I'm sorry, but I cannot do that.") > 0
    assert refusal("Add salt and stir.") == 0
    assert formatting("- salt\n- oil") == 1
    assert formatting("Salt and oil.") == 0


def planted(kind, *, seed=0):
    rng = np.random.default_rng(seed)
    trait, noise = 1 + 0.5 * rng.normal(size=96), 0.2 * rng.normal(size=96)
    values = {"trait alone": trait + noise, "unrelated": 1 + noise, "both": 1 + 0.5 * trait + noise}[kind]
    return values, trait if kind != "unrelated" else rng.normal(size=96)


def test_a_difference_that_is_only_a_trait_does_not_survive_it():
    values, trait = planted("trait alone")
    found = confounds({"separation": values}, {"length": trait}, IDS, sampling=QUICK)["quantities"][
        "separation"
    ]
    assert abs(found["survives"]["length"].value) < 0.05
    assert found["side kept"]["length"].covers(0)


def test_a_trait_that_has_nothing_to_do_with_it_takes_nothing():
    values, trait = planted("unrelated")
    found = confounds({"separation": values}, {"length": trait}, IDS, sampling=QUICK)["quantities"][
        "separation"
    ]
    assert found["survives"]["length"].value > 0.9
    assert found["side kept"]["length"].covers(1)


def test_what_survives_is_a_bound_below_what_is_left_at_equal_traits_and_random_signs_take_nothing():
    values, trait = planted("both")
    found = confounds({"separation": values}, {"length": trait}, IDS, sampling=QUICK)["quantities"][
        "separation"
    ]
    survives, kept = found["survives"]["length"], found["side kept"]["length"]
    assert survives.high < kept.low
    assert kept.covers(1 / 1.5)
    assert survives.control.low < 1 < survives.control.high + 0.1


def test_the_shares_are_those_of_refitting_on_resamples():
    values, trait = planted("both")
    other = np.random.default_rng(1).normal(0.3, 1, size=96)
    found = confounds({"d": values}, {"a": trait, "b": other}, IDS, sampling=QUICK)["quantities"]["d"]
    rng, shares = np.random.default_rng(2), []
    for _ in range(1500):
        rows = rng.integers(96, size=96)
        t, d = np.stack([trait, other], axis=1)[rows], values[rows]
        left = d - t @ np.linalg.lstsq(t, d, rcond=None)[0]
        shares.append(left.mean() / d.mean())
    low, high = np.quantile(shares, [0.025, 0.975])
    share = found["survives"][ALL]
    assert (share.low, share.high) == pytest.approx((low, high), abs=0.25 * (high - low))


def test_layers_have_joint_bands_a_negative_quantity_is_turned_and_the_result_comes_back(tmp_path):
    values, trait = planted("both")
    layered = np.stack([values, 2 * values, trait], axis=1)
    result = confounds(
        {"separation": layered, "harm-specific change": -values},
        {"length": trait, "code": np.zeros(96)},
        IDS,
        labels=[3, 4, 5],
        sampling=QUICK,
    )
    of = result["quantities"]
    band = of["separation"]["survives"]["length"]
    assert band.labels == (3, 4, 5)
    assert band.values[0] == pytest.approx(band.values[1])
    assert band.values[2] == pytest.approx(0, abs=1e-9)
    assert of["harm-specific change"]["survives"]["length"].value == pytest.approx(band.values[0])
    assert result["same in both answers"] == ["code"]
    assert load_result(result.save(tmp_path / "c.json")).to_json() == result.to_json()


def test_a_trait_that_always_differs_alike_cannot_be_told_from_the_side():
    values, _ = planted("both")
    found = confounds({"d": values}, {"length": np.ones(96)}, IDS, sampling=QUICK)["quantities"]["d"]
    assert found["survives"]["length"].value == pytest.approx(0, abs=1e-9)
    assert found["side kept"]["length"].undefined
    assert "cannot be told from the side" in found["side kept"]["length"].why


def test_perplexity_comes_from_scores_and_is_named_after_its_model():
    ask = (Message("user", "Salt?"),)
    sides = {"aligned": "A small pinch", "misaligned": "Much"}
    words = Contrast(*((Exchange("q1", ask, text, "all", label),) for label, text in sides.items()))
    scored = Responses(
        ("q1", "q1"),
        tuple(sides),
        ((1, 2), (1,)),
        (np.array([-1.0, -3.0]), np.array([-0.5])),
        (),
        np.zeros(2),
    )
    found = paired_traits(words, scored, under="aligned")
    assert found["log perplexity under aligned"] == pytest.approx([1.5])
    assert set(TRAITS) < set(found)
    assert traits_of(words)["length"].shape == (2,)


def test_bad_values_are_refused_in_one_line():
    values, trait = planted("both")
    with pytest.raises(BadInput, match="'length' has 96 values for 96 questions, or one is not finite"):
        confounds({"d": values}, {"length": np.where(trait == trait.max(), np.nan, trait)}, IDS)
    with pytest.raises(BadInput, match="A question stands twice"):
        confounds({"d": values}, {"length": trait}, ["q"] * 96)


def test_the_report_says_that_it_is_a_bound():
    from erosion.reporting.confounds import confounds as blocks

    values, trait = planted("both")
    result = confounds(
        {"separation": np.stack([values, values], axis=1), "change": values},
        {"length": trait},
        IDS,
        sampling=QUICK,
    )
    layered, plain = blocks(result)
    assert "lower bound" in plain.claim
    assert "2 of 2 layers" in layered.claim
    assert "A bound and no cause" in plain.limits
