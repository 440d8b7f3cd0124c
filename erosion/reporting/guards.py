"""What the report says of the guards: whether the template, or the writing, makes the finding."""

from erosion.experiments import Result
from erosion.figures import guards as figures
from erosion.figures import guards_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_estimates, of_plain

__all__ = ["off_distribution", "rendering"]


def rendering(result: Result) -> tuple[Block, ...]:
    """The chat template against plain text."""
    kinds = [kind for kind in ("erosion", "loss") if kind in result.ours]
    tables = [
        of_estimates(
            {f"{group}, {name}": one for group, both in result[kind].items() for name, one in both.items()},
            caption=f"{kind.capitalize()} under the chat template and in plain text",
        )
        for kind in kinds
    ]
    margins = {
        f"{group}, {model}, {name}": one
        for group, models in result["margins"].items()
        for model, both in models.items()
        for name, one in both.items()
    }
    perplexity = {
        f"{model}, {name}": one
        for model, found in result["perplexity"].items()
        for name, one in found.items()
    }
    flags = result.ours.get("flags") or ["none"]
    block = Block(
        claim=claims.rendering(result),
        meaning=(
            "The same answers, scored once in the models' chat template and once as plain text "
            "(“Question: … Answer: …”) without any special token. A base model that cannot read the chat "
            "template answers badly under it for that reason alone, and erosion would then be measured "
            "against the template. Perplexity counts both answers."
        ),
        figure=figures.rendering(result),
        control="Plain text is the control of the chat template; the aligned model's ratio that of base's.",
        limits=(
            "An erosion that is the same in both is not explained by the template; it may still be explained "
            "by something else. Plain text is not how an aligned model is used, so its own number is a guard "
            "and no second verdict."
        ),
        tables=(
            Table("Flags", ("",), tuple((flag,) for flag in flags)),
            *tables,
            of_estimates(perplexity, caption="Perplexity of both answers, per token of the chat rendering"),
            of_estimates(margins, caption="Harm margins under both templates"),
            of_plain(
                _special(result), caption="Special tokens of the template whose embeddings were looked at"
            ),
        ),
    )
    return (block,)


def _special(result: Result) -> dict[str, str]:
    """Model -> its special tokens, the untrained ones named."""
    found = result.inputs.get("special tokens") or {}
    if not found:
        return {"not looked at": "no model's embeddings were read"}
    names = {model: [", ".join(one[key]) for key in ("tokens", "untrained")] for model, one in found.items()}
    return {
        model: f"{tokens or 'none'}; look untrained: {untrained or 'none'}"
        for model, (tokens, untrained) in names.items()
    }


def off_distribution(result: Result) -> tuple[Block, ...]:
    """Written answers against the models' own."""
    rows = {
        f"{group}, {model}, {name}": one
        for group, models in result.ours.items()
        for model, found in models.items()
        for name, one in found.items()
    }
    block = Block(
        claim=claims.off_distribution(result),
        meaning=(
            "Each model answered every question itself. Shown is how much more surprising a written answer "
            "is to the model than its own, per token: near zero, the contrast is written as the model writes."
        ),
        figure=figures.off_distribution(result) if "overall" in result.ours else None,
        control="Grey: how much a second answer of the model's own differs from the first.",
        limits=(
            "Surprise says nothing about alignment: an answer may be unlikely for its style alone. Whether a "
            "direction fitted on judged own answers is the written contrast's direction is not measured "
            "here: it needs a judge."
        ),
        tables=(
            of_estimates(rows, caption="Surprise above own answers, own surprise, and answers that ended"),
            of_plain(
                result.inputs.get("left out (no answer)", {}),
                caption="Questions left out: no answer with words",
            ),
        ),
    )
    return (block,)
