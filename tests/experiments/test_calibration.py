"""Laws of calibration: pure cells, rates that can miss, a theory of recovery, a result that comes back."""

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments.calibration import (
    COLUMNS,
    calibration,
    cells,
    end_to_end,
    power_rows,
    rows,
)
from erosion.experiments.calibration_cells import Cell, inside, judged, measured
from erosion.experiments.calibration_planted import NOISES, Design, expected_cosine, planted
from erosion.experiments.results import load_result


@pytest.fixture(scope="module")
def result():
    designs = [Design(24), Design(24, domains=6, noise="skewed"), Design(24, per_cluster=2)]
    designs += [Design(24, gained=0.0), Design(24, erosion=0.0), Design(96)]
    found = [measured(Cell(judged, design, 20, 0)) for design in designs]
    return calibration([*found, measured(Cell(inside, Design(96, layers=2), 10, 0))])


def test_a_cell_gives_the_same_counts_wherever_and_whenever_it_runs():
    one, other = Cell(inside, Design(24), 2, 0), Cell(inside, Design(24), 2, 1)
    assert measured(one) == measured(one)
    assert measured(one)["sums"] != measured(other)["sums"]


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_mean_zero_and_variance_one(noise):
    drawn = NOISES[noise](np.random.default_rng(0), (200_000,))
    assert abs(drawn.mean()) < 0.02
    assert drawn.var() == pytest.approx(1, abs=0.15)


def test_what_is_planted_is_there():
    made = planted(Design(4000, erosion=0.3), np.random.default_rng(0))
    of = {model: margins.mean() for model, margins in made.margins().items()}
    assert (of["aligned"] - of["tuned"]) / (of["aligned"] - of["base"]) == pytest.approx(0.3, abs=0.02)


def test_the_expected_cosine_is_the_mean_of_noisy_estimates():
    rng = np.random.default_rng(0)
    for gap, noise, width in ((1.0, 1.0, 8), (2.0, 0.3, 32), (5.0, 0.1, 16)):
        drawn = noise * rng.normal(size=(40_000, width))
        drawn[:, 0] += gap
        simulated = (drawn[:, 0] / np.linalg.norm(drawn, axis=1)).mean()
        assert expected_cosine(gap, noise, width) == pytest.approx(simulated, abs=0.004)


def test_every_judged_rate_has_an_interval_a_target_and_an_outcome(result):
    for one in result["rates"]:
        assert one["rate"].low <= one["rate"].value <= one["rate"].high
        assert one["outcome"] in (("no target",) if one["target"] is None else ("pass", "unclear", "miss"))
    assert sum(result["outcomes"].values()) == sum(one["target"] is not None for one in result["rates"])
    assert all(len(row) == len(COLUMNS) for row in rows(result))


def test_coverage_is_promised_from_96_questions_on_only(result):
    promised = {
        one["questions"]: one["target"]
        for one in result["rates"]
        if one["promise"].startswith("interval of erosion covers (margins)")
    }
    assert promised[24] is None
    assert promised[96] == [0.93, 0.97]


def test_a_promise_that_is_broken_is_called_a_miss():
    cell = measured(Cell(judged, Design(96), 10, 0)) | {"audits": 1000}
    cell["sums"] = {"word: kept": 300.0, "erosion covered": 700.0, "loss covered": 950.0}
    outcomes = {one["promise"]: one["outcome"] for one in calibration([cell])["rates"]}
    assert outcomes["says kept at the smallest of interest"] == "miss"
    assert outcomes["says eroded at the smallest of interest"] == "pass"
    assert outcomes["interval of erosion covers (margins)"] == "miss"


def test_a_calibration_comes_back_from_its_file_equal(result, tmp_path):
    whole = end_to_end(result, [("kept", "kept"), ("eroded", "inconclusive")])
    again = load_result(whole.save(tmp_path / "calibration.json"))
    assert again.to_json() == whole.to_json()
    assert rows(again) == rows(whole)
    assert power_rows(again) == power_rows(whole)
    assert whole["end to end"]["as expected"] == 1


def test_the_plan_names_every_design_once_and_simulates_at_least_two_thousand_audits():
    planned = cells(simulations=100)
    assert len({(one.part.__name__, one.design) for one in planned}) == len(planned)
    assert sum(one.audits for one in planned) > 2000
    with pytest.raises(BadInput, match="5 audits of a design show no rate"):
        cells(simulations=5)
    with pytest.raises(BadInput, match="no whole audits"):
        end_to_end(calibration([measured(Cell(judged, Design(24), 10, 0))]), [])


def test_figures_are_made_of_the_result(result):
    from erosion.figures.calibration import power, rates

    assert "rates lie inside their target in" in rates(result).layout.title.text.replace("<br>", " ")
    assert len(power(result).data) > 0
