"""Readings of the few answers that are shown token by token, in the tuned model's turn."""

from typing import Any

from erosion.auditing.bench import Bench
from erosion.auditing.readings.edits import decided
from erosion.auditing.readings.formats import HEADS, PLAIN
from erosion.auditing.readings.responses import scores
from erosion.auditing.readings.slopes import targeted
from erosion.auditing.readings.vectors import activations, directions
from erosion.directions import Direction, random_direction
from erosion.errors import BadModel
from erosion.experiments.tokens import TokenMeasures, choose_shown
from erosion.gradients import TokenInfluence, margin_target, token_influence
from erosion.metrics import read_head_states, token_divergences
from erosion.models import Model
from erosion.moments import Moments
from erosion.prompts import Contrast
from erosion.sites import Site
from erosion.token_projections import TokenProjections, project_tokens

__all__ = ["shown", "token_measures"]

_MODELS = ("tuned", "aligned")  # the tuned model is the one in memory


def shown(bench: Bench) -> dict[str, str]:
    """Question -> why it is shown."""
    scored = {name: scores(bench, name) for name in _MODELS}
    return choose_shown(scored, bench.prepared.parts["held_out"], bench.prepared.config.shown)


def token_measures(bench: Bench, name: str) -> TokenMeasures | None:
    """Every measure of every token of the answers that are shown."""
    if name != "tuned":
        return None
    asked = bench.prepared.contrast.only(shown(bench), name="shown")
    v = directions(bench)
    kinds = {"position": v, "random": _random(bench, v)}
    along: dict[str, dict[str, TokenProjections]] = {kind: {} for kind in kinds}
    heads = {}
    for model in _MODELS:
        for kind, one in kinds.items():
            along[kind][model] = _projected(bench, f"token-{kind}", model, asked, one)
        heads[model] = bench.kept(
            "token-heads",
            model,
            lambda one: read_head_states(one, asked),
            HEADS,
            shown=asked.questions,
        )
    return TokenMeasures(
        along,
        {kind: _middles(bench, one) for kind, one in kinds.items()},
        {model: scores(bench, model) for model in _MODELS},
        token_divergences(heads["tuned"], heads["aligned"]),
        _influence(bench, asked),
    )


def _projected(
    bench: Bench, step: str, name: str, asked: Contrast, along: dict[Site, Direction]
) -> TokenProjections:
    found = bench.kept(
        step,
        name,
        lambda model: project_tokens(model, asked, along).to_json(),
        PLAIN,
        shown=asked.questions,
        **decided(bench),
    )
    return TokenProjections.from_json(found)


def _influence(bench: Bench, asked: Contrast) -> TokenInfluence | str:
    """In the aligned model, on the margin of other questions; or why there is none."""
    others = targeted(bench, besides=asked.questions)
    if not others.questions:
        return "every held-out question is shown, so there is no other whose margin could move"

    def make(model: Model) -> dict[str, Any]:
        try:
            return token_influence(model, asked, target=margin_target(others)).to_json()
        except BadModel as error:
            return {"why": str(error)}

    found = bench.kept(
        "token-influence", "aligned", make, PLAIN, shown=asked.questions, target=others.questions
    )
    return found["why"] if "why" in found else TokenInfluence.from_json(found)


def _middles(bench: Bench, v: dict[Site, Direction]) -> dict[Site, float]:
    """Midway between the mean aligned and the mean misaligned answer of the fit split, in fitted gaps."""
    fit = activations(bench, "aligned").of(bench.prepared.parts["fit"])
    return {
        site: float(
            sum(side[site].double().mean(0) @ one.vector.double() for side in (fit.aligned, fit.misaligned))
            / (2 * one.scale)
        )
        for site, one in v.items()
    }


def _random(bench: Bench, v: dict[Site, Direction]) -> dict[Site, Direction]:
    """One covariance-matched random direction for each site, of the same scale."""
    fit = activations(bench, "aligned").of(bench.prepared.parts["fit"])
    clouds = {site: Moments.of(fit.values[site]) for site in v}
    return random_direction(like=v, seed=bench.prepared.config.seed, covariance=clouds)
