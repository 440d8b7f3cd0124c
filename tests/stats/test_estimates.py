import json
import math

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.stats import Band, Control, Estimate

NAN, INF = math.nan, math.inf

ESTIMATES = [
    Estimate(0.62, 0.55, 0.69, "fraction", 96, "Fieller, cluster t"),
    Estimate(
        1 / 3, 0.1 + 0.2, 1e-17 + 0.7, "nats", 12, "cluster t", 0.9, Control("random", 0.02, -0.05, 0.08)
    ),
    Estimate(NAN, NAN, NAN, "fraction", 96, "Fieller, cluster t", why="the denominator may be zero"),
    Estimate(0.5, -INF, INF, "nats", 1, "cluster t", why="one question has no interval"),
    Estimate(0.5, 0.1, INF, "nats", 96, "cluster t"),
    Estimate(0.5, 0.4, 0.6, "nats", 96, "cluster t", control=Control("benign", NAN, NAN, NAN)),
]


@pytest.mark.parametrize("estimate", ESTIMATES, ids=str)
def test_an_estimate_comes_back_from_json_to_the_last_bit(estimate):
    again = Estimate.from_json(json.loads(json.dumps(estimate.to_json(), allow_nan=False)))
    assert again == estimate
    assert hash(again) == hash(estimate)
    assert repr(again) == repr(estimate)


@pytest.mark.parametrize("estimate", ESTIMATES, ids=str)
def test_every_null_has_a_why(estimate):
    written = estimate.to_json()
    missing = any(written[name] is None for name in ("value", "low", "high"))
    assert missing == ("why" in written)


def test_the_json_of_a_number_has_the_entries_of_a_results_file():
    written = ESTIMATES[0].to_json()
    assert list(written) == ["value", "low", "high", "unit", "n_questions", "control", "confidence", "method"]
    assert ESTIMATES[1].to_json()["approximate"] is True
    assert ESTIMATES[1].to_json()["control"] == {"name": "random", "value": 0.02, "low": -0.05, "high": 0.08}


def test_an_estimate_reads_as_a_sentence_would_print_it():
    assert str(ESTIMATES[0]) == "0.62 [0.55, 0.69] fraction (n = 96 questions)"
    assert str(ESTIMATES[2]) == "undefined fraction (n = 96 questions): the denominator may be zero"
    few = ESTIMATES[0].with_control(Control("random directions", 0.0, -0.04, 0.04))
    assert str(few).endswith("; random directions: 0.00 [-0.04, 0.04]")
    assert str(Estimate(-0.001, -0.2, 0.2, "nats", 40, "t")) == "0.00 [-0.20, 0.20] nats (n = 40 questions)"


def test_an_undefined_estimate_has_no_bounds_and_excludes_nothing():
    undefined = Estimate(NAN, 0.1, 0.2, "fraction", 96, "t")
    assert undefined.undefined
    assert math.isnan(undefined.low)
    assert undefined.covers(5.0)
    assert undefined.to_json()["why"] == "undefined"
    assert not ESTIMATES[0].covers(0.7)
    assert ESTIMATES[0].covers(0.69)


def test_below_thirty_questions_an_estimate_is_approximate():
    assert [Estimate(0.0, 0.0, 0.0, "", n, "t").approximate for n in (29, 30)] == [True, False]


def test_a_control_may_be_given_as_an_estimate():
    beside = ESTIMATES[0].with_control(ESTIMATES[4], name="benign tune")
    assert beside.control == Control("benign tune", 0.5, 0.1, INF)


def test_an_estimate_without_a_value_entry_is_refused_in_one_line():
    with pytest.raises(BadInput, match=r"An estimate has no 'value': it has low, unit\."):
        Estimate.from_json({"low": 0.0, "unit": "nats"})


def band(**changes):
    columns = {"values": [0.1, NAN, 0.3], "low": [0.0, NAN, -INF], "high": [0.2, NAN, 0.5]}
    parts = {name: np.array(column) for name, column in columns.items()}
    rest = {"labels": ("L0", "L1", "L2"), "unit": "nats", "n_questions": 96, "method": "max-|t|"}
    return Band(**{**parts, **rest, **changes})


def test_a_band_comes_back_from_json_to_the_last_bit():
    wide = band(control=band(method="random"), why=(None, "no denominator", None), confidence=0.9)
    again = Band.from_json(json.loads(json.dumps(wide.to_json(), allow_nan=False)))
    assert again == wide
    assert again.why == (None, "no denominator", "the interval has no lower end")
    assert again.control == wide.control


def test_a_point_of_a_band_is_an_estimate_with_the_controls_point():
    point = band().with_control(band(method="random")).at("L0")
    assert (point.value, point.low, point.high, point.unit) == (0.1, 0.0, 0.2, "nats")
    assert point.control == Control("random", 0.1, 0.0, 0.2)
    assert band().at("L1").undefined


def test_a_band_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        band().values[0] = 1.0


def test_a_band_names_the_labels_it_has():
    with pytest.raises(BadInput, match=r"no 'L9': it has 'L0' to 'L2' \(3\)"):
        band().at("L9")


def test_a_band_whose_parts_do_not_match_is_refused():
    with pytest.raises(BadInput, match="one value, low, high and label per layer"):
        band(labels=("L0", "L1"))
    with pytest.raises(BadInput, match="give both the same labels"):
        band(control=band(labels=(0, 1, 2)))
