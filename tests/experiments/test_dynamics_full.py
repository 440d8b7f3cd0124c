"""Laws of the dynamics: what is planted in a move is found with its share, and chance is not."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from erosion.activations import Activations, directions_of, read
from erosion.directions import difference_of_means
from erosion.errors import BadContrast, BadInput
from erosion.experiments import Sampling, dynamics, load_result
from erosion.experiments.dynamics import Beside
from erosion.experiments.dynamics_attribution import attribution, write_sites
from erosion.experiments.dynamics_departure import departure
from erosion.experiments.dynamics_linear import isometric, ridge_smoother
from erosion.experiments.dynamics_paired import Frame, paired, questions_of
from erosion.experiments.dynamics_shares import SHARES
from erosion.figures import dynamics_claims as claims
from erosion.linalg import cka_without_each, debiased_linear_cka
from erosion.prompts import Exchange, Message
from erosion.reporting.dynamics import moves
from erosion.sites import Site
from erosion.stats import Band, simultaneous_band

figures = importlib.import_module("erosion.figures.dynamics")
QUESTIONS, WIDTH, LAYERS = 120, 12, 2
SITES = tuple(Site(layer) for layer in range(LAYERS))
IDS = [f"q{i:03d}" for i in range(QUESTIONS)]
FIT, HELD = IDS[:60], IDS[60:]
QUICK = Sampling(resamples=400, permutations=400, random_directions=39)


def noise(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


V = torch.nn.functional.normalize(noise(WIDTH, seed=1), dim=0)
OTHER = torch.nn.functional.normalize(noise(WIDTH, seed=2) - (noise(WIDTH, seed=2) @ V) * V, dim=0)


def activations(values, ids=IDS, labels=("aligned", "misaligned")):
    """``values[site]`` is [question, side, d_model]; rows lie one side after the other."""
    flat = {site: torch.cat([x[:, i] for i in range(len(labels))]).float() for site, x in values.items()}
    return Activations(
        flat, tuple(ids) * len(labels), tuple(one for one in labels for _ in ids), "response", {}
    )


def aligned_values(seed=0, questions=QUESTIONS):
    sides = torch.stack([2 * V, -2 * V])  # a gap of 4 along V
    return {
        site: 2.0 + sides + noise(questions, 2, WIDTH, seed=100 * seed + site.layer + 10) for site in SITES
    }


def planted(move, *, seed=0, base=None):
    """Aligned, and tuned = aligned + move(h, layer); base = aligned + base where it is given."""
    before = aligned_values(seed)
    acts = {"aligned": activations(before)}
    acts["tuned"] = activations({s: h + move(h, s.layer) for s, h in before.items()})
    if base is not None:
        acts["base"] = activations({s: h + base for s, h in before.items()})
    return acts


def found(acts, **beside):
    v = directions_of(acts["aligned"].of(FIT), difference_of_means)
    return dynamics(acts, v, held_out=HELD, sampling=QUICK, beside=Beside(**beside))


def neutral(shift):
    return {"aligned": {s: torch.zeros(WIDTH) for s in SITES}, "tuned": {s: shift.float() for s in SITES}}


def small(h, seed=7):
    return 0.05 * noise(*h.shape, seed=seed)


TURN = 0.4 * noise(WIDTH, WIDTH, seed=9) / WIDTH**0.5
PLANTED = {
    "constant shift": (lambda h, _: 0.8 * OTHER + small(h), 0.8 * OTHER),
    "translation along v": (lambda h, _: -1.5 * V + small(h), 0 * V),
    "other mean shift": (lambda h, _: 1.5 * OTHER + small(h), 0 * V),
    "linear in h": (lambda h, _: (h - h.mean((0, 1))) @ TURN + small(h), 0 * V),
    "remainder": (lambda h, _: noise(*h.shape, seed=8), 0 * V),
}


@pytest.mark.parametrize("part", SHARES)
def test_a_planted_part_is_found_with_its_share(part):
    move, constant = PLANTED[part]
    shares = found(planted(move), neutral=neutral(constant))["shares of the move"]
    for name, band in shares.items():
        assert np.allclose(band.values, float(name == part), atol=0.12), name


@pytest.mark.parametrize("with_neutral", [True, False])
def test_the_shares_add_up_to_one(with_neutral):
    def move(h, layer):
        return 0.5 * OTHER - 0.3 * V + h @ TURN + (layer + 1) * small(h)

    beside = {"neutral": neutral(noise(WIDTH, seed=3))} if with_neutral else {}
    shares = found(planted(move), **beside)["shares of the move"]
    assert len(shares) == (5 if with_neutral else 4)
    assert np.allclose(sum(band.values for band in shares.values()), 1, atol=1e-12)


def test_a_mixture_is_found_with_the_shares_it_was_made_of():
    shares = found(planted(lambda h, _: 1.0 * OTHER - 2.0 * V + small(h)))["shares of the move"]
    assert np.allclose(shares["translation along v"].values, 4 / 5, atol=0.08)
    assert np.allclose(shares["other mean shift"].values, 1 / 5, atol=0.08)


def test_the_title_gives_no_share_of_a_whole_that_a_contrary_shift_of_neutral_texts_exceeds():
    title = claims.shares(found(planted(lambda h, _: -1.5 * V + small(h)), neutral=neutral(1.5 * V)))
    assert title == f"Neutral texts moved another way at all {LAYERS} layers"
    agreeing = claims.shares(found(planted(lambda h, _: -1.5 * V + small(h)), neutral=neutral(0 * V)))
    assert "Neutral texts" not in agreeing
    assert f"translation along v at all {LAYERS} layers" in agreeing


def test_a_constant_shift_along_v_does_not_pass_for_a_translation_where_neutral_texts_show_it():
    acts = planted(lambda h, _: -1.5 * V + small(h))
    without = found(acts)["shares of the move"]["translation along v"]
    beside = found(acts, neutral=neutral(-1.5 * V))["shares of the move"]
    assert (without.low > 0.8).all()
    assert (beside["translation along v"].high < 0.05).all()
    assert (beside["constant shift"].low > 0.9).all()


def test_pure_noise_has_no_mean_shift_and_nothing_linear():
    shares = found(planted(lambda h, _: noise(*h.shape, seed=8)))["shares of the move"]
    assert all(shares["other mean shift"].at(layer).covers(0) for layer in range(LAYERS))
    assert (shares["linear in h"].values < 0.02).all()


def test_the_linear_part_is_beyond_that_of_other_questions_only_where_it_was_planted():
    for part, beyond in (("linear in h", True), ("remainder", False)):
        band = found(planted(PLANTED[part][0]))["shares of the move"]["linear in h"]
        assert ((band.low > band.control.high) == beyond).all()


def test_no_move_has_no_shares():
    result = found(planted(lambda h, _: 0 * h))
    assert all(np.isnan(band.values).all() for band in result["shares of the move"].values())
    assert "did not move" in claims.shares(result)


def rotated(h, degrees):
    angle = np.radians(degrees)
    turned = np.cos(angle) * V + np.sin(angle) * OTHER
    along = h @ V
    return along[..., None] * (turned - V)


def test_a_rotation_of_v_is_found_beyond_the_noise_of_fitting():
    found_30 = found(planted(lambda h, _: rotated(h, 30) + small(h)))["rotation"]
    cosine = found_30["cosine without noise"]
    assert ((cosine.low <= np.cos(np.radians(30))) & (np.cos(np.radians(30)) <= cosine.high)).all()
    assert (found_30["angle"].low > found_30["angle"].control.high).all()


def test_fresh_noise_is_no_rotation():
    before, again = aligned_values(0), aligned_values(5)
    acts = {"aligned": activations(before), "tuned": activations(again)}
    result = found(acts)
    assert (result["rotation"]["cosine without noise"].high > 0.99).all()
    assert (result["rotation"]["angle"].low < result["rotation"]["angle"].control.high).all()
    assert claims.rotation(result).startswith("At no layer")


def test_a_gap_that_shrank_is_an_interaction_and_a_shift_of_both_answers_is_none():
    shrunk = found(planted(lambda h, _: -0.4 * (h @ V)[..., None] * V))
    shifted = found(planted(lambda h, _: -0.5 * V + small(h)))
    assert np.allclose(shrunk["gap kept"].values, 0.6, atol=0.02)
    assert (shrunk["two by two"]["interaction"].high < 0).all()
    assert all(shifted["two by two"]["interaction"].at(one).covers(0) for one in range(LAYERS))
    assert (shifted["two by two"]["model"].high < 0).all()


def test_the_interaction_is_the_difference_of_positions():
    result = found(planted(lambda h, _: h @ TURN))
    place = {name: {s: band.values for s, band in one.items()} for name, one in result["position"].items()}
    gaps = {name: one["aligned"] - one["misaligned"] for name, one in place.items()}
    assert np.allclose(result["two by two"]["interaction"].values, gaps["tuned"] - gaps["aligned"])
    assert np.allclose(result["two by two"]["data"].values, (gaps["tuned"] + gaps["aligned"]) / 2)


def test_cka_without_each_is_cka_of_the_others():
    x, y = noise(9, 4, seed=1), noise(9, 7, seed=2) + noise(9, 4, seed=1).repeat(1, 2)[:, :7]
    brute = [debiased_linear_cka(x[rest], y[rest]) for rest in (torch.arange(9) != i for i in range(9))]
    assert np.allclose(cka_without_each(x, y).numpy(), brute, atol=1e-12)


def test_cka_does_not_see_a_rotation_and_exchanged_questions_have_none():
    turn = torch.linalg.qr(noise(WIDTH, WIDTH, seed=4)).Q
    band = found(planted(lambda h, _: h @ turn - h))["likeness"]["aligned and tuned"]["CKA"]
    assert np.allclose(band.values, 1, atol=1e-9)
    assert (np.abs(band.control.values) < 0.05).all()
    assert (band.control.high < 0.5).all()


def test_separation_and_distance_are_the_published_ones_with_bands():
    result = found(planted(lambda h, _: -0.5 * V + h @ TURN, base=-0.8 * V))
    for other in ("tuned", "base"):
        as_published = result.published[f"{other} against aligned"]
        ours = result["separation"][other]
        assert np.allclose(ours.values, as_published["separation"], atol=0.02)
        distance = result["likeness"][f"aligned and {other}"]["1 - cosine of mean activations"]
        assert np.allclose(distance.values, as_published["1 - cosine of mean activations"], atol=0.01)


def test_the_jackknife_of_a_mean_is_the_mean():
    frame = Frame(HELD, range(4), QUICK)
    x = np.random.default_rng(0).normal(size=(60, 4))
    smooth = frame.smooth(x.mean(axis=0), (x.sum(axis=0) - x) / 59, unit="nats")
    plain = simultaneous_band(x, HELD, unit="nats", resamples=400)
    assert np.allclose([smooth.values, smooth.low, smooth.high], [plain.values, plain.low, plain.high])


def test_the_ridge_smoother_predicts_as_ridge_does_at_any_width():
    wide, targets = noise(20, 50, seed=1), noise(20, 3, seed=2)
    train = torch.arange(20) < 15
    S = ridge_smoother(isometric(wide), train, ~train, penalty=2.0)
    fitted = Ridge(alpha=2.0).fit(wide[train].numpy(), targets[train].numpy())
    mean = targets[train].mean(0).numpy()
    assert np.allclose((S @ targets).numpy(), fitted.predict(wide[~train].numpy()) - mean)


def drift_from(layer, size):
    return lambda h, at: -size * (at >= layer) * V + small(h)


def test_the_departure_brackets_the_layer_where_it_was_planted():
    result = found(planted(drift_from(1, 1.6)))["departure"]
    assert result["earliest"] <= 1 <= result["latest"]
    assert result["toward"] == "misaligned"


def test_where_nothing_moved_no_departure_is_established():
    result = found(planted(lambda h, _: small(h)))
    assert result["departure"]["latest"] is None
    assert claims.departure(result).startswith("At no layer")


def test_a_wide_band_gives_a_range_of_departure():
    values = np.array([0.0, -0.15, -0.3])
    band = Band(values, values - 0.1, values + 0.1, (0, 1, 2), "fitted gaps", 40, "by hand")
    got = departure(band)
    assert (got["earliest"], got["latest"]) == (1, 2)


def test_the_published_fraction_is_as_large_on_harmless_questions_where_all_texts_moved_alike():
    back = 0.35 * (3 * OTHER)
    acts = planted(lambda h, _: -back + small(h), base=-3 * OTHER)
    benign = {
        name: activations({s: x[s].reshape(QUESTIONS, 2, WIDTH)[:, :1] for s in SITES}, labels=("right",))
        for name, x in ((name, one.values) for name, one in acts.items())
    }
    result = found(acts, benign=benign)
    fractions = result["eroded fraction along the model direction"]
    for band in fractions.values():
        assert np.allclose(band.values, 0.35, atol=0.02)
    for curve in result.published["eroded fraction along the model direction"].values():
        assert np.allclose(curve, 0.35, atol=0.02)
    assert claims.published_fraction(result).startswith("At no layer")


def test_erosion_of_position_is_held_against_directions_that_reach_base_as_v_does():
    along_v = found(planted(lambda h, _: -0.5 * V + small(h), base=-1.0 * V))["erosion of position"]
    assert np.allclose(along_v.values, 0.5, atol=0.05)
    assert along_v.control is not None
    assert np.isfinite(along_v.control.high).all()


@pytest.mark.parametrize("base", [None, -0.8], ids=["without base", "with base"])
def test_every_result_survives_saving_is_drawn_and_reported(base, tmp_path):
    acts = planted(lambda h, _: -0.5 * V + h @ TURN, base=None if base is None else base * V)
    result = found(acts, neutral=neutral(0.1 * OTHER))
    again = load_result(result.save(tmp_path / "dynamics.json"))
    assert again.to_json() == result.to_json()
    for name in figures.__all__:
        assert getattr(figures, name)(again).layout.title.text
    assert all(block.claim and block.limits for block in moves(again))


def test_the_order_of_exchanges_does_not_matter():
    acts = planted(lambda h, _: h @ TURN, base=-V)
    order = np.random.default_rng(0).permutation(2 * QUESTIONS)

    def mixed(one):
        return dataclasses.replace(
            one,
            values={s: x[order] for s, x in one.values.items()},
            questions=tuple(one.questions[i] for i in order),
            labels=tuple(one.labels[i] for i in order),
        )

    v = directions_of(acts["aligned"].of(FIT), difference_of_means)
    plain = dynamics(acts, v, held_out=HELD, sampling=QUICK)
    other = dynamics(acts | {"tuned": mixed(acts["tuned"])}, v, held_out=HELD, sampling=QUICK)
    for name in ("shift of tuned", "gap kept"):
        assert np.allclose(plain[name].values, other[name].values)
    assert np.allclose(
        plain["shares of the move"]["remainder"].values, other["shares of the move"]["remainder"].values
    )


def test_a_question_without_both_answers_is_refused():
    acts = planted(lambda h, _: small(h))
    half = dataclasses.replace(
        acts["tuned"],
        values={s: x[1:] for s, x in acts["tuned"].values.items()},
        questions=acts["tuned"].questions[1:],
        labels=acts["tuned"].labels[1:],
    )
    with pytest.raises(BadContrast, match="not read with both answers"):
        paired(half, SITES[0], IDS)
    with pytest.raises(BadContrast, match="one aligned and one misaligned"):
        questions_of(half)


def exchanges():
    said = {"aligned": "w4 w5 w6", "misaligned": "w7 w8"}
    return [
        Exchange(f"q{i}", (Message("user", f"w{i} w2 w{i + 3}"),), answer, "d", label)
        for label, answer in said.items()
        for i in range(6)
    ]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "olmo2", "gpt2", "gpt-neox"])
def test_embedding_and_writes_add_up_to_the_shift(name, zoo_model, adapted_model):
    last = Site(2)
    writes, points = {}, zoo_model(name).anatomy.points
    for role, model in (("aligned", zoo_model(name)), ("tuned", adapted_model(name))):
        writes[role] = read(model, exchanges(), sites=write_sites(points, last))
    v = directions_of(writes["aligned"], difference_of_means)[last]
    frame = Frame(questions_of(writes["aligned"]), [2], QUICK)
    got = attribution(writes, v, frame)
    parts = got["attention"].values.sum() + got["MLP"].values.sum() + got["embedding"].values[0]
    assert abs(got["total"].values[0]) > 1e-3
    assert parts == pytest.approx(got["total"].values[0], rel=1e-4, abs=1e-5)
    assert got["largest deviation"] < 1e-4


def test_the_outputs_of_both_halves_are_what_the_stream_gained_where_nothing_is_normalised(
    zoo_model, adapted_model
):
    last = Site(2)
    middle = write_sites(zoo_model("llama").anatomy.points, last)
    outputs = write_sites((), last)
    got = []
    for sites in (middle, outputs):
        writes = {
            "aligned": read(zoo_model("llama"), exchanges(), sites=sites),
            "tuned": read(adapted_model("llama"), exchanges(), sites=sites),
        }
        v = directions_of(writes["aligned"], difference_of_means)[last]
        got.append(attribution(writes, v, Frame(questions_of(writes["aligned"]), [2], QUICK)))
    for part in ("attention", "MLP"):
        assert np.allclose(got[0][part].values, got[1][part].values, atol=1e-4)


def test_writes_read_before_a_norm_are_refused(zoo_model, adapted_model):
    sites = write_sites((), Site(2))
    writes = {
        "aligned": read(zoo_model("gemma2"), exchanges(), sites=sites),
        "tuned": read(adapted_model("gemma2"), exchanges(), sites=sites),
    }
    v = directions_of(writes["aligned"], difference_of_means)[Site(2)]
    with pytest.raises(BadInput, match="Read resid_mid instead"):
        attribution(writes, v, Frame(questions_of(writes["aligned"]), [2], QUICK))
