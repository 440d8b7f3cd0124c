"""Token by token: how far learning one token would move a target, to first order.

A small step r of training that raises log p of token t moves every map by r G_t, and the target's mean m by

    m(W + r G_t) - m(W) = r <G_t, u> + O(r^2),   G_t = gradient of log p_t,   u = gradient of m

(the influence of one term of the loss, after Pruthi et al., TracIn, arXiv 2002.08484). Read from the other
end, <G_t, u> is the derivative of log p_t along u, so all tokens of an answer cost two forward passes with
the weights moved along u and back, instead of one backward pass for each token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from erosion.errors import BadModel
from erosion.gradients.bridge import target_gradient
from erosion.gradients.passes import exact, token_log_likelihood
from erosion.gradients.rows import chosen
from erosion.gradients.steps import stepped
from erosion.gradients.targets import Target
from erosion.models import Batch, Model
from erosion.models.linears import Linear, LinearMap, linears
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Array, Float, Tensor

__all__ = ["MOVE", "TokenInfluence", "token_influence"]

MOVE = 1e-3  # of the weights' length: the move that influences are given for
_PROBED = (1e-1, 5e-2)  # of MOVE: the moves at which the derivative is taken
_ROUGH = 0.1  # of the largest influence: a disagreement of the two probes that is too much


@dataclass(frozen=True, eq=False)
class TokenInfluence:
    """Exchange id -> the influence of each of its response tokens, in nats.

    A value is how much log p of the token rises, to first order, when the weights move by 0.1% of their
    length along the gradient of ``target``; and so, up to a factor that all tokens share, how much learning
    the token raises the target. ``error`` is the disagreement of two step sizes, over the largest value.
    """

    values: Mapping[str, Float[Array, " token"]]
    target: str
    error: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = {key: one.tolist() for key, one in self.values.items()}
        return {"schema": 1, "values": values, "target": self.target, "error": self.error}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "TokenInfluence":
        """Read back what :meth:`to_json` gave."""
        values = {key: np.array(one, dtype=float) for key, one in plain["values"].items()}
        return cls(values, plain["target"], plain["error"])


def token_influence(
    model: Model,
    exchanges: Contrast | Sequence[Exchange],
    *,
    target: Target,
    maps: Sequence[LinearMap] | None = None,
) -> TokenInfluence:
    """How far learning each response token would move a target, to first order.

    Args:
        model: a loaded model. Its weights are moved and put back, bit for bit, also after an error.
        exchanges: whose response tokens are asked about.
        target: see :func:`projection_target` and :func:`margin_target`; on other questions than these.
        maps: what would be trained; all linear maps when not given.

    Raises:
        BadInput: a map that is not there, a response that does not tokenize or fit.
        BadModel: a model that routes tokens to experts, where feed-forward maps are asked for; a target with
            no slope; weights of too low a precision for a small move to be told from its rounding.

    Memory: the chosen weights twice more in float32, and one batch's forward and backward pass. Time: one
    forward and one backward pass for each of the target's exchanges, and four forward passes for each of
    ``exchanges``.

    >>> import erosion as er
    >>> words = er.load_organism().contrast()
    >>> asked, others = words.only(words.questions[:1]), words.only(words.questions[1:3])
    >>> with er.load(er.load_organism().triad().aligned) as model:
    ...     found = er.token_influence(model, asked, target=er.margin_target(others))
    >>> list(found.values) == [one.id for one in asked.exchanges]
    True
    """
    answers, places = chosen(exchanges), linears(model, maps)
    towards = target_gradient(model, target, places)
    length = float(sum(one.double().square().sum() for one in towards.values())) ** 0.5
    if not np.isfinite(length):
        raise BadModel(f"The gradient of the {target.name} is not finite ({length:g}) in this model's dtype.")
    if not length > 0:
        raise BadModel(f"The {target.name} has no slope at these maps ({length:g}): nothing leads to it.")
    weights = sum(float(exact(place.weight).double().square().sum()) for place in places.values()) ** 0.5
    unit = MOVE * weights / length
    slopes = [_slope(model, answers, places, towards, unit, share) for share in _PROBED]
    most = max((float(np.abs(one).max(initial=0)) for one in slopes[1]), default=0.0)
    apart = max(
        (float(np.abs(a - b).max(initial=0)) for a, b in zip(*slopes, strict=True)),
        default=0.0,
    )
    error = apart / most if most > 0 else float("inf")
    if not error < _ROUGH:
        raise BadModel(
            f"Two small moves along the gradient of the {target.name} disagree by {error:.0%}: the weights' "
            "precision is too low to tell such a move from its rounding. Load the model in float32."
        )
    richer = [(4 * fine - coarse) / 3 for coarse, fine in zip(*slopes, strict=True)]
    return TokenInfluence(
        {one.id: values for one, values in zip(answers, richer, strict=True)}, target.name, error
    )


def _slope(
    model: Model,
    answers: Sequence[Exchange],
    places: dict[LinearMap, Linear],
    towards: Mapping[LinearMap, Float[Tensor, "out into"]],
    unit: float,
    share: float,
) -> list[Float[Array, " token"]]:
    """The derivative of every token's log p along the target's gradient, from both sides, per ``unit``."""
    found = []
    for by in (share, -share):
        with stepped(places, {one: by * unit * u for one, u in towards.items()}):
            found.append(_log_likelihoods(model, answers))
    return [(up - down) / (2 * share) for up, down in zip(*found, strict=True)]


def _log_likelihoods(model: Model, answers: Sequence[Exchange]) -> list[Float[Array, " token"]]:
    found: list[Array] = [np.zeros(0)] * len(answers)

    @torch.no_grad()
    def work(batch: Batch) -> None:
        log_p, inside = (one.cpu() for one in token_log_likelihood(model, batch))
        for row, i in enumerate(batch.index):
            found[i] = log_p[row][inside[row].bool()].double().numpy()

    model.for_each_batch(model.render(answers), work, name=f"moving the weights of {model.found}")
    return found
