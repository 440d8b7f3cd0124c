"""What the report says of directions: separation, across domains, how many, and what benign data shares."""

from collections.abc import Iterable, Mapping

from erosion import figures
from erosion.experiments import Result
from erosion.figures import claims, dimensions_claims
from erosion.figures import dimensions as drawn
from erosion.reporting.blocks import Block
from erosion.reporting.tables import Table, of_bands, of_estimates, of_plain
from erosion.stats import Band

__all__ = ["dimensions", "sharing"]


def dimensions(result: Result) -> tuple[Block, ...]:
    """Separation by layer, domains left out, domain against domain, and rank."""
    blocks = [_separation(result)]
    if result.ours.get("domains", {}).get("left out"):
        blocks += [_left_out(result), _cosines(result)]
    if "rank" in result.ours:
        blocks.append(_rank(result))
    return tuple(blocks)


def _separation(result: Result) -> Block:
    held_out = {
        f"{fit}, {name}": band for fit, found in result["by fit"].items() for name, band in found.items()
    }
    tables = [of_bands(held_out, caption="Held-out scores by layer")]
    if "AUC of random directions" in result.ours:
        random = {"AUC of random directions": result["AUC of random directions"]}
        tables.append(of_bands(random, caption="Where random directions of the same spread lie"))
    folds = result.ours.get("cross-validated", {})
    bands = {name: band for name, band in folds.items() if isinstance(band, Band)}
    tables += _by_labels(bands, caption="AUC over five folds of questions")
    if folds:
        identity = {"knowing the question alone": folds["question identity"]}
        tables.append(of_estimates(identity, caption="What knowing the question alone would give"))
    tables += _by_labels(result.ours.get("cosines between fits", {}), caption="Cosines between fits")
    plain = ("fitted gap / residual norm", "not fitted", "selected")
    beside = {name: result.ours[name] for name in plain if name in result.ours}
    tables.append(of_plain(beside, caption="Beside it, layer by layer"))
    again = "As published: AUC on the very questions that were fitted on, layer by layer"
    tables.append(of_plain(result.published, caption=again))
    asked, others = (result.inputs.get(name, "?") for name in ("fit questions", "held-out questions"))
    return Block(
        claim=claims.held_out_auc(result),
        meaning=(
            f"A direction is fitted in the aligned model on {asked} questions and scored on {others} others. "
            "AUC: how often an aligned answer lies further along it than a misaligned one; 0.5 is a coin."
        ),
        figure=figures.held_out_auc(result),
        control=(
            "Grey: the same direction with labels swapped within the held-out questions. Dotted: random "
            "directions that point where answers of one kind vary, which is stricter, and wide "
            "wherever answers "
            "differ in few dimensions."
        ),
        limits=(
            "Answers that differ in wording can be separated without any notion of alignment: only edits "
            "(below) show use."
        ),
        tables=tuple(tables),
    )


def _left_out(result: Result) -> Block:
    found = result["domains"]["left out"]
    layer = dimensions_claims.layer_shown(result)
    bands = {
        f"{domain}, {name}": band for domain, one in found["by domain"].items() for name, band in one.items()
    }
    first = next(iter(found["by domain"].values()))["held-out AUC"]
    return Block(
        claim=dimensions_claims.domains_left_out(result),
        meaning=(
            f"For each domain a direction is fitted on all other domains and scored on this one "
            f"(layer {layer}). "
            f"Intervals ({first.confidence:.1%}) hold for all domains and layers at once."
        ),
        figure=drawn.domains_left_out(result),
        control=(
            "Grey: labels swapped within questions; for the mean, random directions, the same ones "
            "in all domains."
        ),
        limits=(
            "Within one domain answers may differ in a few words, and then a random direction "
            "separates them too, "
            "one way or the other: only the mean over domains is held against that."
        ),
        tables=(
            of_bands({"mean AUC over domains": found["mean AUC over domains"]}, caption="Mean over domains"),
            *_by_labels(bands, caption="Domain by domain"),
        ),
    )


