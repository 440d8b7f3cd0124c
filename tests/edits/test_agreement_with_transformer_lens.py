"""Patching and its first-order screen agree with TransformerLens' own, cell by cell."""

import numpy as np
import pytest
import torch
import zoo
from oracle import patching as theirs

from erosion.interventions import patch, positions
from erosion.models.loading import load_tokenizer
from erosion.prompts import Contrast, Exchange, Message
from erosion.sites import Site
from erosion.sweeps import attribution, grid, sweep
from erosion.token_activations import read_tokens

ARCHITECTURES = {"qwen3": "model.layers", "gpt2": "transformer.h", "llama": "model.layers"}
NAMES = pytest.mark.parametrize("name", ARCHITECTURES)
HEADS = 4


def contrast_of(seed, questions=2):
    """Exchanges of one length, so that theirs, which knows no padding, can run them."""
    words = iter(
        torch.randint(0, 80, (9 * questions,), generator=torch.Generator().manual_seed(seed)).tolist()
    )
    sides = {"aligned": [], "misaligned": []}
    for i in range(questions):
        asked = (Message("user", f"w{next(words)} w{next(words)} w{next(words)}"),)
        for label, side in sides.items():
            side.append(
                Exchange(f"q{i}", asked, f"w{next(words)} w{next(words)} w{next(words)}", "all", label)
            )
    return Contrast(tuple(sides["aligned"]), tuple(sides["misaligned"]))


CORRUPTED, CLEAN = contrast_of(0), contrast_of(1)


@pytest.fixture(scope="module")
def both(zoo_model, zoo_folder):
    """Architecture -> our model, their bridge, corrupted and clean ids, and what counts in each row."""
    made = {}

    def of(name):
        if name not in made:
            model, folder = zoo_model(name), zoo_folder(name) / "weights"
            rendered = model.render(CORRUPTED.exchanges)
            corrupted = torch.tensor([one.ids for one in rendered])
            clean = torch.tensor([one.ids for one in model.render(CLEAN.exchanges)])
            signs = [1 if one.label == "aligned" else -1 for one in CORRUPTED.exchanges]
            rows = [(*one.span("response"), sign) for one, sign in zip(rendered, signs, strict=True)]
            bridge = theirs.bridge_of(folder, load_tokenizer(str(folder)))
            made[name] = model, bridge, corrupted, clean, rows
        return made[name]

    return of


def cells_of(model, sites, places=None):
    """A patch of the clean run at each site, at one place at a time or at all."""
    read = read_tokens(model, CLEAN, sites=sites)
    scopes = ["all"] if places is None else [positions(place, within="all") for place in range(places)]
    return grid(lambda at, scope: patch(read.at(at), at=at, scope=scope), at=sites, scope=scopes)


def agree(ours, expected):
    """Within float32, in which theirs stores the metric."""
    expected = expected.numpy()
    assert ours.shape == expected.shape
    largest = np.abs(expected).max()
    assert largest > 1e-3
    assert np.abs(ours - expected).max() < 1e-5 * largest + 1e-6
    assert np.abs(ours[::-1] - expected).max() > 0.05 * largest  # another layer's effects are told apart


@NAMES
@pytest.mark.parametrize("part", theirs.BY_PLACE)
def test_patches_by_layer_and_place_are_theirs(name, part, both):
    model, bridge, corrupted, clean, rows = both(name)
    cells = cells_of(model, [Site(layer, part) for layer in range(zoo.LAYERS)], corrupted.shape[1])
    effects = sweep(model, CORRUPTED, cells).effects("harm margin").mean(-1)
    expected = theirs.effects_by_place(bridge, part, corrupted, clean, rows)
    agree(effects.reshape(zoo.LAYERS, -1), expected)


@NAMES
def test_patches_by_layer_and_head_are_theirs(name, both):
    model, bridge, corrupted, clean, rows = both(name)
    sites = [Site(layer, "z", head) for layer in range(zoo.LAYERS) for head in range(HEADS)]
    effects = sweep(model, CORRUPTED, cells_of(model, sites)).effects("harm margin").mean(-1)
    expected = theirs.effects_by_head(bridge, corrupted, clean, rows)
    agree(effects.reshape(zoo.LAYERS, HEADS), expected)


@NAMES
def test_the_screen_is_their_attribution_patching(name, both):
    model, bridge, corrupted, clean, rows = both(name)
    expected, places = theirs.attributions(bridge, corrupted, clean, rows), corrupted.shape[1]
    sites = {Site(layer, "mlp_out"): ("mlp_out", layer, None) for layer in range(zoo.LAYERS)}
    sites |= {
        Site(layer, "z", head): ("attn_head_out", layer, head)
        for layer in range(zoo.LAYERS)
        for head in range(HEADS)
    }
    effects = attribution(model, CORRUPTED, cells_of(model, list(sites), places)).effects.mean(-1)
    scores = [
        [expected[kind, layer, place, head] for place in range(places)]
        for kind, layer, head in sites.values()
    ]
    agree(effects.reshape(len(sites), places), torch.tensor(scores, dtype=torch.float64))


@NAMES
def test_the_screen_of_the_stream_is_what_autograd_alone_gives(name, both, zoo_folder):
    model, _, corrupted, clean, rows = both(name)
    cells = cells_of(model, [Site(layer, "resid_pre") for layer in range(zoo.LAYERS)], corrupted.shape[1])
    effects = attribution(model, CORRUPTED, cells).effects.mean(-1)
    expected = theirs.slopes_before_blocks(
        zoo_folder(name) / "weights", ARCHITECTURES[name], corrupted, clean, rows
    )
    agree(effects.reshape(zoo.LAYERS, -1), expected)
