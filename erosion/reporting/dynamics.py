"""What the report says of the tuned model's move: what it consists of, where it enters, when it happened."""

from collections.abc import Mapping

from erosion import figures
from erosion.experiments import Result
from erosion.figures import dynamics_claims as claims
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_bands, of_estimates, of_plain
from erosion.stats import Band, Estimate

__all__ = ["moves", "trajectories"]


def moves(result: Result) -> tuple[Block, ...]:
    """What stands after positions and shift: departure, shares, 2 x 2, writes, rotation, likeness."""
    if "departure" not in result.ours:  # a result of an older version
        return ()
    made = [_departure(result), _shares(result), _two_by_two(result)]
    if "attribution" in result.ours:
        made.append(_attribution(result))
    made += [_rotation(result), _likeness(result)]
    if "eroded fraction along the model direction" in result.ours:
        made.append(_published(result))
    return tuple(made)


def _departure(result: Result) -> Block:
    benign = result.ours.get("shift on benign questions")
    tables = [of_bands({"shift": result["shift of tuned"]}, caption="Shift on the contrast")]
    if benign is not None:
        tables.append(of_bands({"shift": benign}, caption="Shift on harmless questions"))
    tables.append(of_plain({"on the contrast": result["departure"]}, caption="Layers of departure"))
    return Block(
        claim=claims.departure(result),
        meaning=(
            "The layer at which the tuned model leaves the aligned one is given as a range: from the first "
            "layer where the move may be larger than the smallest of interest to the first where it must be."
        ),
        figure=figures.departure(result),
        control=(
            "Grey: random directions. The same move on harmless questions stands beside."
            if benign is not None
            else "Grey: random directions. Harmless questions were not read in this run."
        ),
        limits=(
            "A fine-tune that shifts every text departs too. Where a layer departs is not where the change "
            "was made: see which blocks wrote it."
        ),
        tables=tuple(tables),
    )


def _shares(result: Result) -> Block:
    neutral = "constant shift" in result["shares of the move"]
    without = "" if neutral else " Neutral texts were not read in this run, so it is not told apart here."
    return Block(
        claim=claims.shares(result),
        meaning=(
            "Tuned minus aligned, answer by answer, taken apart: the constant shift that neutral texts show "
            "too, a translation along the direction, every other shift of the mean, what follows linearly "
            f"from where the aligned model was, and a remainder. The shares add up to 1.{without}"
        ),
        figure=figures.shares(result),
        control=(
            "For the translation: the same share along random directions. For the linear part: the "
            "activations of other questions (table). A share below 0 is a part that points the wrong way."
        ),
        limits=(
            "Size is not importance: a small translation may do all the harm, a large constant none. With "
            "few questions the linear share is a lower bound and the remainder an upper one."
        ),
        tables=(
            of_bands(result["shares of the move"], caption="Shares of the mean squared move"),
            of_bands({"squared move": result["size of the move"]}, caption="How large the move is"),
        ),
    )


def _two_by_two(result: Result) -> Block:
    return Block(
        claim=claims.two_by_two(result),
        meaning=(
            "Two models by two kinds of answer, along the direction. Main effect of the model: both answers "
            "moved. Interaction: the gap between the answers changed, so the tuned model tells them apart "
            "less (or more) than the aligned one."
        ),
        figure=figures.two_by_two(result),
        control="Grey: the same effect along random directions, the same ones at every layer.",
        limits="A gap along one direction may shrink because the direction turned: see the rotation below.",
        tables=(
            of_bands(result["two by two"], caption="Main effects and interaction, in fitted gaps"),
            of_bands({"gap kept": result["gap kept"]}, caption="Gap in tuned / gap in aligned"),
        ),
    )


def _attribution(result: Result) -> Block:
    found = result["attribution"]
    parts = {name: found[name] for name in ("attention", "MLP")}
    rest = {"embedding": found["embedding"].at("embedding"), "all together": found["total"].at(found["at"])}
    return Block(
        claim=claims.attribution(result),
        meaning=(
            "The residual stream is a sum, so the shift at one layer is exactly the sum of what the "
            "embedding and every block's attention and MLP wrote differently up to there."
        ),
        figure=figures.attribution(result),
        control="Grey: the same write along random directions.",
        limits=(
            "A block may write differently because its input changed, not its weights. Writes of opposite "
            "sign cancel in the shift."
        ),
        tables=(
            of_bands(parts, caption="Added to the shift by each block, in fitted gaps"),
            of_estimates(rest, caption=f"Largest deviation of the sum: {found['largest deviation']:.1g}"),
        ),
    )


