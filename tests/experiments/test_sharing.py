"""The trap of the shared component: what every text has in common is shared by benign data too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from erosion.activations import Activations
from erosion.errors import BadContrast
from erosion.experiments import load_result
from erosion.experiments.sharing import sharing
from erosion.sites import Site

WIDTH, AT = 16, Site(1)
SHIFT, HARM, OTHER = (
    0,
    1,
    2,
)  # the axis alignment moved every text along, that of harm, that of right and wrong
DOMAINS = {f"{d}-{i:02d}": d for d in ("code", "cooking", "travel") for i in range(40)}


def answers(ids, labels, axis, *, seed, model):
    """Two answers to each question, apart along ``axis``; alignment moves each text by its own amount."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(2 * len(ids), WIDTH))
    rows[: len(ids), axis] += 2
    rows[len(ids) :, axis] -= 2
    moved = np.random.default_rng(seed + 1).normal(3, 2, size=2 * len(ids))
    noise = np.random.default_rng((seed, len(model))).normal(size=rows.shape) * 0.3
    part = {"base": 0.0, "aligned": 1.0, "tuned": 0.4}[model]
    rows[:, SHIFT] += part * moved
    sides = (labels[0],) * len(ids) + (labels[1],) * len(ids)
    return Activations(
        {AT: torch.from_numpy(rows + noise).float()}, tuple(ids) * 2, sides, "last_response", {}
    )


def read(models=("base", "aligned", "tuned")):
    last = {m: answers(list(DOMAINS), ("aligned", "misaligned"), HARM, seed=0, model=m) for m in models}
    benign = [f"sum-{i:02d}" for i in range(40)]
    return last, {
        "competence": {m: answers(benign, ("right", "wrong"), OTHER, seed=9, model=m) for m in models}
    }


def found(models=("base", "aligned", "tuned"), **options):
    last, benign = read(models)
    return sharing(last, domains=DOMAINS, trained_domains=["code"], benign=benign, **options)


def test_the_first_component_is_shared_with_benign_data_just_as_much():
    result = found()
    assert result.published["difference"] == "aligned - base"
    pair = result.published["first components"]["trained, misaligned / everyday, misaligned"]
    benign = result.published["first components"]["trained, misaligned / competence, right"]
    assert pair.values[0] > 0.9
    assert benign.values[0] > 0.9
    assert result["harmful pair"].values[0] == pair.values[0]
    assert result["difference"].low[0] < 0.02
    assert abs(result["difference"].values[0]) < 0.05
    assert all(band.values[0] > 0.9 for band in result["mean shift"].values())


def test_answer_directions_are_shared_between_harms_and_not_with_benign_answers():
    result = found()
    for model in ("base", "aligned", "tuned"):
        one = result["answer directions"][model]
        assert one["cosine"].low[0] > 0.8
        assert one["benign ceiling"].high[0] < 0.3
        assert one["difference"].low[0] > 0.5


def test_answers_that_differ_alike_everywhere_are_no_specific_dimension():
    last, _ = read()
    benign = {
        m: answers([f"sum-{i:02d}" for i in range(40)], ("right", "wrong"), HARM, seed=9, model=m)
        for m in last
    }
    result = sharing(last, domains=DOMAINS, trained_domains=["code"], benign={"competence": benign})
    assert abs(result["answer directions"]["aligned"]["difference"].values[0]) < 0.05


def test_without_base_the_change_is_tuned_minus_aligned_and_says_so():
    result = found(("aligned", "tuned"))
    assert result.published["difference"] == "tuned - aligned"
    assert "no" in result.published["why"]
    assert "base" not in result["answer directions"]


def test_without_benign_data_the_control_is_undefined_in_words():
    last, _ = read()
    result = sharing(last, domains=DOMAINS, trained_domains=["code"])
    assert "no benign data" in result["difference"]["why"]
    assert "needs a benign contrast" in result["answer directions"]["aligned"]["why"]
    assert result.published["first components"]


def test_neutral_texts_are_a_data_set_without_an_answer_direction():
    last, _ = read()
    texts = {
        m: replace(
            a.of([f"code-{i:02d}" for i in range(20)]),
            labels=("neutral",) * 40,
            questions=tuple(f"text-{i}" for i in range(40)),
        )
        for m, a in last.items()
    }
    result = sharing(last, domains=DOMAINS, trained_domains=["code"], benign={"neutral": texts})
    assert "trained, misaligned / neutral" in result.published["first components"]
    assert result["difference"].unit == "difference of |cosines|"
    assert "why" in result["answer directions"]["aligned"]


def test_nothing_trained_on_still_gives_a_pair():
    last, benign = read()
    result = sharing(last, domains=DOMAINS, benign=benign)
    assert len(set(result.inputs["harmful pair"])) == 2
    assert result["answer directions"]["aligned"]["cosine"].values[0] > 0.8


def test_the_published_number_is_that_of_a_centred_svd():
    last, _ = read()
    result = found()
    ids, labels = np.array(last["aligned"].questions), np.array(last["aligned"].labels)
    firsts = []
    for code in (True, False):
        keep = (np.char.startswith(ids, "code") == code) & (labels == "misaligned")
        r = (last["aligned"][AT] - last["base"][AT]).double().numpy()[keep]
        firsts.append(np.linalg.svd(r - r.mean(axis=0))[2][:3])
    expected = np.abs(firsts[0] @ firsts[1].T)
    matrix = result.published["matrices"]["1"]["trained, misaligned / everyday, misaligned"]
    assert np.allclose(matrix, expected, atol=1e-6)


def test_models_read_on_other_exchanges_are_refused():
    last, _ = read()
    with pytest.raises(BadContrast, match="same exchanges"):
        sharing(last | {"base": last["base"].of(list(DOMAINS)[:20])}, domains=DOMAINS)
    with pytest.raises(BadContrast, match="two models"):
        sharing({"aligned": last["aligned"]}, domains=DOMAINS)


def test_the_result_survives_saving(tmp_path):
    result = found()
    assert load_result(result.save(tmp_path / "sharing.json")).to_json() == result.to_json()


def test_models_that_differ_alike_share_their_answers_subspace_more_than_chance_does():
    one = found()["subspaces between models"]
    assert set(one) == {"base / aligned", "base / tuned", "aligned / tuned"}
    overlap = one["base / aligned"]["overlap"]
    assert overlap.values[0] > overlap.control.values[0]
    assert one["base / aligned"]["angles"]["1"][0] < 20
