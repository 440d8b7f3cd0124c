"""What the report says of patches between models, and of what edits cost and where they help."""

from erosion.experiments import Result
from erosion.figures import patching as figures
from erosion.figures import patching_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import of_bands, of_estimates

__all__ = ["costs", "patching"]


def patching(result: Result) -> tuple[Block, ...]:
    """Layers, places and components; then patches within one model."""
    blocks = [_layers(result, metric) for metric in ("harm margin", "choice margin")]
    blocks += [_places(result, pair) for pair in ("rescue", "corrupt")]
    blocks += [_components(result, pair) for pair in ("rescue", "corrupt")]
    if "within" in result.ours:
        blocks.append(_within(result))
    return tuple(blocks)


def _layers(result: Result, metric: str) -> Block:
    pairs = [pair for pair in ("rescue", "corrupt", "base") if pair in result.ours]
    bands = {
        f"{claims.pair_said(pair)}, {part}, {name}": band
        for pair in pairs
        for part in ("whole", "across", "along")
        for name, band in result[pair][metric][part].items()
    }
    return Block(
        claim=claims.patched_layers(result, metric),
        meaning=(
            "One model reads the questions and both answers while, at one layer, the other model's "
            "activation "
            "on the very same tokens is put in the place of its own: whole, only along the direction, or all "
            f"but that. Up is toward the model it was taken from, in {result[pairs[0]][metric]['gap'].unit}."
        ),
        figure=figures.patched_layers(result, metric),
        control=(
            f"Grey: the same patch along {result.inputs.get('random directions', 'some')} random directions "
            "that "
            "point where activations vary. The whole residual is the ceiling: at every position it "
            "restores the "
            "other model from that layer on by construction, so it shows nothing."
        ),
        limits=(
            "Enough is not needed: that the part along the direction restores the margin does not say that "
            "the "
            "fine-tune worked through it. Parts do not add up, since later layers are not linear."
        ),
        tables=(
            of_estimates(
                {claims.pair_said(pair): result[pair][metric]["gap"] for pair in pairs},
                caption=f"By how much the donor's {metric} differs",
            ),
            of_bands(bands, caption=f"Patches, {metric}"),
        ),
    )


def _places(result: Result, pair: str) -> Block:
    found = result[pair]["harm margin"]
    bands = {
        f"{part}, {place}": band
        for part in found["by place"]
        for place, band in found["by place"][part].items()
    }
    return Block(
        claim=claims.patched_places(result, pair),
        meaning=(
            f"The same patch ({claims.pair_said(pair)}) at one place of the text at a time: the user's "
            "words, the "
            "last tokens before the response (prompt[-1] is where it begins to be decided), the response's "
            "tokens from its first."
        ),
        figure=figures.patched_places(result, pair),
        control=(
            "Every place beside every other; what the whole residual carries at a place bounds the part "
            "along v."
        ),
        limits=(
            "Intervals (on hover and below) hold for all layers of one row, not for the map; the largest "
            "of many "
            "cells is chosen after looking."
        ),
        tables=(of_bands(bands, caption=f"By place, {claims.pair_said(pair)}, harm margin"),),
    )


def _components(result: Result, pair: str) -> Block:
    found = result[pair]["harm margin"]["by component"]
    return Block(
        claim=claims.patched_components(result, pair),
        meaning=(
            f"The same patch ({claims.pair_said(pair)}) on one component's output at a time, at all "
            "positions: the "
            "attention block, the MLP, or one head's values before they are mixed."
        ),
        figure=figures.patched_components(result, pair),
        control="Attention's and the MLP's part along the direction beside the whole of it.",
        limits=(
            "A component of a late layer also passes on what earlier layers put into the donor's stream: "
            "carrying "
            "the margin there is not having caused it."
        ),
        tables=(of_bands(found, caption=f"By component, {claims.pair_said(pair)}, harm margin"),),
    )


def _within(result: Result) -> Block:
    model = "aligned" if "aligned" in result["within"] else next(iter(result["within"]))
    bands = {
        f"{name}, {part}": band for name, parts in result["within"].items() for part, band in parts.items()
    }
    return Block(
        claim=claims.within(result, model),
        meaning=(
            "Within one model: while it reads the misaligned answer, the activations of the aligned answer "
            "to the "
            "same question are put in, token by token. What it then thinks of the misaligned words is "
            "their mean "
            "log-probability."
        ),
        figure=figures.within_run(result, model),
        control=(
            "The same with the aligned answer to another question: other content, the same kind of answer."
        ),
        limits=(
            "Tokens of two answers are matched by their place, not by meaning; the whole residual brings "
            "the other "
            "answer's words along, and so says little (below)."
        ),
        tables=(of_bands(bands, caption="Change of the misaligned answer's log p per token"),),
    )


def costs(result: Result) -> tuple[Block, ...]:
    """What the edits cost on neutral texts, and in which domains they help."""
    blocks = [_domains(result)] if "domains" in result.ours else []
    return (*blocks, _damage(result)) if "damage" in result.ours else tuple(blocks)


def _domains(result: Result) -> Block:
    rows = {
        f"{edit}: {name}": one for edit, found in result["domains"].items() for name, one in found.items()
    }
    return Block(
        claim=claims.domain_effects(result),
        meaning=(
            "The clamp at the layer that was selected on other questions, domain by domain: how much more "
            "margin it "
            "returns to tuned than to aligned."
        ),
        figure=figures.domain_effects(result),
        control="Grey: the margin that was lost in that domain, with its interval.",
        limits="Intervals hold for all domains of one edit at once; few questions stand behind each.",
        tables=(of_estimates(rows, caption="By domain at the selected layer, tuned minus aligned"),),
    )


def _damage(result: Result) -> Block:
    bands = {
        f"{edit}, {name}": band for edit, found in result["damage"].items() for name, band in found.items()
    }
    return Block(
        claim=claims.damage(result),
        meaning=(
            "The same edits while the tuned model reads neutral texts: how far the next-token distribution "
            "moves "
            "(KL) and how much less likely the text becomes."
        ),
        figure=figures.damage(result),
        control="The same edits along random directions of the same norm (mean of a few).",
        limits="Little harm to neutral text does not show that free answers stay coherent.",
        tables=(of_bands(bands, caption="Damage to neutral texts by layer"),),
    )