def _cosines(result: Result) -> Block:
    found, angles = result["domains"]["cosines"], result["domains"]["angles"]
    names = ("mean cosine", "mean noise ceiling", "mean cosine without noise")
    overlap = {"mean overlap of subspaces": angles["mean overlap"]}
    halves = {"overlap of halves of one domain": angles["overlap of halves"]}
    return Block(
        claim=dimensions_claims.domain_cosines(result),
        meaning=(
            "The answer direction (difference of means) of each domain by itself, against that of "
            "every other. "
            "1 is the same direction, 0 a right angle."
        ),
        figure=drawn.domain_cosines(result),
        control=(
            "Labels swapped within questions for the mean cosine; the noise ceiling is what two "
            "noisy estimates of "
            "one and the same direction would reach."
        ),
        limits="Domains that share words share directions: a cosine does not say what is shared.",
        tables=(
            of_bands({name: found[name] for name in names}, caption="Over all pairs of domains, by layer"),
            of_bands(overlap, caption="Subspaces of domains: mean squared cosine of their principal angles"),
            of_plain(halves, caption="What noise leaves of two halves of one domain, layer by layer"),
            of_plain(angles["angles"], caption="Principal angles in degrees, smallest first"),
        ),
    )


def _rank(result: Result) -> Block:
    rank = result["rank"]
    bands = {f"layer {layer}": band for layer, band in rank["variance explained"].items()}
    return Block(
        claim=dimensions_claims.variance_by_rank(result),
        meaning=(
            "Paired differences between the two answers to a question, fitted on one part of the "
            "questions: the "
            "share of squared length that the first k directions hold on the other part. The number "
            "of directions "
            "was chosen by likelihood inside the fitted part."
        ),
        figure=drawn.variance_by_rank(result),
        control="Grey: random subspaces that point where answers of one kind vary.",
        limits=(
            "More directions always explain more; and what differs between two answers is wording as "
            "well as harm."
        ),
        tables=(
            *(_ranked(name, band) for name, band in bands.items()),
            of_plain({"k": rank["k"]}, caption="Directions chosen, by layer"),
        ),
    )


def _ranked(name: str, band: Band) -> Table:
    table = of_bands({"variance explained": band}, caption=f"Variance explained by rank, {name}")
    said = table.caption.replace("for all layers at once", "for all ranks at once")
    return Table(said, ("k", *table.columns[1:]), table.rows)


def sharing(result: Result) -> tuple[Block, ...]:
    """The published sharing of components, and the control that decides what it shows."""
    names = ("harmful pair", "harmful with benign", "difference")
    found = {name: result.ours[name] for name in names if isinstance(result.ours.get(name), Band)}
    tables = list(_by_labels(found, caption="As published, harmful data and benign data"))
    tables += _by_labels(result.published["first components"], caption="All pairs of data sets")
    tables += _by_labels(result["mean shift"], caption="Cosines of the mean change on each data set")
    for model, one in result["answer directions"].items():
        bands = {name: band for name, band in one.items() if isinstance(band, Band)}
        tables += _by_labels(bands, caption=f"Answer directions in the {model} model")
    change = result.published["difference"]
    without = f" {result.published['why'].capitalize()}." if "why" in result.published else ""
    return (
        Block(
            claim=dimensions_claims.shared_component(result),
            meaning=(
                f"As published: on each data set, {change} at the last token, columns centred, and "
                "the cosine "
                f"between the first singular vectors of two data sets.{without} "
                f"{dimensions_claims.answer_directions(result)}."
            ),
            figure=drawn.shared_component(result),
            control=(
                "The same measure between harmful and benign data. Below, what the published measure "
                "lacks: the "
                "difference between two answers to one question, where whatever all texts have in "
                "common cancels."
            ),
            limits=(
                "A component that every text shares is what alignment did to every text; it says "
                "nothing of harm."
            ),
            tables=tuple(tables),
        ),
    )


def _by_labels(bands: Mapping[str, Band], *, caption: str) -> Iterable[Table]:
    """One table for each set of layers, since a fit may be missing at some."""
    groups: dict[tuple[str | int, ...], dict[str, Band]] = {}
    for name, band in bands.items():
        groups.setdefault(band.labels, {})[name] = band
    return tuple(of_bands(group, caption=caption) for group in groups.values())
