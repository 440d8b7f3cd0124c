"""How far the written answers lie from what the models would say themselves.

For each model and domain: how much more surprising, per token, a written answer is than the model's own
answer to the same question, beside what two of its own answers differ by. A contrast whose *both* sides
lie far off every model's own distribution measures text that nobody writes. Whether a direction fitted on
judged own answers points where the written contrast's does needs a judge, and is not computed here.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.results import Result
from erosion.metrics import OnPolicy
from erosion.stats import Estimate, difference, mean, share

__all__ = ["off_distribution"]

_UNIT = "nats per token"


def off_distribution(
    answered: Mapping[str, OnPolicy],
    domains: Mapping[str, str],
    *,
    trained_domains: Sequence[str] = (),
) -> Result:
    """Surprise at the written answers minus surprise at a model's own, by model and domain.

    gap(x) = -mean log p(written | x) + mean log p(own | x), own sampled from the model at temperature 1

    Args:
        answered: model -> what :func:`erosion.metrics.on_policy` gave.
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on: kept out of the overall numbers.

    Raises:
        BadInput: no model.

    Memory: a few floats for each question. Every number uses every question that was answered.
    """
    if not answered:
        raise BadInput("No model answered anything: give at least one model's own answers.")
    named = {d for one in answered.values() for d in (domains[q] for q in one.questions)}
    ours = {
        "overall": {name: _of(one, domains, named - {*trained_domains}) for name, one in answered.items()}
    }
    ours |= {d: {name: _of(one, domains, {d}) for name, one in answered.items()} for d in sorted(named)}
    inputs = {
        "models": list(answered),
        "questions": {name: len(one) for name, one in answered.items()},
        "left out (no answer)": {name: len(one.left_out) for name, one in answered.items()},
        "trained_domains": list(trained_domains),
        "not computed": "the cosine of a direction fitted on judged own answers: it needs a judge",
    }
    return Result(
        "on_policy", inputs, {}, {group: found for group, found in ours.items() if any(found.values())}
    )


def _of(one: OnPolicy, domains: Mapping[str, str], keep: set[str]) -> dict[str, Estimate]:
    rows = [i for i, question in enumerate(one.questions) if domains[question] in keep]
    if not rows:
        return {}
    asked = [one.questions[i] for i in rows]
    own = one.own[rows]
    control = difference(one.again[rows], own, asked, unit=_UNIT)
    gaps = {
        f"{side} answers": difference(getattr(one, side)[rows], own, asked, unit=_UNIT).with_control(
            control, name="a second answer of the model's own"
        )
        for side in ("aligned", "misaligned")
    }
    ended = share(np.array(one.ended)[rows], unit="share of own answers that ended")
    return gaps | {"own answers": mean(own, asked, unit=_UNIT), "ended": ended}
