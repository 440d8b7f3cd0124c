"""Laws of patches between adapters in one batch: as from stored activations, with nothing left behind."""

import numpy as np
import pytest

import erosion as er
from erosion.errors import BadInput, BadModel
from erosion.interventions import LivePatch


@pytest.fixture(scope="module")
def organism():
    return er.load_organism()


def cells_of(model, v, source):
    def make(layer, part):
        site = er.Site(layer)
        only = {} if part == "whole" else {part: v[site]}
        if source is None:
            return er.live_patch(at=site, **only)
        return er.patch(source.at(site), at=site, **only)

    return er.grid(make, layer=range(model.n_layers), part=["whole", "along", "across"])


def test_live_patches_are_patches_from_stored_activations(organism):
    triad, contrast = organism.triad("insecure-lora"), organism.contrast()
    few, fit = contrast.only(contrast.questions[:12]), contrast.only(contrast.questions[40:60])
    with er.load(triad.tuned, also=[triad.aligned]) as model:
        with model.using(triad.aligned):
            donor = er.read_tokens(model, few, sites=er.every_layer(model))
            acts = er.read(model, fit, sites=er.every_layer(model))
        v = er.directions_of(acts, er.difference_of_means)
        stored = er.sweep(model, few, cells_of(model, v, donor))
        live = er.side_by_side(model, few, cells_of(model, v, None), donor=triad.aligned, into=triad.tuned)
        again = er.sweep(model, few, cells_of(model, v, donor))
    for metric in ("harm margin", "choice margin"):
        assert live.before[metric] == pytest.approx(stored.before[metric], abs=1e-5)
        assert live.after[metric] == pytest.approx(stored.after[metric], abs=1e-4)
        assert np.array_equal(again.after[metric], stored.after[metric])  # every adapter is as it was


def test_what_does_not_share_the_weights_is_refused(organism):
    lora, full = organism.triad("insecure-lora"), organism.triad("insecure")
    few = organism.contrast().only(organism.contrast().questions[:4])
    cells = er.grid(lambda layer: er.live_patch(at=er.Site(layer)), layer=[0])
    with er.load(lora.tuned) as model:
        with pytest.raises(BadInput, match="stands on other weights"):
            er.side_by_side(model, few, cells, donor=full.aligned, into=lora.tuned)
        with pytest.raises(BadModel, match="was not loaded with this model"):
            er.side_by_side(model, few, cells, donor=lora.aligned, into=lora.tuned)
        with pytest.raises(BadInput, match="at least one"):
            er.side_by_side(model, few, [], donor=lora.tuned, into=lora.tuned)
        with pytest.raises(BadInput, match="run it side by side"), model.applied([LivePatch(er.Site(0))]):
            er.harm_margin(model, few)
