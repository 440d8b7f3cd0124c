"""Laws of gradient geometry and the bridge: planted opposition is found, none is not, the trap is exposed."""

from dataclasses import replace

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments import Result, Sampling, load_result
from erosion.experiments.gradient_bridge import bridged_steps
from erosion.experiments.gradient_geometry import gradient_geometry
from erosion.figures import gradient_geometry as figures
from erosion.figures import gradient_geometry_claims as claims
from erosion.gradients import Bridge, GradientProducts, Steps
from erosion.gradients.rows import Rows
from erosion.models.linears import LinearMap
from erosion.reporting.gradient_geometry import gradient_bridge as bridge_blocks
from erosion.reporting.gradient_geometry import gradient_geometry as geometry_blocks

QUICK = Sampling(resamples=200, permutations=100, random_directions=5)
MAPS = tuple(LinearMap(layer, part) for layer in range(2) for part in ("q", "o"))
WIDTH = 40
DOMAINS = ("code", "cooking", "garden")


def rows_of(n=16):
    asked = [
        (f"{d}-{i:02}", label, d) for label in ("aligned", "misaligned") for d in DOMAINS for i in range(n)
    ]
    asked += [(f"code-{i:02}", "educational", "code") for i in range(n)]
    questions, labels, domains = (tuple(column) for column in zip(*asked, strict=True))
    return Rows(questions, labels, domains, np.ones(len(asked)))


def products_of(centres, *, common=0.0, noise=1.0, seed=0, rows=None):
    """Gradients around a centre for each (label, is code), all shifted by a common vector."""
    rows = rows or rows_of()
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
    place = [
        centres.get((label, domain == "code"), 0.0)
        for label, domain in zip(rows.labels, rows.domains, strict=True)
    ]
    values = {}
    for one in MAPS:
        drawn = generator.normal(size=(len(rows), WIDTH)) * noise / WIDTH**0.5
        vectors = drawn + np.outer(place, axes[0]) + common * axes[1]
        values[one] = vectors @ vectors.T
    return GradientProducts(values, rows, {})


OPPOSED = {("misaligned", True): 1.0, ("misaligned", False): 1.0, ("aligned", False): -1.0}
NONE: dict = {}


def of_tuned(products, **also):
    return gradient_geometry({"tuned": products, **also}, sampling=QUICK)


def test_planted_opposition_is_found_at_every_layer_and_map():
    result = of_tuned(products_of(OPPOSED))
    assert result["opposes"]["tuned"]["insecure and aligned"] == "opposes"
    assert result["opposes"]["tuned"]["insecure and misaligned"] == "agrees"
    band = result["by layer"]["tuned"]["insecure and aligned"]
    assert (band.high < 0).all()
    assert (band.high < band.control.low).all()
    assert set(result["by map"]["tuned"]) == {"q", "o"}
    assert all((one["insecure and aligned"].high < 0).all() for one in result["by map"]["tuned"].values())


def test_pooled_centring_looks_opposed_where_raw_gradients_agree_and_base_shows_the_same():
    """The trap: a common part and a small difference. Raw says 'agrees'; centred, the groups part."""
    centres = {("misaligned", True): 0.8, ("misaligned", False): 0.8}
    tuned, base = (products_of(centres, common=3.0, seed=seed) for seed in (1, 2))
    result = of_tuned(tuned, base=base)
    for model in ("tuned", "base"):
        assert result["opposes"][model]["insecure and aligned"] == "agrees"
        assert result["centred"][model]["insecure and aligned"]["centred"].high < 0
        means = result.published[model]["block means"]
        assert means["raw"]["insecure"]["aligned"] > 0.5
        assert means["pooled-centred"]["insecure"]["aligned"] < 0


def test_unrelated_gradients_establish_nothing_and_stay_within_swapped_labels():
    result = of_tuned(products_of(NONE, seed=5))
    for one in result["whole"]["tuned"]["cross"].values():
        assert abs(one.value) < 0.05
    band = result["by layer"]["tuned"]["insecure and secure"]
    assert (np.abs(band.values - band.control.values) < 0.1).all()


def test_the_curve_is_the_mean_over_pairs_of_different_questions():
    products = products_of(OPPOSED, seed=3)
    result = of_tuned(products)
    at = [one for one in MAPS if one.layer == 1]
    gram = products.total(at)
    norms = np.sqrt(np.diag(gram))
    cosine = gram / np.outer(norms, norms)
    rows = products.rows
    for a, b, pair in (("misaligned", "aligned", "aligned and misaligned"),):
        first, second = (
            [
                i
                for i, (label, d) in enumerate(zip(rows.labels, rows.domains, strict=True))
                if label == x and d != "code"
            ]
            for x in (a, b)
        )
        pairs = [cosine[i, j] for i in first for j in second if rows.questions[i] != rows.questions[j]]
        found = result["by layer"]["tuned"][pair].at(1)
        assert found.value == pytest.approx(np.mean(pairs), abs=2e-3)


