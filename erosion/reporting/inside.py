"""What the report says of the inside: where in the layers, and whether it is causal."""

from erosion import figures
from erosion.experiments import Result
from erosion.figures import claims
from erosion.figures.style import MODELS
from erosion.reporting.blocks import Block
from erosion.reporting.tables import of_bands, of_estimates, of_plain
from erosion.stats import Band

__all__ = ["causality", "dimensions", "dynamics"]


def dimensions(result: Result) -> tuple[Block, ...]:
    """How well directions separate held-out answers."""
    bands: dict[str, Band] = {}
    for fit, found in result["by fit"].items():
        bands |= {f"{fit}, {name}": band for name, band in found.items()}
    again = of_plain(
        result.published,
        caption="As published: AUC on the very questions that were fitted on, layer by layer",
    )
    beside = {name: value for name, value in result.ours.items() if name != "by fit"}
    block = Block(
        claim=claims.held_out_auc(result),
        meaning=(
            f"A direction is fitted in the aligned model on {result.inputs.get('fit questions', '?')} "
            "questions and scored on "
            f"{result.inputs.get('held-out questions', '?')} others. AUC: how often an aligned answer lies "
            "further along "
            "it than a misaligned one; 0.5 is a coin."
        ),
        figure=figures.held_out_auc(result),
        control=(
            "Grey: the same fit after swapping labels, or random directions where swapping changes nothing."
        ),
        limits=(
            "Answers that differ in wording can be separated without any notion of alignment: only edits "
            "(below) show use."
        ),
        tables=(
            of_bands(bands, caption="Held-out scores by layer"),
            of_plain(beside, caption="Beside it, layer by layer"),
            again,
        ),
    )
    return (block,)


def dynamics(result: Result) -> tuple[Block, ...]:
    """Where the models stand along the direction, and who moved."""
    place = {
        f"{model}, {side} answers": band
        for model in MODELS
        for side, band in result["position"].get(model, {}).items()
    }
    where = Block(
        claim=claims.positions(result),
        meaning=(
            "Each model's mean position along the aligned model's direction, by layer, in units of the gap "
            "that was "
            "fitted between the two kinds of answer. The same answers are read by every model."
        ),
        figure=figures.positions(result),
        control=(
            "The aligned model itself, on the same held-out questions, with bands that hold for all layers "
            "at once."
        ),
        limits=(
            "Two models may differ by a constant that has nothing to do with the answers: compare the shift "
            "below."
        ),
        tables=(
            of_bands(place, caption="Positions along the direction"),
            of_plain(result.published, caption="As published, layer by layer"),
        ),
    )
    moved = Block(
        claim=claims.shift(result),
        meaning=(
            "How far the tuned model's mean moved from the aligned model's along the direction, over both "
            "answers."
        ),
        figure=figures.shift(result),
        control="Grey: the same move measured along random directions, the same ones at every layer.",
        limits="A shift along the direction is where the model went, not why it behaves as it does.",
        tables=(of_bands({"shift": result["shift of tuned"]}, caption="Shift of tuned from aligned"),),
    )
    return where, moved, _way_back(result)


def _way_back(result: Result) -> Block:
    band = result.ours.get("erosion of position")
    drawn = band is not None and not all(band.at(one).undefined for one in band.labels)
    return Block(
        claim=claims.erosion_by_layer(result),
        meaning=(
            "Of the distance from base to aligned along the direction, the share that the tuned model went "
            "back."
        ),
        figure=figures.erosion_by_layer(result) if drawn else None,
        control=(
            "Grey: the same share along random directions in which base lies as far from aligned. Undefined "
            "wherever aligned does not clearly lie beyond base."
        ),
        limits=(
            "Back along one direction is not back in every direction: the models may differ in all others."
        ),
        tables=()
        if band is None
        else (of_bands({"erosion of position": band}, caption="Share of the way back to base"),),
    )


def causality(result: Result) -> tuple[Block, ...]:
    """What edits along the direction do to the margins."""
    metrics = [metric for metric in ("harm margin", "choice margin") if metric in result.ours]
    return tuple(_edits(result, metric) for metric in metrics)


def _edits(result: Result, metric: str) -> Block:
    found = result[metric]
    bands = {
        f"{edit}, {name}": found[edit][name] for edit in ("steer", "clamp", "ablate") for name in found[edit]
    }
    return Block(
        claim=claims.causal_curves(result, metric),
        meaning=(
            f"At each layer the tuned model is edited along the direction and the {metric} measured anew. An "
            "edit may do "
            "the same to any model, so what counts is the difference from the same edit on the aligned "
            "model. The dashed "
            "line is what was lost; beyond it is overshoot."
        ),
        figure=figures.causal_curves(result, metric=metric),
        control=(
            f"Grey: the difference that {result.inputs.get('random directions', 'some')} random directions "
            "of the same norm make, the same at every layer. A title names a layer only where the edit lies "
            "beyond random directions of the activations' covariance as well. Below: those, the same fit to "
            "shuffled labels, and the edit on the prompt alone."
        ),
        limits=(
            "An edit that restores the margin shows that the direction is enough at that layer, not that the "
            "fine-tune "
            "worked through it. Effects on free answers are not measured here; what the edits cost on "
            "neutral texts stands below."
        ),
        tables=(
            of_estimates({"lost": found["lost"]}, caption=f"The lost {metric}"),
            of_bands(bands, caption=f"Edits, {metric}"),
        ),
    )
