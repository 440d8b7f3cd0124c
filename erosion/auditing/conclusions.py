"""From readings to results: each function gives one experiment what it asks for, from the run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from erosion import experiments
from erosion.auditing import readings
from erosion.auditing.bench import Bench
from erosion.errors import BadInput
from erosion.experiments import Result
from erosion.experiments.confounds import paired_projections, paired_traits
from erosion.experiments.dynamics import Beside
from erosion.experiments.token_reads import PAIRS, TokenReads
from erosion.metrics import (
    Continuations,
    HeadStates,
    Responses,
    Scores,
    choice_margin_of,
    harm_margin_of,
    token_divergences,
)
from erosion.shapes import Array

__all__ = [
    "causality",
    "confounds",
    "distributions",
    "divergences",
    "doses",
    "dynamics",
    "gradient_bridge",
    "gradient_geometry",
    "loss_geometry",
    "on_policy",
    "patching",
    "rendering",
    "selection",
    "sharing",
    "tokens",
    "trajectories",
]


def distributions(bench: Bench) -> Result:
    """Margins, erosion and style drift."""
    prepared, config = bench.prepared, bench.prepared.config
    return experiments.distributions(
        bench.each(readings.scores),
        prepared.domains,
        trained_domains=config.trained_domains,
        benign=bench.each(readings.benign_scores) or None,
        sampling=config.sampling,
    )


def divergences(bench: Bench) -> Result:
    """How far the models' distributions lie apart, token by token."""
    prepared = bench.prepared
    benign = bench.each(readings.benign_heads)
    return experiments.divergences(
        _reads(bench.each(readings.scores), bench.each(readings.heads), bench.each(readings.continuations)),
        prepared.domains,
        trained_domains=prepared.config.trained_domains,
        benign=_reads(bench.each(readings.benign_scores), benign, {}) if benign else None,
    )


def _reads(
    scored: Mapping[str, Responses],
    heads: Mapping[str, HeadStates],
    continuations: Mapping[str, Continuations],
) -> TokenReads:
    """Every pair of models compared on the same tokens."""
    compared = {}
    for pair in PAIRS:
        one, _, other = pair.partition(" from ")
        if one in heads and other in heads:
            compared[pair] = token_divergences(heads[one], heads[other])
    return TokenReads(scored, compared, continuations)


def loss_geometry(bench: Bench) -> Result:
    """Cosines of loss vectors."""
    prepared, config = bench.prepared, bench.prepared.config
    benign = None
    if prepared.benign is not None:
        domains = dict(zip(prepared.benign.questions, prepared.benign.domains, strict=True))
        benign = (bench.each(readings.benign_scores), domains)
    return experiments.loss_geometry(
        bench.each(readings.every_score),
        prepared.domains,
        trained_domains=config.trained_domains,
        benign=benign,
        sampling=config.sampling,
    )


def gradient_geometry(bench: Bench) -> Result:
    """Cosines of per-example gradients."""
    config = bench.prepared.config
    return experiments.gradient_geometry(
        bench.each(readings.products), trained_domains=config.trained_domains, sampling=config.sampling
    )


def gradient_bridge(bench: Bench) -> Result:
    """What a step on each answer would move, and what real steps did."""
    config = bench.prepared.config
    return experiments.bridged_steps(
        readings.bridges(bench, "aligned") or (),
        readings.steps(bench, "aligned") or (),
        trained_domains=config.trained_domains,
        sampling=config.sampling,
    )


def sharing(bench: Bench) -> Result:
    """Whether the first component is shared with harmless data as well."""
    benign = {
        name: found
        for name, reading in (("competence", readings.benign_last), ("neutral texts", readings.texts))
        if (found := bench.each(reading))
    }
    return experiments.sharing(
        bench.each(readings.last),
        domains=bench.prepared.domains,
        trained_domains=bench.prepared.config.trained_domains,
        benign=benign or None,
    )


def dynamics(bench: Bench) -> Result:
    """Positions, the decomposition of the move, and where it begins."""
    prepared = bench.prepared
    beside = Beside(
        neutral={k: v for k, v in bench.each(readings.texts).items() if k != "base"} or None,
        benign=bench.each(readings.benign_activations) or None,
        writes=bench.each(readings.writes),
        at=readings.selected(bench),
    )
    return experiments.dynamics(
        bench.each(readings.activations),
        readings.directions(bench),
        held_out=prepared.parts["held_out"],
        sampling=prepared.config.sampling,
        beside=beside,
    )


