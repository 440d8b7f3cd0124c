"""Laws of the causal experiments on the organism: ceilings, controls, choices and doses, from sweeps."""

import numpy as np
import pytest

import erosion as er
from erosion.errors import BadDirection, BadInput
from erosion.experiments.causal_cells import controls_of
from erosion.experiments.doses import dose_cells, part_cells, parts_to_try
from erosion.experiments.patching_cells import Places, donor_sites
from erosion.experiments.selection import (
    Tried,
    ablation_cells,
    addition_cells,
    candidates_of,
    choose,
    choose_strength,
    strength_cells,
)
from erosion.experiments.within_run import crossed
from erosion.sites import Site
from erosion.sweeps import Damage, Sweep

SAMPLING = er.Sampling(resamples=200, permutations=200, random_directions=3, seed=0)
LAYER = Site(1)


class Case:
    """The organism's insecure triad, read once: fit split, held-out split, directions, donors, sweeps."""

    def __init__(self):
        self.organism = er.load_organism()
        self.triad = self.organism.triad("insecure")
        contrast = self.organism.contrast().of_domain("cooking", "garden", "home")
        fit, held_out = contrast.split(0.5, 0.5, seed=0)
        self.held_out = held_out.only(held_out.questions[:30])
        with er.load(self.triad.aligned) as model:
            self.aligned = er.read(model, fit, sites=er.every_layer(model))
            self.v = er.directions_of(self.aligned, er.difference_of_means)
            sites = (*donor_sites(1, n_heads=model.anatomy.n_heads), Site(3))
            self.donor = er.read_tokens(model, self.held_out, sites=sites)
            self.cell_aligned = self.cell(model)
            self.margin = er.harm_margin(model, self.held_out).values
            self.within = er.within_run(model, self.held_out, self.donor, self.v[LAYER])
        with er.load(self.triad.tuned) as model:
            self.tuned_donor = er.read_tokens(model, self.held_out, sites=sites)
            self.cell_tuned = self.cell(model)
            self.rescue = er.patched(
                model, self.held_out, self.donor, self.v[LAYER], aligned=self.aligned, sampling=SAMPLING
            )
        with er.load(self.triad.aligned) as model:
            self.corrupt = er.patched(
                model, self.held_out, self.tuned_donor, self.v[LAYER], aligned=self.aligned, sampling=SAMPLING
            )

    def cell(self, model):
        return er.causal_cell(model, self.held_out, self.v[LAYER], aligned=self.aligned, draws=3)


@pytest.fixture(scope="module")
def case():
    return Case()


def test_every_edit_has_its_controls_at_one_layer(case):
    kinds = {(c["edit"], c["direction"], c["scope"]) for c in case.cell_tuned.cells}
    assert ("clamp", "covariance-matched", "all") in kinds
    assert ("clamp", "isotropic", "prompt") in kinds
    assert {("steer", one, "all") for one in ("v", "isotropic", "shuffled labels")} <= kinds
    assert ("steer", "covariance-matched", "all") not in kinds
    norms = [draw(0).scale for draw in controls_of(case.v[LAYER], case.aligned, draws=1, seed=0).values()]
    assert norms == [case.v[LAYER].scale] * 2


def test_causality_is_the_difference_of_both_models_and_its_share(case):
    result = er.causality({LAYER: case.cell_tuned}, {LAYER: case.cell_aligned}, sampling=SAMPLING)
    found = result["harm margin"]["clamp"]
    tuned, aligned = (
        s.where(edit="clamp", direction="v", scope="all").effects("harm margin")[0].mean()
        for s in (case.cell_tuned, case.cell_aligned)
    )
    assert found["difference"].values[0] == pytest.approx(tuned - aligned)
    lost = (case.cell_aligned.before["harm margin"] - case.cell_tuned.before["harm margin"]).mean()
    assert result["harm margin"]["lost"].value == pytest.approx(lost)
    assert found["recovered"].values[0] == pytest.approx((tuned - aligned) / lost)
    assert found["difference"].control is not None
    assert "covariance-matched" in found["against covariance-matched directions"].control.method
    assert not result.inputs["blocks skipped"] or case.cell_tuned.replayed


