"""Laws of damage to neutral texts, and of grids that hold doses of a fine-tune beside edits."""

import numpy as np
import pytest

import erosion as er
from erosion.errors import BadInput
from erosion.metrics import score_texts
from erosion.prompts import render_texts
from erosion.sweeps import Damage


@pytest.fixture(scope="module")
def organism():
    return er.load_organism()


def test_damage_is_the_fall_of_every_texts_own_likelihood(organism):
    texts = organism.neutral()[:10]
    cells = er.grid(lambda layer: er.zero_ablate(at=er.Site(layer, "mlp_out")), layer=[0, 2])
    with er.load(organism.triad().tuned) as model:
        found = er.damage(model, texts, cells)
        rendered = render_texts(((text.id, text.text) for text in texts), model.tokenizer)
        clean = score_texts(model, rendered).log_likelihood
        with model.applied(cells[1].edits):
            edited = score_texts(model, rendered).log_likelihood
        usual, model.batch_tokens = model.batch_tokens, 1
        alone = er.damage(model, texts, cells)
        model.batch_tokens = usual
    expected = [one.mean() - other.mean() for one, other in zip(clean, edited, strict=True)]
    assert found.cost[1] == pytest.approx(expected, abs=1e-5)
    assert (found.kl > 0).all()
    assert alone.kl == pytest.approx(found.kl, abs=1e-5)
    again = Damage.from_json(found.to_json())
    assert np.array_equal(again.kl, found.kl)
    assert np.array_equal(again.cost, found.cost)
    assert found.kl_of(0).value == pytest.approx(found.kl[0].mean())


def test_no_dose_is_no_damage_and_a_larger_one_is_more(organism):
    contrast = organism.contrast()
    with er.load(organism.triad().aligned) as model:
        acts = er.read(model, contrast.only(contrast.questions[:20]), sites=[er.Site(1)])
        v = er.directions_of(acts, er.difference_of_means)[er.Site(1)]
        cells = er.grid(lambda by: er.steer(v, by=by), by=[0, 2, 8])
        moved = er.damage(model, organism.neutral()[:10], cells).kl.mean(-1)
    assert moved[0] == 0
    assert moved[0] < moved[1] < moved[2]


def test_nothing_to_measure_is_refused(organism):
    with er.load(organism.triad().aligned) as model:
        with pytest.raises(BadInput, match="0 texts and 1 cells"):
            er.damage(model, (), er.grid(lambda x: er.zero_ablate(at=er.Site(0)), x=[0]))
        with pytest.raises(BadInput, match="0 cells"):
            er.damage(model, organism.neutral()[:2], ())


@pytest.mark.parametrize("tuned", ["insecure", "insecure-lora"])
def test_a_grid_of_doses_and_edits_is_each_alone(tuned, organism):
    triad, contrast = organism.triad(tuned), organism.contrast()
    few = contrast.only(contrast.questions[:8])

    def make(share, layer):
        dose = er.dose(share, aligned=triad.aligned, tuned=triad.tuned)
        return dose if layer is None else [dose, er.zero_ablate(at=er.Site(layer, "mlp_out"))]

    with er.load(triad.tuned, also=[triad.aligned] if "lora" in tuned else ()) as model:
        found = er.sweep(model, few, er.grid(make, share=[0, 0.5, 1], layer=[None, 2]))
        with er.dosed(model, triad.aligned, triad.tuned, dose=0.5):
            half = er.harm_margin(model, few).values
            with model.applied([er.zero_ablate(at=er.Site(2, "mlp_out"))]):
                both = er.harm_margin(model, few).values
    with er.load(triad.aligned) as model:
        aligned = er.harm_margin(model, few).values
    after = found.after["harm margin"]
    assert after[0] == pytest.approx(aligned, abs=1e-5)
    assert after[2] == pytest.approx(half, abs=1e-5)
    assert after[3] == pytest.approx(both, abs=1e-5)
    assert after[4] == pytest.approx(found.before["harm margin"], abs=1e-5)
    assert found.said[3].startswith("0.5 of the fine-tune; zero ablate at L2.mlp_out")


def test_a_dose_that_is_no_number_is_refused():
    with pytest.raises(BadInput, match="not a finite number"):
        er.dose(float("nan"), aligned="a", tuned="b")
