"""Laws of comparisons: paired where questions are shared, together at 95%, never more than the runs hold."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import erosion as er
from erosion.auditing.questions import load_asked, write_questions
from erosion.comparing import compare
from erosion.comparing.differences import Difference, differences_of
from erosion.comparing.intervals import from_two_intervals
from erosion.comparing.layers import peak_of
from erosion.comparing.opening import Opened
from erosion.comparing.rows import crossed_reach, pulls_of, row_of
from erosion.errors import BadInput, BadRun
from erosion.stats import Band, Estimate, Margins
from tests.auditing.planted_runs import SMALLEST, margins, planted, responses, saved
from tests.stats.clustered import rate

SIZES = {"erosion": SMALLEST["erosion"], "loss": SMALLEST["margin"]}


def differences(
    groups: Sequence[Sequence[Opened]], *, resamples: int = 400, seed: int = 0
) -> tuple[Difference, ...]:
    """Every group minus the first."""
    rows = [row_of(f"row {i}", group, judged="erosion") for i, group in enumerate(groups)]
    return differences_of(rows, rows[0], judged="erosion", smallest=SIZES, resamples=resamples, seed=seed)


def whole(found: Sequence[Difference], quantity: str = "erosion") -> list[Estimate]:
    return [one.estimate for one in found if one.quantity == quantity and one.domain is None]


def runs_of(eroded: Sequence[float], **how: Any) -> list[list[Opened]]:
    return [[planted(f"run {i}", one)] for i, one in enumerate(margins(eroded, **how))]


def width(one: Estimate) -> float:
    return one.high - one.low


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize("skewed", [False, True], ids=["normal", "skewed"])
def test_paired_differences_of_three_runs_hold_together(skewed: bool) -> None:
    def all_inside(seed: int) -> bool:
        found = whole(differences(runs_of([0.3, 0.3, 0.5, 0.6], seed=seed, skewed=skewed), seed=seed))
        return all(one.covers(truth) for one, truth in zip(found, (0.0, 0.2, 0.3), strict=True))

    assert 0.91 <= rate(all_inside, 200) <= 0.995


def test_unpaired_differences_cover_what_is_planted() -> None:
    def inside(seed: int) -> bool:
        one, other = (margins([e], seed=2 * seed + i)[0] for i, e in enumerate((0.3, 0.5)))
        groups = [[planted("one", one)], [planted("other", other, contrast="other words")]]
        return whole(differences(groups))[0].covers(0.2)

    assert 0.91 <= rate(inside, 200) <= 0.99


def test_an_interval_over_seeds_covers_the_recipe_and_one_over_questions_would_not() -> None:
    def recipe(truth: float, seed: int) -> list[float]:
        return list(truth + 0.05 * np.random.default_rng(seed).normal(size=4))

    def inside(seed: int, *, as_seeds: bool) -> bool:
        each = [*recipe(0.3, 7000 + seed), *recipe(0.5, 9000 + seed)]
        made = [planted(f"run {i}", one) for i, one in enumerate(margins(each, seed=seed))]
        groups = [made[:4], made[4:]] if as_seeds else [made[:1], made[4:5]]
        return whole(differences(groups))[0].covers(0.2)

    assert rate(lambda seed: inside(seed, as_seeds=True), 100) >= 0.9
    assert rate(lambda seed: inside(seed, as_seeds=False), 60) < 0.85


@pytest.mark.parametrize("between", [0.0, 0.2, 0.5], ids=["no", "some", "much"])
@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_and_questions_crossed_cover_whichever_varies_more(seeds: int, between: float) -> None:
    def inside(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        level, shared, own = (rng.normal(size=size) for size in ((seeds, 1), (1, 96), (seeds, 96)))
        values = between * level + shared + 0.5 * own
        mean = values.mean(axis=1)
        pulls = values - mean[:, None]
        return abs(mean.mean()) <= crossed_reach(pulls.mean(axis=0), [(mean, pulls)], confidence=0.95)

    assert rate(inside, 1500) >= 0.935


def test_differences_of_changed_sides_cover_what_is_planted() -> None:
    def inside(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        level, aligned = rng.uniform(size=96), np.ones(96)
        arms = [
            {"base": np.zeros(96), "aligned": aligned, "tuned": np.where(level < share, -1.0, 1.0)}
            for share in (0.05, 0.15)
        ]
        groups = [[planted(f"run {i}", one)] for i, one in enumerate(arms)]
        return whole(differences(groups), "changed sides")[0].covers(0.1)

    assert rate(inside, 200) >= 0.92


# ---------------------------------------------------------------- pairing


def test_identical_runs_differ_by_exactly_nothing() -> None:
    one = margins([0.4])[0]
    found = differences([[planted("a", one)], [planted("b", one)]])
    for quantity in ("erosion", "loss"):
        estimate = whole(found, quantity)[0]
        assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)
    sides = whole(found, "changed sides")[0]
    assert sides.value == 0
    assert sides.covers(0)
    assert width(sides) < 0.1
    assert {one.word for one in found if one.quantity != "changed sides"} == {"alike"}


def test_pairing_narrows_the_interval_and_older_runs_are_wider() -> None:
    one, other = margins([0.3, 0.5])
    paired = differences([[planted("a", one)], [planted("b", other)]])
    unpaired = differences([[planted("a", one)], [planted("b", other, kept=False)]])
    for quantity in ("erosion", "loss", "changed sides"):
        first, second = whole(paired, quantity)[0], whole(unpaired, quantity)[0]
        assert first.value == pytest.approx(second.value)
        assert width(first) < width(second)
    assert {one.unpaired for one in paired} == {None}
    assert {one.unpaired for one in unpaired} == {"b keeps no margins by question: run its audit again"}


def test_shared_noise_cancels_only_in_pairs() -> None:
    close = whole(differences(runs_of([0.3, 0.5], shared=0.98)))[0]
    apart = whole(differences(runs_of([0.3, 0.5], shared=0.0)))[0]
    assert width(close) < 0.3 * width(apart)


def test_more_runs_in_the_family_widen_every_interval() -> None:
    few = differences(runs_of([0.3, 0.5]), resamples=4000)
    many = differences(runs_of([0.3, 0.5, 0.5, 0.4, 0.6, 0.2, 0.7]), resamples=4000)
    assert width(whole(many)[0]) > 1.1 * width(whole(few)[0])
    assert {one.family for one in many if one.domain is None} == {6}
    assert {one.family for one in many if one.domain is not None} == {24}


def test_domains_are_wider_than_they_would_be_alone() -> None:
    found = [one for one in differences(runs_of([0.3, 0.5])) if one.domain is not None]
    assert [one.domain for one in found] == ["cooking", "garden", "health", "home"]
    assert min(width(one.estimate) for one in found) > 2 * width(whole(differences(runs_of([0.3, 0.5])))[0])


def test_a_difference_is_over_the_questions_that_neither_was_trained_on() -> None:
    one, other = margins([0.3, 0.5])
    spoiled = {**other, "tuned": other["tuned"].copy()}
    spoiled["tuned"][::4] -= 50  # cooking, which the second was trained on
    clean = differences(
        [[planted("a", one, trained=["cooking"])], [planted("b", other, trained=["cooking"])]]
    )
    found = differences([[planted("a", one)], [planted("b", spoiled, trained=["cooking"])]])
    assert whole(found)[0].to_json() == whole(clean)[0].to_json()
    assert whole(found)[0].n_questions == 72


def test_runs_trained_on_everything_have_no_difference() -> None:
    one, other = margins([0.3, 0.5])
    found = differences(
        [
            [planted("a", one, trained=["cooking", "garden"])],
            [planted("b", other, trained=["health", "home"])],
        ]
    )
    assert {d.unpaired for d in found} == {"every question is about what one of them was trained on"}


def test_the_order_of_questions_does_not_matter() -> None:
    one, other = margins([0.3, 0.5])
    turned = planted("b", other)
    back = [*range(len(turned.asked or ()))][::-1]
    asked = turned.asked
    assert asked is not None
    flipped = type(asked)(
        asked.contrast,
        tuple(asked.questions[i] for i in back),
        tuple(asked.domains[i] for i in back),
        tuple(asked.trained[i] for i in back),
        {model: values[back] for model, values in asked.margins.items()},
    )
    shuffled = Opened("b", turned.path, turned.manifest, turned.verdict, flipped, ())
    first = differences([[planted("a", one)], [turned]])
    again = differences([[planted("a", one)], [shuffled]])
    assert [d.to_json() for d in first] == [d.to_json() for d in again]


def test_pulls_are_what_leaving_a_question_out_does() -> None:
    one = margins([0.4])[0]
    names = [f"q{i:03d}" for i in range(96)]
    losses = Margins(one["aligned"], one["tuned"], one["base"], names).per_question()
    assert losses.gained is not None
    found = pulls_of("erosion", losses)
    left = np.array(
        [np.delete(losses.lost, i).mean() / np.delete(losses.gained, i).mean() for i in range(96)]
    )
    assert found.pulls == pytest.approx(95 * (found.value - left), rel=0.05, abs=2e-3)
    assert found.pulls.mean() == pytest.approx(0, abs=1e-12)


def test_two_intervals_join_as_independent_ones_do() -> None:
    one, other = (Estimate(v, v - r, v + r, "fraction", 96, "t") for v, r in ((0.5, 0.3), (0.1, 0.4)))
    joined = from_two_intervals(one, other)
    assert (joined.low, joined.high) == pytest.approx((0.4 - 0.5, 0.4 + 0.5))
    endless = from_two_intervals(one, Estimate(0.1, -math.inf, 0.2, "fraction", 1, "t"))
    assert math.isinf(endless.high)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("low", "high", "word", "within"),
    [
        (0.2, 0.4, "more", False),
        (0.01, 0.05, "more", True),
        (-0.3, -0.2, "less", False),
        (-0.05, 0.05, "alike", True),
        (-0.05, 0.1, "open", False),
        (-1.0, 1.0, "open", False),
    ],
)
def test_a_word_says_what_the_whole_interval_says(low: float, high: float, word: str, within: bool) -> None:
    estimate = Estimate((low + high) / 2, low, high, "fraction", 96, "t")
    found = Difference("b", "a", "erosion", None, estimate, None, 0.1, 1)
    assert (found.word, found.within_smallest) == (word, within)


def test_without_a_smallest_of_interest_nothing_is_alike() -> None:
    estimate = Estimate(0.0, -0.001, 0.001, "share of questions", 96, "t")
    assert Difference("b", "a", "changed sides", None, estimate, None, None, 1).word == "open"


def test_two_seeds_are_no_unit_and_three_are() -> None:
    made = [planted(f"run {i}", one) for i, one in enumerate(margins([0.3, 0.5, 0.1]))]
    two, three = (row_of("recipe", made[:k], judged="erosion") for k in (2, 3))
    assert two.seeds is None
    assert "too few" in (two.note or "")
    assert three.seeds == 3
    assert width(three.estimates["erosion"]) > 3 * width(two.estimates["erosion"])
    assert three.estimates["erosion"].value == pytest.approx(np.mean([0.3, 0.5, 0.1]), abs=0.03)


def test_seeds_without_questions_are_not_surer_than_with_them() -> None:
    values = margins([0.3, 0.5, 0.1])
    kept, lost = (
        row_of("recipe", [planted(f"run {i}", one, kept=k) for i, one in enumerate(values)], judged="erosion")
        for k in (True, False)
    )
    assert width(lost.estimates["erosion"]) > 0.99 * width(kept.estimates["erosion"])


# ---------------------------------------------------------------- folders


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [
        saved(tmp_path / name, planted(name, one))
        for name, one in zip(("first", "second"), margins([0.3, 0.6]), strict=True)
    ]


def test_folders_are_compared_as_runs_in_memory_are(two: list[Path]) -> None:
    found = compare(two)
    ours = differences(runs_of([0.3, 0.6]), resamples=2000)
    assert whole(found.differences)[0].value == pytest.approx(whole(ours)[0].value)
    assert found.against == "first"
    assert found.of("erosion")["second"].word == "more"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["schema"] == 1


def test_the_same_runs_give_the_same_comparison(two: list[Path]) -> None:
    assert compare(two).to_json() == compare(two).to_json()


def test_the_other_way_round_is_the_same_difference_below_zero(two: list[Path]) -> None:
    there, back = compare(two).of("erosion")["second"], compare(two, against=two[1]).of("erosion")["first"]
    assert there.estimate.value == pytest.approx(-back.estimate.value)
    assert there.estimate.low == pytest.approx(-back.estimate.high)


def test_a_mapping_names_rows_and_groups_seeds(tmp_path: Path) -> None:
    folders = [
        saved(tmp_path / f"s{i}", planted(f"s{i}", one))
        for i, one in enumerate(margins([0.3, 0.5, 0.1, 0.6]))
    ]
    found = compare({"recipe": folders[:3], "single": folders[3]}, against="single")
    assert [row.name for row in found.rows] == ["recipe", "single"]
    assert "seeds (3 of recipe)" in found.of("erosion")["recipe"].estimate.method
    assert any("single is not of 3 seeds" in note for note in found.notes)


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [
        saved(tmp_path / parent / "run", planted(parent, one))
        for parent, one in zip(("a", "b"), margins([0.3, 0.6]), strict=True)
    ]
    assert [row.name for row in compare(folders).rows] == ["a/run", "b/run"]


def test_a_run_without_base_is_compared_in_nats(tmp_path: Path) -> None:
    one, other = margins([0.3, 0.6])
    bare = {model: values for model, values in other.items() if model != "base"}
    found = compare([saved(tmp_path / "a", planted("a", one)), saved(tmp_path / "b", planted("b", bare))])
    assert found.judged == "loss"
    assert found.of("erosion")["b"].word == "undefined"
    assert found.of("erosion")["b"].estimate.why == "there is no base model"
    assert found.of("loss")["b"].word == "more"
    assert any("erosion is undefined (b: there is no base model)" in note for note in found.notes)
    assert any(line.startswith("2 pairs of base and aligned models") for line in found.warnings)
    assert {d.quantity for d in found.differences if d.domain is not None} == {"loss"}


def test_what_is_not_comparable_is_said(tmp_path: Path) -> None:
    one, other = margins([0.3, 0.6])
    folders = [
        saved(tmp_path / "a", planted("a", one)),
        saved(
            tmp_path / "b",
            planted("b", other, contrast="other words"),
            smallest={"erosion": 0.2, "margin": 0.1},
            dtype="bfloat16",
        ),
    ]
    found = compare(folders)
    said = " ".join(found.warnings)
    for what in ("2 contrasts", "2 smallest erosions", "2 dtypes"):
        assert what in said
    assert "chat template" not in said
    assert {"dtype", "tuned"} <= set(found.changes)
    assert any("b is not paired with a: b and a asked other questions" in note for note in found.notes)


def test_copies_of_one_audit_are_said_to_be_one(tmp_path: Path) -> None:
    one = margins([0.3])[0]
    found = compare([saved(tmp_path / name, planted("a", one)) for name in ("a", "b")])
    assert any("the same audit" in line for line in found.warnings)
    assert found.of("erosion")["b"].estimate.value == 0


def test_a_broken_model_has_no_difference_and_a_reason(tmp_path: Path) -> None:
    one, other = margins([0.3, 0.6])
    other["tuned"][3] = np.nan
    found = compare([saved(tmp_path / "a", planted("a", one)), saved(tmp_path / "b", planted("b", other))])
    assert found.of("loss")["b"].word == "undefined"
    written = json.loads((tmp_path / "b" / "results" / "questions.json").read_text())
    assert written["questions"][3]["harm margin"]["tuned"] is None
    assert "harm margin of tuned is not finite" in written["questions"][3]["why"]
    assert "choice margin" in written["why"]


def test_an_audit_keeps_what_its_verdict_was_made_from(run: er.Run) -> None:
    asked = load_asked(run.path)
    assert asked is not None
    keep = [i for i, domain in enumerate(asked.domains) if domain not in asked.trained_domains]
    losses = asked.where(keep).per_question()
    assert losses.lost.mean() == run.verdict.loss.value
    assert asked.trained_domains == {"code"}
    assert "questions" not in run.experiments


def test_questions_hold_no_path(tmp_path: Path) -> None:
    values = {"aligned": np.ones(3), "tuned": np.zeros(3)}
    scored = {model: responses(["a", "b", "c"], one) for model, one in values.items()}
    file = write_questions(tmp_path, scored, {"a": "x", "b": "x", "c": "y"}, contrast="0" * 8)
    assert str(tmp_path) not in file.read_text()
    read = load_asked(tmp_path.parent / tmp_path.name / "..")
    assert read is None


# ---------------------------------------------------------------- refusals


def broken(two: list[Path], file: str, text: str) -> list[Path]:
    (two[1] / file).write_text(text, encoding="utf-8")
    return two


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("results/questions.json", "{", "no questions that can be read"),
        ("results/questions.json", "[]", "no questions that can be read"),
        ("results/questions.json", '{"schema": 1, "contrast": "", "questions": []}', "there is no question"),
        ("results/questions.json", '{"schema": 2}', "has schema 2 and this version reads 1"),
        ("results/summary.json", "{", "cannot be read"),
        ("results/summary.json", "[]", "cannot be read"),
        ("results/summary.json", '{"schema": 1, "verdict": {"word": "fine"}}', "cannot be read"),
        ("results/summary.json", '{"schema": 9, "verdict": {}}', "schema 9 and this version reads 1"),
        ("manifest.json", "{", "cannot be read"),
        ("manifest.json", "[]", "cannot be read"),
        ("manifest.json", '{"schema": 9}', "schema 9 and this version reads 1"),
        ("manifest.json", '{"schema": 1}', "cannot be read"),
    ],
)
def test_damage_is_one_line(two: list[Path], file: str, text: str, said: str) -> None:
    with pytest.raises(BadRun, match=said):
        compare(broken(two, file, text))


def test_too_few_twice_and_unknown_are_refused(two: list[Path]) -> None:
    with pytest.raises(BadInput, match="at least two"):
        compare(two[:1])
    with pytest.raises(BadInput, match="at least two"):
        compare([])
    with pytest.raises(BadInput, match="given twice"):
        compare([two[0], two[0]])
    with pytest.raises(BadInput, match="given twice"):
        compare({"a": two[0], "b": two[0] / ".." / two[0].name})
    with pytest.raises(BadInput, match="against is one of first, second"):
        compare(two, against="third")
    with pytest.raises(BadInput, match="has no run"):
        compare({"a": [], "b": two[0]})
    with pytest.raises(BadInput, match="200"):
        compare(two, resamples=10)


def test_an_unfinished_run_is_refused(two: list[Path]) -> None:
    (two[1] / "results" / "summary.json").unlink()
    with pytest.raises(BadRun, match="is not finished"):
        compare(two)
    with pytest.raises(BadRun, match="There is no run"):
        compare([two[0], two[0].parent / "none"])


# ---------------------------------------------------------------- depth


def test_layers_that_the_band_cannot_tell_from_the_peak_are_kept() -> None:
    low, high = np.array([0.1, 0.5, 0.6, 0.2]), np.array([0.3, 0.7, 0.8, 0.4])
    band = Band((low + high) / 2, low, high, (0, 1, 2, 3), "AUC", 96, "t")
    peak = peak_of("AUC", band, n_layers=4)
    assert peak is not None
    assert (peak.layer, peak.depth, peak.alike, peak.located) == (2, 0.75, (1, 2), True)
    assert peak.depths == (0.5, 0.75)


def test_a_curve_without_values_has_no_peak() -> None:
    nothing = np.full(3, np.nan)
    assert peak_of("AUC", Band(nothing, nothing, nothing, (0, 1, 2), "AUC", 96, "t"), n_layers=3) is None


def test_depth_compares_models_of_different_size(tmp_path: Path) -> None:
    def curve(best: int, layers: int) -> Band:
        values = np.where(np.arange(layers) == best, 0.9, 0.6)
        return Band(values, values - 0.05, values + 0.05, tuple(range(layers)), "AUC", 96, "t")

    made = margins([0.3, 0.6])
    folders = [
        saved(tmp_path / name, planted(name, one), curve=curve(best, 4))
        for name, one, best in zip(("a", "b"), made, (0, 3), strict=True)
    ]
    found = compare(folders)
    assert [run.peaks[0].depth for run in found.runs] == [0.25, 1.0]
