"""What the report says of whole output distributions: what became likelier, how far apart models are."""

from erosion.experiments import Result
from erosion.figures import distributions as figures
from erosion.figures import distributions_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_bands, of_estimates, of_plain
from erosion.stats import Estimate

__all__ = ["divergences", "likelihood_rise"]


def likelihood_rise(result: Result) -> tuple[Block, ...]:
    """The published likelihoods, harmful beside harmless (of ``distributions``)."""
    rows = {
        f"{kind}: {name}": one
        for kind, numbers in result.published.items()
        for name, one in numbers.items()
        if isinstance(one, Estimate)
    }
    if not rows:
        return ()
    tables = [of_estimates(rows, caption="As published, with intervals")]
    benign = result.ours.get("overall", {}).get("benign")
    if benign:
        tables.append(of_estimates(benign, caption="On harmless questions: right and wrong answers"))
    block = Block(
        claim=claims.likelihood_rise(result),
        meaning=(
            "As the paper computes it: how much likelier whole answers became under the tuned model, and the "
            "share of the way back to base. A fine-tune that makes a model less peaked raises the likelihood "
            "of almost any text, so a rise on harmful answers alone says nothing about harm."
        ),
        figure=figures.likelihood_rise(result),
        control="The same numbers on right and wrong answers to harmless questions, where there are any.",
        limits="A rise of two given texts' likelihood does not say which of them the model would write.",
        tables=tuple(tables),
    )
    return (block,)


def divergences(result: Result) -> tuple[Block, ...]:
    """Divergences along the answer, and one question token by token (of ``divergences``)."""
    blocks = [_along(result), _tokens(result)]
    if result.published.get("continuations"):
        blocks.append(_next(result))
    return tuple(blocks)


def _along(result: Result) -> Block:
    curves = {
        f"{pair}, {side}": band
        for pair, measures in result["by position"].items()
        for side, band in measures["KL"].items()
    }
    margins = dict(result["margin by position"])
    return Block(
        claim=claims.divergence_curves(result),
        meaning=(
            "At every token of the given answers, the whole next-token distributions of two models are "
            "compared (Kullback-Leibler divergence, over the vocabulary they share). Aligned from base is "
            "the yardstick: what alignment training itself had changed."
        ),
        figure=figures.divergence_curves(result),
        control=f"Grey: the divergence of tuned from aligned on {result.inputs['control']}.",
        limits=(
            "A divergence says that something changed, not what; and these are the answers that were given, "
            "not those the models would write."
        ),
        tables=(
            of_bands(curves, caption="KL along the response"),
            of_bands(margins, caption="Harm margin, token by token"),
            _by_domain(result),
            of_plain(
                result["outside the shared vocabulary"], caption="Probability outside the shared vocabulary"
            ),
        ),
    )


def _by_domain(result: Result) -> Table:
    rows = {
        f"{group}: {pair}, {side}, {measure}": one
        for group, pairs in result["by domain"].items()
        for pair, sides in pairs.items()
        for side, measures in sides.items()
        for measure, one in measures.items()
    }
    return of_estimates(rows, caption="Mean over all tokens of a response, by domain")


def _tokens(result: Result) -> Block:
    shown = result.published["tokens"]
    found = {f"{one['label']} answer": one["cumulative log joint"] for one in shown}
    return Block(
        claim=claims.token_heatmap(result),
        meaning="The darker a cell, the less likely the answer up to that token under that model.",
        figure=figures.token_heatmap(result),
        control="The other answer to the same question, and the other models.",
        limits="One question, chosen by rule and not by eye, is an illustration and no evidence.",
        tables=(of_plain(found, caption="Cumulative log-likelihood, token by token"),),
    )


def _next(result: Result) -> Block:
    shown = result.published["continuations"]
    found = {one["prefix"]: one["models"] for one in shown}
    return Block(
        claim=claims.next_tokens(result),
        meaning="The likeliest next tokens after a fixed beginning, and their probabilities by model.",
        figure=figures.next_tokens(result),
        control="The same beginning under base and aligned.",
        limits="One beginning is an illustration; a mark is missing where a model's top lacks a token.",
        tables=(of_plain(found, caption="Likeliest next tokens"),),
    )