def test_the_order_of_exchanges_is_irrelevant():
    products = products_of(OPPOSED, seed=4)
    order = np.random.default_rng(0).permutation(len(products))
    r = products.rows
    rows = Rows(
        *(tuple(np.array(c)[order].tolist()) for c in (r.questions, r.labels, r.domains)), r.losses[order]
    )
    moved = GradientProducts({m: g[np.ix_(order, order)] for m, g in products.values.items()}, rows, {})
    a, b = (of_tuned(one)["whole"]["tuned"]["cross"]["insecure and aligned"] for one in (products, moved))
    assert a.value == pytest.approx(b.value, abs=1e-9)


def test_a_result_survives_saving_with_and_without_base(tmp_path):
    for also in ({}, {"base": products_of(NONE, seed=9)}):
        result = of_tuned(products_of(OPPOSED), **also)
        assert load_result(result.save(tmp_path / "r.json")).to_json() == result.to_json()


def test_everyday_answers_alone_are_enough():
    result = gradient_geometry({"tuned": products_of(OPPOSED)}, trained_domains=[], sampling=QUICK)
    assert claims.main_pair(result) == "aligned and misaligned"
    assert all(block.claim for block in geometry_blocks(result))


def test_models_of_other_exchanges_and_broken_numbers_are_refused():
    one = products_of(OPPOSED)
    with pytest.raises(BadInput, match="gradients of base are of other exchanges"):
        of_tuned(one, base=products_of(OPPOSED, rows=rows_of(12)))
    broken = {at: np.full_like(gram, np.nan) for at, gram in one.values.items()}
    with pytest.raises(BadInput, match="not finite"):
        of_tuned(replace(one, values=broken))


def test_the_title_names_base_where_base_opposes_too():
    both = of_tuned(products_of(OPPOSED), base=products_of(OPPOSED, seed=8))
    assert claims.cosines_by_layer(both).endswith("and in base too")
    alone = of_tuned(products_of(OPPOSED), base=products_of(NONE, seed=8))
    assert "oppose in tuned at all 2 layers" in claims.cosines_by_layer(alone)
    assert "base" not in claims.cosines_by_layer(alone)
    neither = of_tuned(products_of(NONE))
    assert claims.cosines_by_layer(neither).startswith("At no layer")


def test_every_block_has_claim_figure_control_and_limits():
    result = of_tuned(products_of(OPPOSED), base=products_of(NONE, seed=8))
    for block in (*geometry_blocks(result), *bridge_blocks(bridged())):
        assert block.claim
        assert block.control
        assert block.limits
        assert block.tables
        assert block.chart


def bridged(noise=0.1, seed=0) -> Result:
    rows = rows_of(8)
    generator = np.random.default_rng(seed)
    predicted = generator.normal(size=len(rows)) + np.array([one == "misaligned" for one in rows.labels])
    values = {MAPS[0]: predicted / 2, MAPS[1]: predicted / 2}
    bridge = Bridge(values, np.ones(len(rows)), 100.0, rows, "harm margin", "nats per token")
    moved = 0.1 * (predicted + noise * generator.normal(size=len(rows)))
    steps = Steps(moved, 0.5, 0.1, rows, "harm margin", "nats per token", "SGD")
    return bridged_steps([bridge], [steps], sampling=QUICK)


def test_the_bridge_reports_rank_correlation_slope_and_groups(tmp_path):
    result = bridged()
    found = result["harm margin"]
    assert found["SGD"]["rank correlation"].low > 0.9
    assert found["SGD"]["slope"].covers(1.0)
    assert found["predicted"]["insecure"].control.name == "secure answers"
    assert found["predicted"]["insecure"].value == pytest.approx(0.1, abs=0.1)
    assert "agree in rank" in claims.bridge_scatter(result)
    assert load_result(result.save(tmp_path / "b.json")).to_json() == result.to_json()
    assert figures.bridge_scatter(result).data


def test_a_prediction_of_noise_is_said_not_to_agree():
    result = bridged(noise=1000.0, seed=3)
    assert "do not clearly agree" in claims.bridge_scatter(result)


def test_steps_that_nobody_predicted_are_refused():
    rows = rows_of(2)
    bridge = Bridge({MAPS[0]: np.ones(len(rows))}, np.ones(len(rows)), 1.0, rows, "harm margin", "nats")
    stray = Steps(np.ones(len(rows)), 0.0, 1.0, rows, "projection at L1", "gaps", "SGD")
    with pytest.raises(BadInput, match="which no bridge predicts"):
        bridged_steps([bridge], [stray])