def trajectories(bench: Bench) -> Result:
    """Where checkpoints of the training run stood, and when it changed."""
    points = readings.waypoints(bench, "tuned") or {}
    direction = readings.directions(bench)[readings.selected(bench)]
    return experiments.trajectories(points, direction, sampling=bench.prepared.config.sampling)


def causality(bench: Bench) -> Result:
    """Edits along the direction, layer by layer, by domain, and what they cost."""
    prepared, found = bench.prepared, bench.each(readings.cells)
    domains = bench.each(readings.domain_cells)
    beside: dict[str, Any] = {
        "selected layer": readings.selected(bench).layer,
        "domains": experiments.causal_domains(domains["tuned"], domains["aligned"], prepared.domains),
        "noise": readings.noise(bench, "tuned"),
    }
    damage = readings.damages(bench, "tuned")
    if damage is not None:
        beside["damage"] = damage.ours
    return experiments.causality(
        found["tuned"], found["aligned"], sampling=prepared.config.sampling, beside=beside
    )


def patching(bench: Bench) -> Result:
    """Patches between the models, and between runs of one model."""
    prepared = bench.prepared
    base = None
    if "base" in bench.names:
        scored = readings.scores(bench, "base")
        of = {scores.name: scores for scores in (harm_margin_of(scored), choice_margin_of(scored))}
        base = {name: _at(scores, prepared.edited.questions) for name, scores in of.items()}
    return experiments.patching(
        readings.patches(bench, "tuned") or {},
        base=base,
        within=bench.each(readings.within),
        sampling=prepared.config.sampling,
    )


def selection(bench: Bench) -> Result:
    """The table of candidates, the choice, and what it does on held-out questions."""
    found = readings.tried(bench, "tuned")
    if found is None:
        raise BadInput("Selection needs neutral texts and questions of a select split: give both.")
    return experiments.selection(found, sampling=bench.prepared.config.sampling)


def doses(bench: Bench) -> Result:
    """Margins by dose of the fine-tune, and what each part restores."""
    found = dict(readings.dose_sweeps(bench, "tuned") or {})
    if "why" in found:
        raise BadInput(f"The fine-tune has no doses: {found['why']}")
    return experiments.doses(
        found["by dose"],
        found["restored"],
        found["grafted"],
        found["changes"],
        competence=found.get("competence"),
        sampling=bench.prepared.config.sampling,
    )


def _at(scores: Scores, questions: Sequence[str]) -> Array:
    """A metric on some questions, in their order."""
    by_question = dict(zip(scores.questions, scores.values, strict=True))
    return np.array([by_question[q] for q in questions])


def rendering(bench: Bench) -> Result:
    """The same margins in a plain template."""
    prepared = bench.prepared
    trained = prepared.config.trained_domains
    judged = {q: domain for q, domain in prepared.domains.items() if domain not in trained}
    return experiments.rendering_guards(
        bench.each(readings.scores),
        bench.each(readings.plain_scores),
        judged or prepared.domains,
        special=bench.each(readings.special_rows),
        sampling=prepared.config.sampling,
    )


def on_policy(bench: Bench) -> Result:
    """The written answers against each model's own."""
    prepared = bench.prepared
    return experiments.off_distribution(
        bench.each(readings.own_answers),
        prepared.domains,
        trained_domains=prepared.config.trained_domains,
    )


def confounds(bench: Bench) -> Result:
    """What of separation and change survives length, perplexity and form."""
    prepared, scored = bench.prepared, bench.each(readings.scores)
    tested, directions = prepared.tested, readings.directions(bench)
    under = "base" if "base" in scored else "aligned"
    margin = {}
    for name in ("aligned", "tuned"):
        found = harm_margin_of(scored[name])
        margin[name] = dict(zip(found.questions, found.values, strict=True))
    lost = np.array([margin["aligned"][q] - margin["tuned"][q] for q in tested.questions])
    separation = paired_projections(
        bench.each(readings.activations)["aligned"], directions, questions=tested.questions
    )
    return experiments.confounds(
        {"separation along the direction": separation, "harm-specific change": lost},
        paired_traits(tested, scored[under], under=under),
        tested.questions,
        labels=[site.layer for site in directions],
        sampling=prepared.config.sampling,
    )


def tokens(bench: Bench) -> Result:
    """A few answers token by token."""
    measured = bench.each(readings.token_measures)["tuned"]
    return experiments.tokens(
        measured, readings.shown(bench), asked=bench.prepared.contrast, at=readings.selected(bench)
    )