def test_a_whole_patch_restores_the_donor_and_its_parts_are_smaller(case):
    whole = case.rescue.where(at="resid_post", part="whole", scope="all")
    assert whole.after["harm margin"][0] == pytest.approx(
        case.margin, abs=1e-4
    )  # L1 carries all from there on
    result = er.patching(
        {"rescue": {LAYER: case.rescue}, "corrupt": {LAYER: case.corrupt}}, sampling=SAMPLING
    )
    rescue = result["rescue"]["harm margin"]
    assert rescue["whole"]["share"].values[0] == pytest.approx(1, abs=1e-3)
    assert 0 < rescue["along"]["share"].values[0] < 1
    assert rescue["along"]["effect"].control is not None
    corrupt = result["corrupt"]["harm margin"]
    assert corrupt["gap"].value == pytest.approx(rescue["gap"].value)
    assert corrupt["whole"]["effect"].values[0] == pytest.approx(corrupt["gap"].value, abs=1e-3)


def test_patches_of_prompt_and_response_are_parts_of_all_places(case):
    places = Places.shared(case.donor)
    assert places.prompt == (-3, -2, -1)
    assert places.response[0] == 0
    result = er.patching(
        {"rescue": {LAYER: case.rescue}, "corrupt": {LAYER: case.corrupt}}, sampling=SAMPLING
    )
    found = result["rescue"]["harm margin"]["by place"]["whole"]
    assert {"user", "response", "prompt[-1]", "response[0]"} <= set(found)
    heads = [name for name in result["rescue"]["harm margin"]["by component"] if name.startswith("head")]
    assert len(heads) == 4


def test_a_patch_from_other_questions_is_refused(case):
    other = case.organism.contrast().of_domain("money")
    with (
        er.load(case.triad.tuned) as model,
        pytest.raises(BadInput, match="read the source on these exchanges"),
    ):
        er.patched(model, other, case.donor, case.v[LAYER], aligned=case.aligned, sampling=SAMPLING)


def test_a_direction_is_never_patched_along_on_questions_it_saw(case):
    seen = case.organism.contrast().only(case.v[LAYER].passport.questions[:3])
    with er.load(case.triad.tuned) as model:
        donor = er.read_tokens(model, seen, sites=donor_sites(1, n_heads=4))
        with pytest.raises(BadDirection, match="has seen question"):
            er.patched(model, seen, donor, case.v[LAYER], aligned=case.aligned, sampling=SAMPLING)


def test_within_a_model_only_the_misaligned_response_is_crossed(case):
    same = crossed(case.donor, case.held_out, site=LAYER, shift=0, seed=0)
    stored = case.donor.at(LAYER)
    response = dict(zip(case.donor.ids, case.donor.responses, strict=True))
    for aligned, misaligned in zip(case.held_out.aligned, case.held_out.misaligned, strict=True):
        start, stop = response[misaligned.id]
        begin, end = response[aligned.id]
        shared = min(stop - start, end - begin)
        mixed = same[misaligned.id]
        assert (mixed[:start] == stored[misaligned.id][:start]).all()
        assert (mixed[start : start + shared] == stored[aligned.id][begin : begin + shared]).all()
        assert (mixed[start + shared :] == stored[misaligned.id][start + shared :]).all()
        assert same[aligned.id] is stored[aligned.id] or (same[aligned.id] == stored[aligned.id]).all()
    assert case.within.effects("misaligned answer").shape == (5, len(case.held_out))
    whole = case.within.where(part="whole").effects("misaligned answer").mean()
    assert whole < case.within.where(part="along").effects("misaligned answer").mean()


# Selection.


def swept(effects, cells, questions=12):
    """A sweep made by hand: one mean effect for each cell."""
    noise = np.random.default_rng(0).normal(0, 0.01, (len(effects), questions))
    noise -= noise.mean(-1, keepdims=True)
    values = np.array(effects)[:, None] + noise
    names = tuple(f"q{i}" for i in range(questions))
    metrics = ("harm margin", "choice margin")
    units = dict.fromkeys(metrics, "nats")
    zero = {m: np.zeros(questions) for m in metrics}
    return Sweep(
        tuple(cells), ("",) * len(effects), names, zero, dict.fromkeys(metrics, values), units, "made"
    )


