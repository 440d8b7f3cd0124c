"""Readings that need a backward pass: inner products of gradients, their bridge to v, and real steps."""

from collections.abc import Collection

import numpy as np

from erosion.auditing.bench import Bench, Format
from erosion.auditing.readings.vectors import directions, selected
from erosion.gradients import (
    Bridge,
    GradientProducts,
    Steps,
    Target,
    adam_step,
    gradient_bridge,
    gradient_products,
    gradient_sketches,
    load_bridge,
    load_gradient_products,
    load_steps,
    margin_target,
    projection_target,
    real_steps,
    sgd_step,
)
from erosion.models import Model
from erosion.prompts import Contrast, Exchange

__all__ = ["bridges", "products", "steps", "targeted"]

_EXACT = 300_000_000  # parameters up to which inner products are exact; sketches beyond
_RANK = 32
_STEPPED = 8  # real steps in each group
_TARGETED = 20  # held-out questions whose mean a step should move

PRODUCTS = Format[GradientProducts](
    lambda found, path: found.save(path), load_gradient_products, "safetensors"
)
BRIDGE = Format[Bridge](lambda found, path: found.save(path), load_bridge, "safetensors")
STEPS = Format[Steps](lambda found, path: found.save(path), load_steps, "safetensors")


def products(bench: Bench, name: str) -> GradientProducts:
    """Inner products of the gradients of a sample of each group's answers, at every linear map."""
    sampled, seed = _sample(bench, bench.prepared.config.gradient_questions), bench.prepared.config.seed

    def make(model: Model) -> GradientProducts:
        if bench.prepared.shapes[name].n_parameters <= _EXACT:
            return gradient_products(model, sampled)
        return gradient_sketches(model, sampled, rank=_RANK, seed=seed).products()

    return bench.kept("gradients", name, make, PRODUCTS, sample=[e.id for e in sampled], seed=seed)


def bridges(bench: Bench, name: str) -> tuple[Bridge, ...] | None:
    """What a step of SGD on each sampled answer would move in the aligned model, to first order."""
    if name != "aligned":
        return None
    sampled = _sample(bench, bench.prepared.config.gradient_questions)
    return tuple(
        bench.kept(
            f"bridge-{key}",
            name,
            lambda model, target=target: gradient_bridge(model, sampled, target=target),
            BRIDGE,
            sample=[e.id for e in sampled],
            target=[target.name, [e.id for e in target.exchanges]],
        )
        for key, target in _targets(bench).items()
    )


def steps(bench: Bench, name: str) -> tuple[Steps, ...] | None:
    """What real steps of SGD, and Adam's first, did move, from the aligned model's weights each time."""
    predicted = bridges(bench, name)
    if predicted is None:
        return None
    sampled = _sample(bench, min(_STEPPED, bench.prepared.config.gradient_questions))
    taken = []
    for (key, target), bridge in zip(_targets(bench).items(), predicted, strict=True):
        steps_of = {"sgd": sgd_step(bridge.rate()), "adam": adam_step(_adam_rate(bench, bridge))}
        for kind, step in steps_of.items():
            taken.append(
                bench.kept(
                    f"step-{key}-{kind}",
                    name,
                    lambda model, target=target, step=step: real_steps(
                        model, sampled, target=target, step=step
                    ),
                    STEPS,
                    sample=[e.id for e in sampled],
                    target=[target.name, [e.id for e in target.exchanges]],
                    rate=step.rate,
                )
            )
    return tuple(taken)


def _adam_rate(bench: Bench, bridge: Bridge) -> float:
    """A rate at which Adam's first step, which moves every weight alike, is about 1e-3 of the weights."""
    return float(1e-3 * bridge.weight_norm / np.sqrt(bench.prepared.shapes["aligned"].n_parameters))


def _targets(bench: Bench) -> dict[str, Target]:
    """The projection at the selected layer and the harm margin, on some held-out questions."""
    on = targeted(bench)
    return {
        "projection": projection_target(directions(bench)[selected(bench)], on=on),
        "margin": margin_target(on),
    }


def targeted(bench: Bench, *, besides: Collection[str] = ()) -> Contrast:
    """The held-out questions whose mean a step should move."""
    held_out = [q for q in bench.prepared.parts["held_out"] if q not in besides]
    return bench.prepared.contrast.only(_drawn(held_out, _TARGETED, bench.prepared.config.seed))


def _sample(bench: Bench, most: int) -> tuple[Exchange, ...]:
    """Both answers to some questions of the fit split and of each trained domain, and further answers."""
    prepared = bench.prepared
    trained = [q for q, domain in prepared.domains.items() if domain in prepared.config.trained_domains]
    chosen = {
        *_drawn(prepared.parts["fit"], most, prepared.config.seed),
        *_drawn(trained, most, prepared.config.seed),
    }
    part: Contrast = prepared.contrast.only(chosen)
    return (*part.exchanges, *part.others)


def _drawn(questions: tuple[str, ...] | list[str], most: int, seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(questions))[:most]
    return [questions[i] for i in sorted(order)]