def _rotation(result: Result) -> Block:
    return Block(
        claim=claims.rotation(result),
        meaning=(
            "The direction fitted in the aligned model against the one fitted in the tuned model. Angles are "
            "between fits on different halves of the questions; the noise-free cosine has the noise of "
            "fitting taken out, 1 being the same direction."
        ),
        figure=figures.rotation(result),
        control="Grey: the angle between two halves of the questions within the aligned model: noise alone.",
        limits="An angle says that the direction turned, not that the tuned model uses the new one.",
        tables=(of_bands(result["rotation"], caption="Rotation of the direction"),),
    )


def _likeness(result: Result) -> Block:
    found: Mapping[str, Mapping[str, Band] | Band] = result["likeness"]
    bands: dict[str, Band] = {}
    for pair, measures in found.items():
        if isinstance(measures, Band):
            bands[pair] = measures
        else:
            bands |= {f"{name}, {pair}": band for name, band in measures.items()}
    bands |= {f"separation, aligned against {other}": band for other, band in result["separation"].items()}
    return Block(
        claim=claims.likeness(result),
        meaning=(
            "How alike two models' activations of the same answers are: CKA compares how questions lie to "
            "each other, the cosine compares each answer's own vector."
        ),
        figure=figures.likeness(result),
        control="Grey: the same with the questions of one model exchanged at random.",
        limits=(
            "High likeness does not mean unchanged: CKA does not see a shift that all questions share, and a "
            "few large dimensions rule the cosine."
        ),
        tables=(of_bands(bands, caption="Likeness by layer"),),
    )


def _published(result: Result) -> Block:
    found = result["eroded fraction along the model direction"]
    again = result.published.get("eroded fraction along the model direction", {})
    tables = [of_bands({name: found[name]}, caption=f"Fraction, {name}") for name in found]
    return Block(
        claim=claims.published_fraction(result),
        meaning=(
            "The paper's own measure: of the way from base to aligned, the share that tuned went back, along "
            "the difference of the two models' means. The paper finds 0.31 to 0.39 on every data set, "
            "harmless ones included."
        ),
        figure=figures.published_fraction(result),
        control="The same fraction on harmless questions, where there is no alignment to lose.",
        limits=(
            "The direction holds all that alignment changed, style and format first of all: going back along "
            "it is not going back on harm."
        ),
        tables=(*tables, of_plain(again, caption="As published: direction fitted on the data projected")),
    )


def trajectories(result: Result) -> tuple[Block, ...]:
    """Every curve over training, with its change point."""
    steps = {name: band for name, band in result.ours.items() if isinstance(band, Band)}
    return (
        Block(
            claim=claims.trajectories(result),
            meaning=(
                "The same questions at every checkpoint: how far the model moved along the direction, the "
                "gap between the answers, the harm margin, and how far the checkpoint's own direction "
                "turned. Shaded: where a jump lies that random orders of the checkpoints do not show."
            ),
            figure=figures.trajectories(result),
            control=(
                "Grey: random directions. For a jump: the checkpoints in random order, and a straight line."
            ),
            limits=(
                "Intervals are over questions, not over training runs: another seed may change elsewhere. A "
                "jump is only as sharp as the checkpoints are close."
            ),
            tables=(
                *(of_bands({name: band}, caption=f"{name} by step") for name, band in steps.items()),
                _changes(result),
            ),
        ),
    )


def _changes(result: Result) -> Table:
    rows: dict[str, Estimate] = {}
    for name, found in result["change"].items():
        for shape, one in found.items():
            said = f"{name}, {shape} (p = {one['p']:.2g}, explains {one['explained']:.2f})"
            rows[f"{said}: last step before"] = one["last step before"]
            rows[f"{said}: beyond a line"] = one["explained beyond a line"]
    return of_estimates(rows, caption="Change points; p for one curve and one shape")
