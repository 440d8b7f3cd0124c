"""What the report says of loss geometry: do losses on harmful and on aligned answers oppose each other?"""

from erosion.experiments import Result
from erosion.figures import loss_geometry as figures
from erosion.figures import loss_geometry_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_estimates, of_plain

__all__ = ["loss_geometry"]


def loss_geometry(result: Result) -> tuple[Block, ...]:
    """Raw against centred cosines with their nulls, the heatmaps, and the scatter."""
    return _cosines(result), _heatmaps(result), _scatter(result)


def _cosines(result: Result) -> Block:
    return Block(
        claim=claims.loss_cosines(result),
        meaning=(
            "A response becomes the vector of its tokens' losses on the first "
            f"{result.inputs['positions']} positions, which all compared responses have. Two groups oppose "
            "each other when their vectors point apart: a mean raw cosine whose whole interval is below 0. "
            "The paper subtracts the mean of all vectors first, and that alone makes two groups of equal "
            "size look opposed, whatever they are."
        ),
        figure=figures.loss_cosines(result),
        control=(
            "Grey bars: labels swapped. Grey marks: the same cosine between two groups of harmless answers, "
            "centred in the same way. And base, which has nothing to erode."
        ),
        limits=(
            "Losses are never negative, so raw loss vectors can hardly oppose: this measures which tokens "
            "are hard, not what training on them does. That is what gradients are for."
        ),
        tables=(_table(result, "raw"), _table(result, "centred"), _harmless(result), _forced(result)),
    )


def _table(result: Result, kind: str) -> Table:
    rows = {
        f"{model}: {how} {group}": one
        for model, found in result[kind].items()
        for how, by_group in found.items()
        for group, one in by_group.items()
    }
    return of_estimates(rows, caption=f"Mean cosines, {kind}; pairs of one question left out")


def _harmless(result: Result) -> Table:
    rows = {
        f"{model}, {kind}: {pair}": found["cross"]
        for kind, by_model in result["harmless pairs"].items()
        for model, by_pair in by_model.items()
        for pair, found in by_pair.items()
    }
    return of_estimates(rows, caption=f"Across two harmless groups ({result.inputs['harmless pairs']})")


def _forced(result: Result) -> Table:
    return of_plain(
        result["forced by centring"],
        caption="The arithmetic: with equal groups, centred inner products across are minus those within",
    )


def _heatmaps(result: Result) -> Block:
    return Block(
        claim=claims.loss_heatmaps(result),
        meaning="Cosines of some responses of each group with each other, the same ones in every model.",
        figure=figures.loss_heatmaps(result),
        control="The base model's own heatmaps, beside those of tuned.",
        limits="Blocks in a centred heatmap are no sign of opposition: read the raw ones.",
        tables=(
            of_plain(result.published, caption="As published: means of centred blocks, self-pairs included"),
        ),
    )


def _scatter(result: Result) -> Block:
    shares = {model: one["variance explained"] for model, one in result["scatter"]["models"].items()}
    return Block(
        claim=claims.loss_scatter(result),
        meaning="Each mark is one response; nearby marks find the same tokens hard.",
        figure=figures.loss_scatter(result),
        control="The same picture of the base model.",
        limits="Groups that ask about different things lie apart whatever the model thinks of them.",
        tables=(of_plain(shares, caption="Variance explained by each of the two components"),),
    )
