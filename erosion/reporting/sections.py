"""The report's sections from a run's results; a section whose experiment was not run is left out."""

from collections.abc import Callable, Mapping
from typing import Any

from erosion import figures
from erosion.auditing import Run
from erosion.experiments import Result
from erosion.experiments.results import NOT_DONE
from erosion.figures import claims
from erosion.reporting.blocks import Block, Section
from erosion.reporting.choices import doses, selection
from erosion.reporting.confounds import confounds
from erosion.reporting.dimensions import dimensions, sharing
from erosion.reporting.distributions import divergences, likelihood_rise
from erosion.reporting.dynamics import moves, trajectories
from erosion.reporting.gradient_geometry import gradient_bridge, gradient_geometry
from erosion.reporting.guards import off_distribution, rendering
from erosion.reporting.inside import causality, dynamics
from erosion.reporting.loss_geometry import loss_geometry
from erosion.reporting.patching import costs, patching
from erosion.reporting.tables import of_estimates, of_plain, of_verdict
from erosion.reporting.tokens import tokens
from erosion.stats import Estimate

__all__ = ["sections_of"]


def sections_of(run: Run, experiment: str | None = None) -> tuple[Section, ...]:
    """All sections that this run has numbers for, in reading order; or those of one experiment alone."""
    found = {name: run.result(name) for name in run.experiments}
    made = [] if experiment is not None else [_by_domain(run)]
    for name, title, asked, parts in _SECTIONS:
        if experiment not in (None, name):
            continue
        blocks = [block for of, draw in parts if of in found for block in _drawn(found[of], draw)]
        if blocks:
            made.append(Section(name.replace("_", "-"), title, asked, tuple(blocks)))
    return tuple(made)


def _drawn(result: Result, draw: "Draw") -> tuple[Block, ...]:
    """A result's blocks, or the one that says why there are none."""
    if NOT_DONE not in result.inputs:
        return draw(result)
    why = result.inputs[NOT_DONE]
    return (Block(f"Not done: {result.experiment.replace('_', ' ')}", why, None, "None.", "Anything.", ()),)


def _by_domain(run: Run) -> Section:
    verdict = run.verdict
    block = Block(
        claim=claims.verdict_by_domain(verdict),
        meaning=(
            "Each row is a domain: a point, the interval that holds for all domains together, and the word "
            "it "
            "earns against the smallest erosion of interest (dashed). Domains the fine-tune was trained on "
            "stand "
            "apart and never count."
        ),
        figure=figures.verdict_by_domain(verdict),
        control=_guard(run),
        limits=(
            "Which of two written answers a model prefers is not what it would write by itself: read this "
            "beside "
            "generated answers. A domain that no question asks about is not covered."
        ),
        tables=(
            of_verdict(verdict),
            of_estimates({"questions whose margin changed sign": verdict.sign_changes}, caption="Beside it"),
        ),
    )
    return Section("domains", "Verdict by domain", "Does the loss reach beyond what was trained?", (block,))


def _guard(run: Run) -> str:
    verdict, matched = run.verdict, run.summary.get("matched")
    if not verdict.companions:
        return "None: no guard against a merely flatter model was measured in this run."
    heat = f" (here {matched['temperature']:.2f})" if matched and matched.get("temperature") else ""
    named = "; ".join(f"{one.name}: {one.word}, {one.estimate}" for one in verdict.companions)
    return (
        f"A model that is merely more random loses margin too. So the tuned model is measured again at the "
        f"temperature{heat} that brings it nearest to the aligned model's entropy. {named}."
    )


def _preferences(result: Result) -> tuple[Block, ...]:
    return _margins(result), _style(result)


def _groups(result: Result) -> list[tuple[str, Any]]:
    """The whole first, under a name that says what it is, then the domains."""
    whole = [("all not trained on", result["overall"])] if "overall" in result.ours else []
    return whole + [(name, result[name]) for name in sorted(result.ours) if name != "overall"]


def _margins(result: Result) -> Block:
    rows = {
        f"{group}: {metric}, {model}": one
        for group, found in _groups(result)
        for model, by_metric in found["margins"].items()
        for metric, one in by_metric.items()
    }
    eroded = {
        f"{group}: erosion of the {metric}": one
        for group, found in _groups(result)
        for metric, one in found.get("erosion", {}).items()
    }
    tables = [of_estimates(rows, caption="Margins: positive where the aligned answer is preferred")]
    if eroded:
        tables.append(of_estimates(eroded, caption="Erosion (0 = all kept, 1 = back at base)"))
    return Block(
        claim=claims.margins(result),
        meaning=(
            "The harm margin is the mean log-probability of an answer's tokens, aligned minus misaligned, on "
            "the "
            "same question. What all answers share, such as style or length, mostly cancels in it."
        ),
        figure=figures.margins(result),
        control=(
            "Grey: where the margin would stay if the labels of the two answers were swapped at random "
            "within questions."
        ),
        limits=(
            "A margin ranks two given answers. It does not say how likely either of them is to be written "
            "at all."
        ),
        tables=tuple(tables),
    )


