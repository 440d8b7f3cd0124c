"""What the report says of gradients: do they oppose, by raw cosines; and do they predict real steps?"""

from erosion.experiments import Result
from erosion.figures import gradient_geometry as figures
from erosion.figures import gradient_geometry_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_bands, of_estimates, of_plain

__all__ = ["gradient_bridge", "gradient_geometry"]


def gradient_geometry(result: Result) -> tuple[Block, ...]:
    """Raw cosines along the layers and by map, then the published heatmaps with what exposes them."""
    blocks = [_by_layer(result)]
    if any(curves for kinds in result["by map"].values() for curves in kinds.values()):
        blocks.append(_by_map(result))
    return (*blocks, _published(result), _scatter(result))


def _by_layer(result: Result) -> Block:
    return Block(
        claim=claims.cosines_by_layer(result),
        meaning=(
            "Training on an exchange moves the weights against its gradient. Two groups oppose when the mean "
            "cosine of their gradients lies below 0 with its whole interval, nothing subtracted, over pairs "
            "of different questions. Losses are of response tokens alone; groups: "
            + ", ".join(f"{name} ({count})" for name, count in result.inputs["groups"].items())
            + "."
        ),
        figure=figures.cosines_by_layer(result),
        control=(
            "Grey: the tuned model's cosine when the labels of each question's answers are dealt anew. And "
            "base, which has no alignment to erode: what opposes there too is not erosion."
        ),
        limits=(
            "Two answers that compete for the same words oppose in any model that knows both. A cosine says "
            "nothing of how long the gradients are: where the loss is near 0, little is left to point."
        ),
        tables=(
            _whole(result),
            of_plain(result["opposes"], caption="In words, by the raw interval alone, all maps together"),
            *(
                of_bands(curves, caption=f"Mean raw cosine by layer, {model}")
                for model, curves in result["by layer"].items()
            ),
        ),
    )


def _whole(result: Result) -> Table:
    rows = {
        f"{model}: {how} {pair}": one
        for model, found in result["whole"].items()
        for how, by_pair in found.items()
        for pair, one in by_pair.items()
    }
    return of_estimates(rows, caption="Mean raw cosines, all maps together; pairs of one question left out")


def _by_map(result: Result) -> Block:
    tables = [
        of_bands(
            {part: curves[claims.main_pair(result)] for part, curves in kinds.items()},
            caption=f"{claims.main_pair(result)}, by kind of map, {model}",
        )
        for model, kinds in result["by map"].items()
        if all(claims.main_pair(result) in curves for curves in kinds.values())
    ]
    return Block(
        claim=claims.cosines_by_map(result),
        meaning=(
            "The same cosine at each kind of linear map by itself: attention's q, k, v, o, gate, up, down."
        ),
        figure=figures.cosines_by_map(result),
        control="Grey: labels dealt anew within questions, for the tuned model. And base and aligned.",
        limits="Each panel's band holds for its layers together, not for all panels together.",
        tables=tuple(tables),
    )


def _published(result: Result) -> Block:
    centred = {
        f"{model}: {pair}": found["centred"]
        for model, pairs in result["centred"].items()
        for pair, found in pairs.items()
    }
    means = {model: found["block means"] for model, found in result.published.items()}
    return Block(
        claim=claims.gradient_heatmaps(result),
        meaning=(
            "As published: cosines at the last layer's attention output projection after the mean of all "
            "gradients was subtracted (right), and the same without it (left). With groups of equal size the "
            "subtraction alone makes the mean across groups about minus the mean within, whatever the data."
        ),
        figure=figures.gradient_heatmaps(result),
        control=(
            "Base beside tuned: the same blocks there cannot be erosion. In the table each centred number "
            "stands beside two sets of harmless aligned answers that were about as far apart before "
            "centring, centred alike."
        ),
        limits="A negative block in a centred heatmap is no sign of opposition: read the raw one.",
        tables=(
            of_estimates(centred, caption="Mean cosine across two groups, centred on their common mean"),
            of_plain(means, caption="As published: means of blocks, self-pairs included"),
        ),
    )


def _scatter(result: Result) -> Block:
    shares = {model: found["scatter"]["share of variance"] for model, found in result.published.items()}
    return Block(
        claim=claims.gradient_scatter(result),
        meaning="As published: principal components of the gradients at the last o, their mean subtracted.",
        figure=figures.gradient_scatter(result),
        control="Base beside tuned: groups that lie apart there as well are not parted by the fine-tune.",
        limits="Components are those of each model by itself: panels share no axes.",
        tables=(of_plain(shares, caption="Share of variance of the first two components"),),
    )


def gradient_bridge(result: Result) -> tuple[Block, ...]:
    """How well gradients predict what one real step does, and whose training moves the targets."""
    predicted = {
        f"{name}: {group}": one
        for name, found in result.ours.items()
        for group, one in found["predicted"].items()
    }
    checks = {
        f"{name}, {step}: {what}": found[step][what]
        for name, found in result.ours.items()
        for step in ("SGD", "Adam's first step")
        if step in found
        for what in ("rank correlation", "slope")
        if what in found[step]
    }
    block = Block(
        claim=claims.bridge_scatter(result),
        meaning=(
            "The inner product of an exchange's gradient with that of a target (the position along the "
            "direction, the harm margin) predicts how far one step of SGD on it moves the target. Each dot "
            "is one exchange: predicted, and after really taking that step and undoing it."
        ),
        figure=figures.bridge_scatter(result) if checks else None,
        control="Shuffled pairs. Groups are held against those asked the same questions.",
        limits=(
            "First order, one step, linear maps only (no biases, norms or embeddings): long training, and "
            "Adam, whose first step is listed apart, may go elsewhere."
        ),
        tables=(
            *((of_estimates(checks, caption="Predicted against real steps"),) if checks else ()),
            of_estimates(predicted, caption="Mean predicted move of the target by one step, by group"),
        ),
    )
    return (block,)
