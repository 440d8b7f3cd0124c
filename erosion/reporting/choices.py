"""What the report says of choices: which direction, how strong; which dose, and which part did it."""

from typing import Any

from erosion.experiments import Result
from erosion.figures import choices as figures
from erosion.figures import choices_claims as claims
from erosion.figures import doses as dose_figures
from erosion.reporting.blocks import Block
from erosion.reporting.tables import of_bands, of_estimates, of_plain

__all__ = ["doses", "selection"]


def selection(result: Result) -> tuple[Block, ...]:
    """The table, the strength, and what the choice does on held-out questions."""
    blocks = [_candidates(result)]
    if "strengths" in result.ours:
        blocks.append(_strengths(result))
    if "held out" in result.ours:
        blocks.append(_reported(result))
    return tuple(blocks)


def _candidates(result: Result) -> Block:
    rows: dict[str, Any] = {}
    for row in result["rows"]:
        name = f"L{row['layer']}, {row['span']}"
        for metric in ("harm margin", "choice margin"):
            rows[f"{name}: ablated in aligned, {metric}"] = row["ablation"][metric]
            rows[f"{name}: added to tuned, {metric}"] = row["addition"][metric]
        rows[f"{name}: KL"] = row["kl"]
    failed = {f"L{r['layer']}, {r['span']}": "; ".join(r["fails"]) or "passes" for r in result["rows"]}
    return Block(
        claim=claims.candidates(result),
        meaning=(
            "A direction for every layer and span, judged on questions of its own: what the aligned model "
            "loses when "
            "it can no longer write along it, what the tuned model gains when the fitted gap is added, and "
            "how far "
            "neutral texts move. Chosen is the largest loss among those with a KL of at most "
            f"{result.inputs['most KL']:g}, a gain, and a layer before the last fifth (after arXiv "
            "2406.11717)."
        ),
        figure=figures.candidates(result),
        control="Every other candidate; the held-out questions below were not looked at.",
        limits="The largest of several is flattered by chance: believe the held-out number, not this one.",
        tables=(of_estimates(rows, caption="Every candidate"), of_plain(failed, caption="What each fails")),
    )


def _strengths(result: Result) -> Block:
    rows: dict[str, Any] = {}
    for row in result["strengths"]:
        name = f"strength {row['by']:g}"
        rows |= {f"{name}: {metric}": one for metric, one in row["gain"].items()}
        rows[f"{name}: KL"] = row["kl"]
    return Block(
        claim=claims.strengths(result),
        meaning=(
            "The chosen direction is added to the tuned model at several strengths, in units of the fitted "
            "gap. "
            "Chosen is the largest gain that leaves neutral texts within the KL."
        ),
        figure=figures.strengths(result),
        control="KL on neutral texts, with the limit dashed.",
        limits="Chosen and shown on the same questions; the number to believe stands below.",
        tables=(of_estimates(rows, caption="Every strength, select split"),),
    )


def _reported(result: Result) -> Block:
    rows = {
        f"{metric}: {name}": one
        for metric, found in result["held out"].items()
        for name, one in found.items()
    }
    return Block(
        claim=claims.reported(result),
        meaning=(
            "The chosen direction and strength on held-out questions: on tuned, on aligned, and the "
            "difference, which "
            "is what counts."
        ),
        figure=figures.reported(result),
        control=(
            f"Grey, under the difference: {result.inputs['random directions']} random directions at the same "
            "layer and strength."
        ),
        limits="One direction, one strength: another split may choose another.",
        tables=(of_estimates(rows, caption="The chosen steering on held-out questions"),),
    )


def doses(result: Result) -> tuple[Block, ...]:
    """The dose curve, then the parts."""
    return _dose(result, "harm margin"), _dose(result, "choice margin"), _parts(result)


def _dose(result: Result, metric: str) -> Block:
    found = result[metric]
    bands = {name: found[name] for name in ("margin by dose", "lost by dose", "beyond the chord")}
    if metric == "harm margin" and "competence margin" in result.ours:
        bands["competence margin"] = result["competence margin"]
    return Block(
        claim=claims.dose_curve(result, metric),
        meaning=(
            "The weights lie between aligned and tuned, or beyond: W = W_aligned + dose x (W_tuned - "
            "W_aligned); for "
            "an adapter the dose is its scale."
        ),
        figure=dose_figures.dose_curve(result, metric),
        control=(
            "Dotted: the competence margin, right minus wrong answers to harmless questions. Dashed grey: a "
            "loss in proportion to the dose."
            if "competence margin" in bands
            else "Dashed grey: a loss in proportion to the dose. Dose 0 is aligned and 1 tuned, exactly."
        ),
        limits="Weights between two checkpoints were never trained; a dose is no training step.",
        tables=(of_bands(bands, caption=f"By dose, {metric}"),),
    )


def _parts(result: Result) -> Block:
    found = result["harm margin"]
    bands = {name: found[name] for name in ("restored", "restored share", "grafted", "grafted share")}
    sizes = {
        one[
            "part"
        ]: f"{one['norm']:.3g} (relative {one['relative']:.2g}; {one['share of squared change']:.2g} of all)"
        for one in result["changes"]
    }
    return Block(
        claim=claims.restored_parts(result),
        meaning=(
            "One part of the model at a time gets the aligned model's weights back, all else staying "
            "tuned. In the "
            "table also the reverse: only that part tuned (grafted)."
        ),
        figure=dose_figures.restored_parts(result),
        control=(
            "Grey: what the part would restore if it restored in proportion to its squared weight change."
        ),
        limits=(
            "Parts work through one another: shares need not add up, and a part that restores nothing "
            "alone may "
            "matter beside another."
        ),
        tables=(
            of_bands(bands, caption="By part, harm margin"),
            of_plain(sizes, caption="Size of each part's change (Frobenius norm)"),
        ),
    )