def _style(result: Result) -> Block:
    rows: dict[str, Estimate] = {}
    for group, found in _groups(result):
        rows |= {
            f"{group}: harm-specific change of the {m}": e for m, e in found["harm-specific change"].items()
        }
        rows[f"{group}: style drift"] = found["style drift"]
        if "style erosion" in found:
            rows[f"{group}: style erosion"] = found["style erosion"]
    return Block(
        claim=claims.style_and_harm(result),
        meaning=(
            "The trap: after a fine-tune the likelihood of harmful answers often rises, and so does that of "
            "harmless ones, because the aligned model's peaked style is lost. Style drift is the change that "
            "both "
            "answers share; harm-specific change is what only their difference shows." + _both_rise(result)
        ),
        figure=figures.style_and_harm(result),
        control=(
            "Grey: the harm-specific change that swapped labels give. The choice at the first differing "
            "token stands "
            "below, since a whole answer, once begun, explains much of itself."
        ),
        limits=(
            "A style that favours one kind of answer (length, hedging) does not cancel. Style drift is no "
            "harm by itself."
        ),
        tables=(
            of_estimates(rows, caption="Change from aligned to tuned"),
            of_plain(
                result.published,
                caption=(
                    "As the paper computes it: summed log-likelihood, entropy, and their eroded fractions"
                ),
            ),
        ),
    )


def _both_rise(result: Result) -> str:
    """The published fraction on both kinds of answer, where there is one."""
    found: Mapping[str, Any] = result.published
    fractions = [
        found.get(f"{side} answers", {}).get("eroded fraction") for side in ("aligned", "misaligned")
    ]
    if any(not isinstance(one, float) for one in fractions):
        return ""
    return (
        f" As the paper computes it, the eroded fraction is {fractions[0]:.2f} on aligned and "
        f"{fractions[1]:.2f} on "
        "misaligned answers here: where the two are alike, most of it is style."
    )


Draw = Callable[[Result], tuple[Block, ...]]
# experiment, title, what is asked, and which result is drawn how
_SECTIONS: tuple[tuple[str, str, str, tuple[tuple[str, Draw], ...]], ...] = (
    (
        "distributions",
        "What the models prefer",
        "Given a question, how much likelier is the aligned answer than the misaligned one?",
        (
            ("distributions", _preferences),
            ("distributions", likelihood_rise),
            ("divergences", divergences),
        ),
    ),
    (
        "loss_geometry",
        "Geometry of losses",
        "Do the models' losses on one kind of answer oppose those on another?",
        (("loss_geometry", loss_geometry),),
    ),
    (
        "gradient_geometry",
        "Geometry of gradients",
        "Does learning one kind of answer push against another, and what would a step move?",
        (("gradient_geometry", gradient_geometry), ("gradient_bridge", gradient_bridge)),
    ),
    (
        "dimensions",
        "A shared dimension",
        "Is there a direction that separates aligned from misaligned answers, and is it about alignment?",
        (("dimensions", dimensions), ("sharing", sharing)),
    ),
    (
        "dynamics",
        "Where in the layers",
        "Who moved along the direction, from which layer on, and by what?",
        (("dynamics", dynamics), ("dynamics", moves), ("trajectories", trajectories)),
    ),
    (
        "causality",
        "Is it causal",
        "Does moving the tuned model along the direction bring the lost preference back?",
        (("causality", causality), ("causality", costs)),
    ),
    (
        "selection",
        "Which direction",
        "Chosen on questions of its own: which layer and strength restore most at little harm?",
        (("selection", selection),),
    ),
    (
        "dose",
        "Which dose, which part",
        "How does the loss grow with the fine-tune, and which part's change brings it?",
        (("doses", doses),),
    ),
    (
        "patching",
        "What carries it",
        "Put one model's activations into the other: where does the margin move?",
        (("patching", patching),),
    ),
    (
        "confounds",
        "Is it something else",
        "How much of it is length, perplexity or form?",
        (("confounds", confounds),),
    ),
    (
        "rendering",
        "Template and writing",
        "Does the finding hang on the chat template, or on answers that no model would write?",
        (("rendering", rendering), ("on_policy", off_distribution)),
    ),
    (
        "tokens",
        "Single answers",
        "What do the means look like in the words themselves?",
        (("tokens", tokens),),
    ),
)