def damaged(kls, texts=8):
    values = np.array(kls)[:, None] * np.ones(texts)
    return Damage(("",) * len(kls), tuple(f"t{i}" for i in range(texts)), values, values)


CELLS = tuple({"layer": layer, "span": "response"} for layer in range(5))


def test_the_largest_loss_that_passes_is_chosen_and_nothing_where_none_does():
    taken, given, kl = (
        [-0.1, -0.5, -0.9, -0.3, -2.0],
        [0.1, -0.1, 0.1, 0.1, 0.1],
        [0.01, 0.01, 0.5, 0.01, 0.01],
    )
    chosen = choose(swept(taken, CELLS), swept(given, CELLS), damaged(kl), n_layers=5)
    assert chosen.index == 3  # 1 gains nothing, 2 moves neutral texts, 4 is in the last fifth
    none = choose(swept(taken, CELLS), swept([-0.1] * 5, CELLS), damaged(kl), n_layers=5)
    assert none.index is None
    assert "none of the 5 candidates passes" in none.why
    result = er.experiments.selection(Tried(swept(taken, CELLS), swept(given, CELLS), damaged(kl), 5))
    assert result["chosen"]["layer"] == 3
    assert [row["fails"] for row in result["rows"]][4] == ["in the last fifth of the layers"]
    assert len(result["rows"]) == 5


def test_the_strength_is_the_largest_gain_within_the_damage():
    steps = tuple({"by": by} for by in (1.0, 2.0, 4.0))
    assert choose_strength(swept([0.1, 0.3, 0.9], steps), damaged([0.0, 0.05, 0.2])).index == 1
    assert choose_strength(swept([0.1, 0.3, 0.9], steps), damaged([0.2, 0.2, 0.2])).index is None


def test_candidates_are_ablated_everywhere_and_added_at_their_own_layer(case):
    candidates = candidates_of({"response": case.v})
    sites = (Site(0, "resid_pre"), Site(0, "mlp_out"))
    assert [[edit.at for edit in cell.edits] for cell in ablation_cells(candidates, at=sites)] == [
        list(sites)
    ] * 4
    assert [cell.edits[0].at for cell in addition_cells(candidates)] == list(case.v)
    assert [cell.labels["by"] for cell in strength_cells(case.v[LAYER])] == [0.25, 0.5, 1, 2, 4, 8]


# Doses.


def test_parts_come_first_then_blocks_then_kinds_where_they_hold_several():
    changes = [
        er.models.Change(part, 1.0, 0.1) for part in ("L0.mlp", "L0.norm", "L1.mlp", "L1.norm", "head")
    ]
    assert parts_to_try(changes)[5:] == ("L0", "L1", "mlp", "norm")
    assert parts_to_try(changes[:1]) == ("L0.mlp",)


def test_doses_begin_at_aligned_and_pass_tuned(case):
    aligned, tuned = case.triad.aligned, case.triad.tuned
    few = case.held_out.only(case.held_out.questions[:10])
    with er.load(tuned) as model:
        changes = er.parts_of_change(model, aligned, tuned)
        parts = parts_to_try(changes)
        by_dose = er.sweep(model, few, dose_cells(aligned, tuned))
        restored = er.sweep(model, few, part_cells(aligned, tuned, parts, restored=True))
    with er.load(aligned) as model:
        grafted = er.sweep(model, few, part_cells(aligned, tuned, parts, restored=False))
        expected = er.harm_margin(model, few).values
    assert parts == ("L0.mlp", "L1.mlp", "mlp")
    assert by_dose.after["harm margin"][0] == pytest.approx(expected, abs=1e-6)
    assert (by_dose.after["harm margin"][4] == by_dose.before["harm margin"]).all()
    result = er.experiments.doses(by_dose, restored, grafted, changes, sampling=SAMPLING)
    found = result["harm margin"]
    assert found["beyond the chord"].values[[0, 4]] == pytest.approx(0, abs=1e-9)
    assert found["restored share"].at("mlp").value == pytest.approx(1, abs=1e-4)
    assert found["grafted share"].at("mlp").value == pytest.approx(1, abs=1e-4)
    assert sum(one["share of squared change"] for one in result["changes"][:2]) == pytest.approx(1)
