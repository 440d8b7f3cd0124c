"""The confound battery in the report."""

from erosion import figures
from erosion.experiments import Result
from erosion.figures import confounds_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import of_bands, of_estimates
from erosion.stats import Band

__all__ = ["confounds"]

_MEANING = (
    "Per question, the difference between the aligned and the misaligned answer is regressed on their "
    "differences in length, perplexity under the base model, code, refusal style and formatting. What a "
    "trait can explain is taken away in full, so what survives is a lower bound; beside it stands what a "
    "linear model with these traits expects of two answers that do not differ in them."
)
_CONTROL = (
    "Grey: the same traits with a random sign for each question, which have nothing to do with the side; "
    "they should take nothing."
)
_LIMITS = (
    "A bound and no cause: misalignment may itself be what makes an answer short, surprising or full of "
    "code, and such a share is taken away here as well. What no listed trait captures is not tested."
)


def confounds(result: Result) -> tuple[Block, ...]:
    """One block for each quantity, and a picture by layer where it has layers."""
    return tuple(_block(result, quantity) for quantity in result["quantities"])


def _block(result: Result, quantity: str) -> Block:
    found = result["quantities"][quantity]
    same = result["same in both answers"]
    meaning = f"{_MEANING} The same in both answers, and left out: {', '.join(same)}." if same else _MEANING
    layered = any(isinstance(one, Band) for one in found["survives"].values())
    figure = figures.confounds(result, quantity=quantity) if found["survives"] else None
    if layered and len(next(iter(found["survives"].values()))) > 1:
        figure = figures.confounds_by_layer(result, quantity=quantity)
    table = of_bands if layered else of_estimates
    tables = [of_estimates(result["traits"], caption="Traits, aligned minus misaligned answer")]
    if found["survives"]:
        tables += [
            table(found["survives"], caption=f"Share of the {quantity} that survives"),
            table(found["side kept"], caption=f"Share of the {quantity} left at equal traits"),
        ]
    return Block(claims.confounds(result, quantity), meaning, figure, _CONTROL, _LIMITS, tuple(tables))
