"""Confounds: how much of a difference is left when what can be seen without reading is taken out.

Aligned and misaligned answers may differ in length, in perplexity under the base model, in code, refusal
style or formatting, and a direction or a margin may follow that alone. Per question, the difference between
the two answers is regressed on the differences of the traits, each alone and all together; what remains, as a
share of the whole, *survives*. It is a bound and no estimate of a cause: everything that moves together with
a trait is given to the trait, and misalignment may itself be what makes an answer short or surprising.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from erosion.activations import Activations
from erosion.directions import Direction, check_unseen
from erosion.errors import BadInput
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.metrics import Responses, margins
from erosion.prompts import Contrast
from erosion.prompts.traits import trait_differences
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band, Estimate, mean, random_band, ratio_band

__all__ = ["ALL", "confounds", "paired_projections", "paired_traits"]

ALL = "all together"
_DRAWS = 40
_NO_ROOM = "a trait differs by the same amount in every question: it cannot be told from the side"

Values = Float[Array, "question ..."]


def paired_traits(contrast: Contrast, scored: Responses, *, under: str = "base") -> dict[str, Array]:
    """Every trait's difference, aligned minus misaligned answer, ``[question]`` in the contrast's order.

    Args:
        contrast: whose words count.
        scored: its responses under the base model (or another, named by ``under``): their mean negative
            log-likelihood per token is the log of their perplexity.
        under: the name of that model.

    Raises:
        BadInput: a question of the contrast was not scored.
    """
    surprise = margins(scored, lambda tokens: -float(tokens.mean()))
    at = dict(zip(surprise.questions, surprise.values, strict=True))
    missing = [question for question in contrast.questions if question not in at]
    if missing:
        raise BadInput(f"Question {missing[0]!r} has no scores under {under}: score the whole contrast.")
    log_perplexity = np.array([at[question] for question in contrast.questions])
    return {**trait_differences(contrast), f"log perplexity under {under}": log_perplexity}


def paired_projections(
    acts: Activations, directions: Mapping[Site, Direction], *, questions: Sequence[str]
) -> Float[Array, "question layer"]:
    """How far apart each question's two answers lie along the direction, in units of the fitted gap.

    Raises:
        BadDirection: a direction was fitted on one of the questions.
    """
    chosen, columns = acts.of(questions), []
    sides = chosen.aligned, chosen.misaligned
    order = [q for q, label in zip(chosen.questions, chosen.labels, strict=True) if label == "aligned"]
    rows = [order.index(question) for question in questions]
    for site, direction in directions.items():
        check_unseen(direction, questions)
        high, low = (direction.project(side[site]).double().numpy() for side in sides)
        columns.append((high - low)[rows] / direction.scale)
    return np.stack(columns, axis=1)


def confounds(
    quantities: Mapping[str, Values],
    traits: Mapping[str, Float[Array, " question"]],
    questions: Sequence[str],
    *,
    labels: Sequence[str | int] | None = None,
    sampling: Sampling | None = None,
) -> Result:
    """The share of each quantity that survives each trait alone and all of them together.

    With d_q the quantity and t_q the traits' differences, b minimises Σ(d - b·t)² (through the origin, so a
    trait that always differs takes all that it can) and the share is mean(d - b·t)/mean(d). *side kept*
    regresses on the traits and a constant, and the constant's share is what is left at equal traits: an
    estimate by a model, where ``survives`` is the bound. Intervals are joint Fieller over the layers, from
    each question's first-order pull on the mean left, b refitted included; the control is the same with each
    question's trait differences given a random sign, which unties them from the side.

    Args:
        quantities: name -> ``[question]`` or ``[question, layer]``: differences between the two answers that
            should not be zero (projections, harm-specific changes, causal effects).
        traits: name -> ``[question]``, see :func:`paired_traits`.
        questions: the ids behind the rows.
        labels: of the layers; their numbers from 0 if not given.
        sampling: draws and seed of bands and random signs.

    Raises:
        BadInput: lengths that differ, a value that is not finite, or too few questions for the traits.

    Memory: 40 x questions x layers floats.
    """
    sampling = sampling or Sampling()
    varying = {name: np.asarray(one, dtype=float) for name, one in traits.items() if np.any(one)}
    _check(quantities, traits, questions)
    groups = {name: values[:, None] for name, values in varying.items()}
    if len(varying) > 1:
        groups[ALL] = np.stack(list(varying.values()), axis=1)
    ours: dict[str, object] = {
        "traits": {name: mean(np.asarray(t, float), questions, unit="trait") for name, t in traits.items()},
        "same in both answers": [name for name in traits if name not in varying],
        "quantities": {
            name: _of_quantity(np.asarray(values, float), groups, questions, labels, sampling)
            for name, values in quantities.items()
        },
    }
    inputs = {"questions": len(set(questions)), "traits": list(traits), "quantities": list(quantities)}
    return Result("confounds", inputs, {}, ours)


def _check(quantities: Mapping[str, Array], traits: Mapping[str, Array], questions: Sequence[str]) -> None:
    n = len(questions)
    if len(set(questions)) != n:
        raise BadInput("A question stands twice: give one difference for each question.")
    if n < len(traits) + 3:
        raise BadInput(f"{n} questions cannot be regressed on {len(traits)} traits: give at least 30.")
    for name, values in {**quantities, **traits}.items():
        if len(values) != n or not np.isfinite(values).all():
            raise BadInput(
                f"{name!r} has {len(values)} values for {n} questions, or one is not finite: mend it."
            )


def _of_quantity(
    values: Array,
    groups: Mapping[str, Array],
    questions: Sequence[str],
    labels: Sequence[str | int] | None,
    sampling: Sampling,
) -> dict[str, object]:
    """Both kinds of share under every group of traits; a quantity without layers gives plain estimates."""
    whole = values[:, None] if values.ndim == 1 else values
    whole = whole * np.where(whole.mean(axis=0) < 0, -1.0, 1.0)
    names = ["whole"] if values.ndim == 1 else labels

    def share(left: Array) -> Band:
        return ratio_band(
            left, whole, questions, labels=names, resamples=sampling.resamples, seed=sampling.seed
        )

    def given(band: Band) -> Band | Estimate:
        return band.at("whole") if values.ndim == 1 else band

    survives, kept = {}, {}
    for name, traits in groups.items():
        band = share(_left(whole, traits))
        survives[name] = given(band.with_control(_by_chance(whole, traits, band, sampling)))
        kept[name] = given(_at_equal_traits(whole, traits, band, share))
    return {"survives": survives, "side kept": kept}


def _left(whole: Float[Array, "question layer"], traits: Float[Array, "question trait"]) -> Array:
    """Per-question values whose mean is what regression through the origin leaves, and spread its error.

    u_q = (d_q - b·t_q)(1 - t̄'A⁻¹t_q) with A the traits' second moments: the first-order pull of question q,
    that on b included, divided by 1 - its leverage (the jackknife's, HC3).
    """
    scaled = traits / np.sqrt((traits**2).mean(axis=0))
    inverse, left, room = _regressed(whole, scaled)
    pulls = (1 - scaled @ (inverse @ scaled.mean(axis=0)))[:, None] * left / room
    return pulls + (left - pulls).mean(axis=0)


def _regressed(whole: Array, columns: Array) -> tuple[Array, Array, Array]:
    """The inverse second moments of ``columns``, what they leave of ``whole``, 1 - each leverage."""
    n = len(columns)
    inverse = np.linalg.pinv(columns.T @ columns / n, hermitian=True)
    left = whole - columns @ (inverse @ (columns.T @ whole / n))
    leverage = (columns @ inverse * columns).sum(axis=1) / n
    return inverse, left, np.maximum(1 - leverage, 1e-3)[:, None]


def _at_equal_traits(whole: Array, traits: Array, like: Band, share: Callable[[Array], Band]) -> Band:
    """The share left at equal traits: the constant of a regression that has one, where it can be told."""
    scaled = traits / np.sqrt((traits**2).mean(axis=0))
    if (scaled.std(axis=0) < 1e-9).any():
        nothing = np.full(len(like), np.nan)
        return replace(
            like, values=nothing, low=nothing, high=nothing, control=None, why=(_NO_ROOM,) * len(like)
        )
    columns = np.concatenate([np.ones((len(scaled), 1)), scaled], axis=1)
    inverse, left, room = _regressed(whole, columns)
    constant = inverse[0] @ (columns.T @ whole / len(scaled))
    pulls = (columns @ inverse[0])[:, None] * left / room
    return share(constant + pulls - pulls.mean(axis=0))


def _by_chance(whole: Array, traits: Array, like: Band, sampling: Sampling) -> Band:
    """What traits that have nothing to do with the side would leave: the same ones with random signs."""
    rng = np.random.default_rng(sampling.seed)
    signs = rng.integers(2, size=(_DRAWS, len(traits), 1)) * 2.0 - 1.0
    size = whole.mean(axis=0)
    safe = np.where(size == 0, 1.0, size)
    drawn = np.stack([_left(whole, sign * traits).mean(axis=0) / safe for sign in signs])
    band = random_band(drawn, unit=like.unit, n_questions=like.n_questions, labels=like.labels)
    return replace(band, method=f"{_DRAWS} random signs of the traits' differences")
