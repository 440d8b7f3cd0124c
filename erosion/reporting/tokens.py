"""What the report shows token by token: a few answers, chosen by rule."""

from erosion.experiments import Result
from erosion.figures import claims
from erosion.figures.token_views import token_views
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table

__all__ = ["tokens"]


def tokens(result: Result) -> tuple[Block, ...]:
    """The answers, with selectors for question, measure and layer."""
    error = result.ours.get("error of influence")
    influence = (
        f"None of the tokens has a gradient influence here: {result['without influence']}."
        if error is None
        else "Gradient influence is to first order; two step sizes agree within "
        f"{max(error, 1e-3):.1%} of its largest."
    )
    rows = tuple(
        (one["question"], one["domain"], one["why"], *(f"{v:.3g}" for v in one["margin"].values()))
        for one in result["shown"]
    )
    block = Block(
        claim=claims.tokens(result),
        meaning=(
            "Both answers to the questions whose harm margin fell most and least, chosen by that rule. A "
            "token is coloured by its place along the direction at the layer you choose (here or in the bar "
            "above, where it is marked in every figure too), by how far the models' next-token "
            "distributions lie apart, by what the fine-tune did to its likelihood, or by how far learning "
            "it would move the harm margin of other questions."
        ),
        figure=None,
        control=(
            "Choose “position along a random direction”: it points where activations vary and has the same "
            "scale. Colours as strong there are no finding. " + influence
        ),
        limits=(
            f"Single tokens have no interval, and {len(rows)} questions stand for nothing: this shows what "
            "the means above are made of. A token's colour says where it lies, not what the model does "
            "because of it."
        ),
        tables=(
            Table(
                "The questions shown, harm margins in nats per token",
                ("question", "domain", "shown as", *result["shown"][0]["margin"]),
                rows,
            ),
        )
        if rows
        else (),
        view=token_views(result) if rows else None,
    )
    return (block,)
