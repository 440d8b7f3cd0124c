"""Readings under edits: margins in sweeps, what edits cost, and patches between models.

Sweeps of many edits are measured on at most ``causal_questions`` held-out questions, a step for each layer.
"""

from collections.abc import Mapping
from typing import Any

from erosion.activations import Activations
from erosion.auditing.bench import Bench, Format
from erosion.auditing.readings.vectors import activations, directions, selected
from erosion.errors import BadModel
from erosion.experiments import causal_cell, causal_damage, patched, within_run
from erosion.experiments.causal_cells import edits_of
from erosion.experiments.patching import PAIRS
from erosion.experiments.patching_cells import donor_sites
from erosion.experiments.results import Result, load_result
from erosion.models import Model
from erosion.models.proofs import probe_logits
from erosion.sites import Site
from erosion.sweeps import Sweep, grid, load_sweep, sweep
from erosion.token_activations import TokenActivations, load_token_activations, read_tokens

__all__ = ["SWEEP", "cells", "damages", "decided", "domain_cells", "donors", "patches", "within"]

SWEEP = Format[Sweep](lambda found, path: found.save(path), load_sweep)
TOKENS = Format[TokenActivations](lambda found, path: found.save(path), load_token_activations, "safetensors")
RESULT = Format[Result](lambda found, path: found.save(path), load_result)


def cells(bench: Bench, name: str) -> Mapping[Site, Sweep] | None:
    """Margins of aligned and tuned under every edit along v, and under the controls."""
    if name == "base":
        return None
    sampling, training = bench.prepared.config.sampling, _training(bench)
    return {
        site: bench.kept(
            f"cell-{site}",
            name,
            lambda model, direction=direction: causal_cell(
                model,
                bench.prepared.edited,
                direction,
                aligned=training,
                draws=sampling.random_directions,
                seed=sampling.seed,
            ),
            SWEEP,
            **decided(bench),
        )
        for site, direction in directions(bench).items()
    }


def domain_cells(bench: Bench, name: str) -> Sweep | None:
    """Margins of aligned and tuned under the edits along v at the selected layer, all held-out questions."""
    if name == "base":
        return None
    tested, training = bench.prepared.tested, _training(bench)
    made = edits_of(directions(bench)[selected(bench)], training)
    return bench.kept(
        "cell-domains",
        name,
        lambda model: sweep(model, tested, grid(lambda edit: made[edit], edit=list(made))),
        SWEEP,
        at=str(selected(bench)),
        **decided(bench),
    )


def damages(bench: Bench, name: str) -> Result | None:
    """What the edits along v cost the tuned model on neutral texts, layer by layer."""
    prepared = bench.prepared
    if name != "tuned" or not prepared.texts:
        return None
    sampling, training = prepared.config.sampling, _training(bench)

    def make(model: Any) -> Result:
        found = causal_damage(model, prepared.texts, directions(bench), aligned=training, sampling=sampling)
        return Result("damage", {}, {}, found)

    return bench.kept("damage", name, make, RESULT, texts=prepared.texts_hash, **decided(bench))


def donors(bench: Bench, name: str) -> None:
    """Every token's activations of the edited questions, a file for each layer, for patches."""
    for site in bench.prepared.sites:
        _donor(bench, name, site)


def _donor(bench: Bench, name: str, site: Site) -> TokenActivations:
    edited = bench.prepared.edited
    return bench.kept(
        f"donor-{site}",
        name,
        lambda model: read_tokens(model, edited, sites=donor_sites(site.layer, n_heads=_heads(model))),
        TOKENS,
        edited=edited.questions,
    )


def _heads(model: Model) -> int:
    """How many heads can be read apart: none inside a fused projection that carries an adapter."""
    try:
        with model.hooked([(Site(0, "z", 0), lambda h: None)]):
            probe_logits(model.hf)
    except BadModel:
        return 0
    return model.anatomy.n_heads


def patches(bench: Bench, name: str) -> Mapping[str, Mapping[Site, Sweep]] | None:
    """Pair -> layer -> margins under every patch: done in the tuned model's turn, when all were read."""
    if name != "tuned":
        return None
    found: dict[str, Mapping[Site, Sweep]] = {}
    for pair, (into, donor) in PAIRS.items():
        if donor in bench.names:
            found[pair] = {site: _patched(bench, pair, into, donor, site) for site in bench.prepared.sites}
    return found


def _patched(bench: Bench, pair: str, into: str, donor: str, site: Site) -> Sweep:
    return bench.kept(
        f"patch-{pair}-{site}",
        into,
        lambda model: patched(
            model,
            bench.prepared.edited,
            _donor(bench, donor, site),
            directions(bench)[site],
            aligned=_training(bench),
            sampling=bench.prepared.config.sampling,
        ),
        SWEEP,
        donor=bench.prepared.inputs(donor),
        **decided(bench),
    )


def within(bench: Bench, name: str) -> Mapping[Site, Sweep] | None:
    """Misaligned answers when the run on aligned answers is put into theirs, in aligned and in tuned."""
    if name == "base":
        return None
    seed = bench.prepared.config.seed
    return {
        site: bench.kept(
            f"within-{site}",
            name,
            lambda model, site=site: within_run(
                model,
                bench.prepared.edited,
                _donor(bench, name, site),
                directions(bench)[site],
                seed=seed,
            ),
            SWEEP,
            **decided(bench),
        )
        for site in bench.prepared.sites
    }


def _training(bench: Bench) -> Activations:
    return activations(bench, "aligned").of(bench.prepared.parts["fit"])


def decided(bench: Bench) -> dict[str, Any]:
    """What decides a sweep beside the model: direction, split, questions and draws."""
    prepared, sampling = bench.prepared, bench.prepared.config.sampling
    return {
        "aligned": prepared.inputs("aligned"),
        "parts": prepared.parts,
        "edited": prepared.edited.questions,
        "draws": [sampling.random_directions, sampling.resamples, sampling.seed],
    }
