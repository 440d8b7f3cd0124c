"""Single answers, token by token: where they lie along the direction, what diverges, what was lost.

They are chosen by rule, not by eye: the held-out questions whose harm margin fell most and least from the
aligned to the tuned model. Values of one token have no interval; they show what an experiment's mean is made
of, and a random direction stands beside the direction so that colour is not mistaken for a finding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from erosion.errors import BadInput
from erosion.experiments.results import Result
from erosion.gradients import TokenInfluence
from erosion.metrics import Divergences, Responses, harm_margin_of
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.sites import Site
from erosion.token_projections import TokenProjections

__all__ = ["MEASURES", "TokenMeasures", "choose_shown", "tokens"]

MEASURES = {
    "position": "position along the direction (fitted gaps; 0 is midway between the sides)",
    "random": "the same along one random direction of the activations' covariance (fitted gaps)",
    "loss difference": "log p, tuned minus aligned (nats)",
    "KL": "KL of tuned from aligned (nats)",
    "influence": "how far learning the token would raise the harm margin of other questions, to first order",
}
_MODELS = ("aligned", "tuned")
_SIDES = ("aligned", "misaligned")


@dataclass(frozen=True, eq=False)
class TokenMeasures:
    """What was read of the answers that are shown; ``aligned`` and ``tuned`` are the keys of mappings.

    ``along`` is ``position`` -> projections on the direction at every layer, and ``random`` -> on a random
    one; ``middles`` says for each what is midway between the sides at each site (fitted gaps).
    ``compared``: tuned from aligned. ``influence`` may say why there is none.
    """

    along: Mapping[str, Mapping[str, TokenProjections]]
    middles: Mapping[str, Mapping[Site, float]]
    scored: Mapping[str, Responses]
    compared: Divergences
    influence: TokenInfluence | str


def choose_shown(
    scored: Mapping[str, Responses], questions: Sequence[str], shown: int | Sequence[str] = 6
) -> dict[str, str]:
    """Question -> why it is shown: half of them lost most of the harm margin, half least.

    Args:
        scored: ``aligned`` and ``tuned`` -> responses.
        questions: to choose among.
        shown: how many, or which.

    Raises:
        BadInput: a question that was not asked.
    """
    before, after = (harm_margin_of(scored[model]) for model in _MODELS)
    change = dict(zip(before.questions, (after.values - before.values).tolist(), strict=True))
    if not isinstance(shown, int):
        for one in shown:
            if one not in change:
                near = get_close_matches(one, change, n=1)
                hint = f": did you mean {near[0]!r}?" if near else ": choose a question of the contrast."
                raise BadInput(f"There is no question {one!r} to show{hint}")
        return dict.fromkeys(shown, "asked for")
    ordered = sorted((q for q in questions if q in change), key=lambda q: (change[q], q))
    most = min(shown, len(ordered))
    lost = dict.fromkeys(ordered[: (most + 1) // 2], "lost most")
    return lost | dict.fromkeys(ordered[len(ordered) - most // 2 :][::-1], "lost least")


def tokens(measured: TokenMeasures, shown: Mapping[str, str], *, asked: Contrast, at: Site) -> Result:
    """Both answers to some questions, each token with every measure, in aligned and in tuned.

    Args:
        measured: what was read.
        shown: question -> why it is shown (see :func:`choose_shown`).
        asked: the contrast that they are of: what was asked, and in which domain.
        at: the site that a reader sees first.

    Raises:
        BadInput: an answer that was not read.

    Memory: tokens x layers x 4 numbers. Values keep four significant digits.
    """
    sites = measured.along["position"]["aligned"].sites
    margins = {
        model: dict(zip(harm_margin_of(one).questions, harm_margin_of(one).values.tolist(), strict=True))
        for model, one in measured.scored.items()
    }
    read = measured.along["position"]["tuned"].values
    missing = [q for q in shown for s in _SIDES if f"{q}/{s}" not in read]
    if missing:
        raise BadInput(
            f"The answers to {missing[0]!r} were not read: project the tokens of all that is shown."
        )
    domains = dict(zip(asked.questions, asked.domains, strict=True))
    says = {one.question: one.messages[-1].content for one in asked.aligned}
    found = [
        {
            "question": question,
            "domain": domains[question],
            "asked": says[question],
            "why": why,
            "margin": {model: _short(margins[model][question]) for model in _MODELS},
            "answers": {side: _answer(measured, f"{question}/{side}") for side in _SIDES},
        }
        for question, why in shown.items()
    ]
    ours: dict[str, Any] = {
        "layers": [site.layer for site in sites],
        "first layer shown": at.layer,
        "shown": found,
        "measures": dict(MEASURES),
    }
    if isinstance(measured.influence, str):
        ours["without influence"] = measured.influence
        ours["measures"].pop("influence")
    else:
        ours["error of influence"] = _short(measured.influence.error)
    chosen = {why: sum(one == why for one in shown.values()) for why in dict.fromkeys(shown.values())}
    return Result("tokens", {"questions shown": chosen, "layers": len(sites)}, {}, ours)


def _answer(measured: TokenMeasures, name: str) -> dict[str, Any]:
    """One answer: its words, and each measure of each token."""
    question, side = name.rsplit("/", 1)
    read = measured.along["position"]["aligned"]
    scored = {model: _of(one, one.log_likelihood, question, side) for model, one in measured.scored.items()}
    answer: dict[str, Any] = {
        "words": list(read.words[name]),
        "response": list(read.responses[name]),
        **{
            kind: {model: _placed(one, name, measured.middles[kind]) for model, one in by_model.items()}
            for kind, by_model in measured.along.items()
        },
        "loss difference": _all_short(scored["tuned"] - scored["aligned"]),
        "KL": _all_short(_of(measured.compared, measured.compared.kl, question, side)),
    }
    if not isinstance(measured.influence, str):
        answer["influence"] = _all_short(measured.influence.values[name])
    return answer


def _placed(one: TokenProjections, name: str, middles: Mapping[Site, float]) -> list[list[float | None]]:
    """Positions by layer, from midway between the sides."""
    return [_all_short(one.values[name][row] - middles[site]) for row, site in enumerate(one.sites)]


def _of(one: Responses | Divergences, values: Sequence[Array], question: str, side: str) -> Array:
    rows = zip(one.questions, one.labels, values, strict=True)
    return next(v for q, label, v in rows if q == question and label == side)


def _all_short(values: Array) -> list[float | None]:
    return [_short(one) for one in np.asarray(values, dtype=float).tolist()]


def _short(value: float) -> float | None:
    """Four significant digits; None where there is no number."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
