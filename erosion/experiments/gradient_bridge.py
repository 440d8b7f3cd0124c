"""Gradient bridge: does the first-order prediction rank what real training steps do to a target?

A gradient's inner product with the gradient u of a target (the position along a direction, the harm margin)
predicts how far one step of SGD on that exchange moves it. The prediction is worth as much as its rank
correlation with steps really taken; beside it stands what shuffled pairs of the two would give. By group it
says whose training would move the target, and by how much; and Adam's first step, which the prediction was
not made for, is reported apart.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from erosion.errors import BadInput
from erosion.experiments.gradient_geometry import GROUPS, group_of
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.gradients import Bridge, Steps
from erosion.shapes import Array, Float
from erosion.stats import Control, Estimate, bootstrap, mean

__all__ = ["bridged_steps"]

_SHUFFLES = 1000


def bridged_steps(
    bridges: Sequence[Bridge],
    steps: Sequence[Steps] = (),
    *,
    trained_domains: Sequence[str] = ("code",),
    sampling: Sampling | None = None,
) -> Result:
    """Predicted moves by group and, where real steps were taken, how well the prediction ranks them.

    Args:
        bridges: one for each target (see :func:`erosion.gradients.gradient_bridge`).
        steps: real steps on some of the same exchanges, of the same targets, SGD or Adam's first (see
            :func:`erosion.gradients.real_steps`).
        trained_domains: whose answers are ``secure`` and ``insecure``.
        sampling: resamples and seed.

    Returns:
        ``ours`` target -> ``predicted`` group -> mean move of a step at the rate of the real ones (at
        :meth:`Bridge.rate` where there are none), ``SGD`` and ``Adam's first step`` -> rank correlation and
        points, and for SGD the slope.

    Raises:
        BadInput: no bridge, steps of a target or an exchange that was not predicted.

    Memory: a few numbers for each exchange.
    """
    sampling = sampling or Sampling()
    if not bridges:
        raise BadInput("There is no prediction: give at least one bridge.")
    named = {bridge.target: bridge for bridge in bridges}
    strange = [one.target for one in steps if one.target not in named]
    if strange:
        raise BadInput(f"Steps move {strange[0]!r}, which no bridge predicts: it has {', '.join(named)}.")
    ours = {}
    for name, bridge in named.items():
        taken = {one.step: one for one in steps if one.target == name}
        rate = taken["SGD"].rate if "SGD" in taken else bridge.rate()
        found: dict[str, Any] = {
            "unit": bridge.unit,
            "rate": rate,
            "predicted": _by_group(bridge, rate, trained_domains),
        }
        for step, one in taken.items():
            found[step] = _against(bridge, one, trained_domains, sampling)
        ours[name] = found
    inputs = {
        "targets": list(named),
        "maps": len(bridges[0].values),
        "exchanges": len(bridges[0].rows),
        "steps taken": {f"{one.target}, {one.step}": len(one.rows) for one in steps},
        "trained domains": list(trained_domains),
    }
    return Result("gradient_bridge", inputs, {}, ours)


def _groups(bridge: Bridge | Steps, trained_domains: Sequence[str]) -> Array:
    pairs = zip(bridge.rows.labels, bridge.rows.domains, strict=True)
    return np.array([group_of(label, domain, trained_domains=trained_domains) for label, domain in pairs])


def _by_group(bridge: Bridge, rate: float, trained_domains: Sequence[str]) -> dict[str, Estimate]:
    """The mean predicted move; its control is the group that is asked the same questions."""
    groups, questions = _groups(bridge, trained_domains), np.array(bridge.rows.questions)
    order = [*(g for g in GROUPS if g in groups), *dict.fromkeys(g for g in groups if g not in GROUPS)]
    made = {
        group: mean(
            rate * bridge.predicted[groups == group], questions[groups == group].tolist(), unit=bridge.unit
        )
        for group in order
    }
    beside = {"insecure": "secure", "educational": "secure", "misaligned": "aligned"}
    return {
        group: one.with_control(made[beside[group]], name=f"{beside[group]} answers")
        if beside.get(group) in made
        else one
        for group, one in made.items()
    }


def _against(
    bridge: Bridge, steps: Steps, trained_domains: Sequence[str], sampling: Sampling
) -> dict[str, Any]:
    """Predicted against real moves, exchange by exchange."""
    predicted, moved = steps.rate * _same_rows(bridge, steps), steps.moved
    questions = steps.rows.questions
    correlation = _over_questions(
        _rank_correlation, predicted, moved, questions, "rank correlation", sampling
    )
    found: dict[str, Any] = {
        "rank correlation": correlation.with_control(_shuffled(predicted, moved, sampling.seed)),
        "points": {
            "predicted": predicted.tolist(),
            "moved": moved.tolist(),
            "groups": _groups(steps, trained_domains).tolist(),
        },
        "rate": steps.rate,
        "before": steps.before,
    }
    if steps.step == "SGD":  # another rule's step size has another unit
        found["slope"] = _over_questions(_slope, predicted, moved, questions, "moved / predicted", sampling)
    return found


def _same_rows(bridge: Bridge, steps: Steps) -> Float[Array, " exchange"]:
    """The predictions for the exchanges that steps were taken on."""
    place = {key: i for i, key in enumerate(zip(bridge.rows.questions, bridge.rows.labels, strict=True))}
    wanted = list(zip(steps.rows.questions, steps.rows.labels, strict=True))
    missing = [f"{question}/{label}" for question, label in wanted if (question, label) not in place]
    if missing:
        raise BadInput(f"A step was taken on {missing[0]!r}, which was not predicted: predict it too.")
    return bridge.predicted[[place[one] for one in wanted]]


def _over_questions(
    statistic: Callable[[Array, Array], float],
    x: Array,
    y: Array,
    questions: Sequence[str],
    unit: str,
    sampling: Sampling,
) -> Estimate:
    """A statistic of pairs of numbers, with whole questions resampled."""
    names, cluster = np.unique(np.asarray(questions), return_inverse=True)
    rows = [np.flatnonzero(cluster == i) for i in range(len(names))]

    def of_drawn(drawn: Array) -> float:
        picked = np.concatenate([rows[int(i)] for i in drawn])
        return statistic(x[picked], y[picked])

    return bootstrap(
        of_drawn,
        [np.arange(len(names))],
        names.tolist(),
        unit=unit,
        resamples=sampling.resamples,
        seed=sampling.seed,
    )


def _rank_correlation(x: Array, y: Array) -> float:
    """Spearman's: the correlation of ranks; 0 where one of them does not vary."""
    a, b = (rankdata(one) - (len(one) + 1) / 2 for one in (x, y))
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length else 0.0


def _slope(x: Array, y: Array) -> float:
    """Real move for each unit predicted, by least squares through the origin."""
    return float(x @ y / (x @ x)) if x.any() else 0.0


def _shuffled(x: Array, y: Array, seed: int) -> Control:
    generator = np.random.default_rng(seed)
    null = [_rank_correlation(x, generator.permutation(y)) for _ in range(_SHUFFLES)]
    middle, low, high = np.quantile(null, [0.5, 0.025, 0.975])
    return Control("pairs shuffled", float(middle), float(low), float(high))
