"""Laws of sites: what is written reads back, and what no model can have is refused."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from erosion.errors import BadInput
from erosion.sites import PARTS, Site, parse_site, residuals

SITES = st.builds(Site, st.integers(0, 200), st.sampled_from([p for p in PARTS if p != "z"])) | st.builds(
    lambda layer, head: Site(layer, "z", head), st.integers(0, 200), st.integers(0, 200)
)


@given(SITES)
def test_what_a_site_writes_reads_back(site):
    assert parse_site(str(site)) == site


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("L3", Site(3)),
        ("3", Site(3)),
        ("l3", Site(3)),
        (" L3.mlp_out ", Site(3, "mlp_out")),
        ("L0.z.5", Site(0, "z", 5)),
    ],
)
def test_short_forms_are_read(text, site):
    assert parse_site(text) == site


@pytest.mark.parametrize(
    "text", ["", "L", "three", "L3.mlp_out.x", "L-1", "L3.", "resid_post", "L3 L4", "L3.z.-1"]
)
def test_what_is_no_site_is_refused_with_the_form(text):
    with pytest.raises(BadInput, match=r"is not a site: write L3, L3.mlp_out or L3.z.5"):
        parse_site(text)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: Site(-1), "Layer -1 does not exist: layers count from 0"),
        (lambda: Site(0, "residual"), "no part 'residual': choose one of resid_pre"),
        (lambda: Site(0, "z"), "A head goes with part z and only with it"),
        (lambda: Site(0, "mlp_out", 3), "A head goes with part z and only with it"),
        (lambda: parse_site("L0.nothing"), "no part 'nothing'"),
        (lambda: Site(0, "z", -1), "Head -1 does not exist: heads count from 0"),
    ],
)
def test_what_no_model_can_have_is_refused(make, fact):
    with pytest.raises(BadInput, match=fact):
        make()


def test_sites_of_a_model_are_told_apart_and_sorted_by_layer():
    sites = [Site(10), Site(2), Site(2, "mlp_out")]
    assert sorted(sites)[0].layer == 2
    assert len({*sites, Site(2)}) == 3
    assert len({site.hook for site in sites}) == 3
    assert residuals(range(3)) == (Site(0), Site(1), Site(2))


def test_the_stream_itself_is_told_from_what_is_written_to_it():
    assert [part for part in PARTS if part != "z" and Site(0, part).residual] == [
        "resid_pre",
        "resid_mid",
        "resid_post",
    ]


def test_sites_with_heads_are_sorted_among_those_without():
    mixed = [Site(1, "z", 2), Site(1), Site(1, "z", 0), Site(0, "z", 7)]
    assert [str(site) for site in sorted(mixed)] == ["L0.z.7", "L1.resid_post", "L1.z.0", "L1.z.2"]
