"""From gradients to what they move: the first-order effect of one training step on a target.

One step of SGD of size r on exchange i changes every map by -r G_i, and so the target's mean m by

    m(W - r G_i) - m(W) = -r <G_i, u> + O(r^2),   u = the gradient of m with respect to the maps

(the influence of a step, as in Pruthi et al., TracIn, arXiv 2002.08484). Only the chosen linear maps move;
biases, norms and embeddings stay. :mod:`erosion.gradients.steps` takes the step and measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import einsum

from erosion.gradients.passes import backward, exact, response_losses
from erosion.gradients.rows import Rows, chosen, load_tensors, rows_of, save_tensors
from erosion.gradients.targets import Target
from erosion.models import Batch, Model
from erosion.models.linears import Linear, LinearMap, linears, parse_map
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Array, Float, Tensor

__all__ = ["Bridge", "gradient_bridge", "load_bridge", "target_gradient"]


@dataclass(frozen=True, eq=False)
class Bridge:
    """Linear map -> -<G_i, u> of each exchange: the predicted move of the target per unit of step size.

    ``lengths`` are the norms of the exchanges' gradients over all maps, ``weight_norm`` that of the weights.
    """

    values: Mapping[LinearMap, Float[Array, " exchange"]]
    lengths: Float[Array, " exchange"]
    weight_norm: float
    rows: Rows
    target: str
    unit: str

    @property
    def predicted(self) -> Float[Array, " exchange"]:
        """The predicted move over all maps, for a step of size 1."""
        return np.sum(list(self.values.values()), axis=0)

    def rate(self, relative: float = 1e-3) -> float:
        """The step size at which the median step is ``relative`` times as long as the weights."""
        return float(relative * self.weight_norm / np.median(self.lengths))

    def save(self, path: str | Path) -> Path:
        """Write it as safetensors, atomically; :func:`load_bridge` reads it bit for bit."""
        tensors = {str(one): torch.from_numpy(v) for one, v in self.values.items()}
        tensors["lengths"] = torch.from_numpy(self.lengths)
        facts = {"weight_norm": self.weight_norm, "target": self.target, "unit": self.unit}
        return save_tensors(path, "gradient bridge", tensors, self.rows, **facts)


def load_bridge(path: str | Path) -> Bridge:
    """Read what :meth:`Bridge.save` wrote.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    tensors, rows, header = load_tensors(path, "gradient bridge")
    lengths = tensors.pop("lengths").numpy()
    values = {parse_map(name): one.numpy() for name, one in tensors.items()}
    return Bridge(values, lengths, header["weight_norm"], rows, header["target"], header["unit"])


def gradient_bridge(
    model: Model,
    exchanges: Contrast | Sequence[Exchange],
    *,
    target: Target,
    maps: Sequence[LinearMap] | None = None,
) -> Bridge:
    """How far one SGD step on each exchange's response loss would move a target, to first order.

    Args:
        model: a loaded model. No parameter is changed.
        exchanges: candidates to train on, one number for each.
        target: see :func:`projection_target` and :func:`margin_target`; on other questions than the
            candidates'.
        maps: what would be trained; all linear maps when not given. Maps that the target does not depend on
            (above the direction's site) predict 0.

    Raises:
        BadInput: a map that is not there, a response that does not tokenize or fit.
        BadModel: a model that routes tokens to experts, where feed-forward maps are asked for.

    Memory: the chosen weights once more in float32, and one batch's forward and backward pass. Time: one
    forward and one backward pass for each exchange and for each of the target's.
    """
    answers, places = chosen(exchanges), linears(model, maps)
    towards = target_gradient(model, target, places)
    values = {one: np.zeros(len(answers)) for one in places}
    squares, losses = np.zeros(len(answers)), np.full(len(answers), np.nan)

    def work(batch: Batch) -> None:
        found: dict[LinearMap, tuple[Tensor, Tensor]] = {}

        def use(one: LinearMap, delta: Tensor, a: Tensor) -> None:
            delta, a = exact(delta), exact(a)
            tokens = (delta @ delta.transpose(-1, -2)) * (a @ a.transpose(-1, -2))
            along = delta.new_zeros(len(delta))
            if one in towards:
                along = -einsum(delta, a @ towards[one].T, "b t o, b t o -> b")
            found[one] = along, tokens.sum((-1, -2))

        index = list(batch.index)
        losses[index] = backward(model, batch, places, use, of=response_losses).double().cpu().numpy()
        squares[index] = 0
        for one, (along, square) in found.items():
            values[one][index] = along.double().cpu().numpy()
            squares[index] += square.double().cpu().numpy()

    model.for_each_batch(model.render(answers), work, name=f"gradient bridge of {model.found}")
    norm = sum(float(exact(place.weight).double().square().sum()) for place in places.values()) ** 0.5
    return Bridge(values, np.sqrt(squares), norm, rows_of(answers, losses), target.name, target.unit)


def target_gradient(
    model: Model, target: Target, places: Mapping[LinearMap, Linear]
) -> dict[LinearMap, Float[Tensor, "out into"]]:
    """u: the gradient of the target's mean at every map that it depends on."""
    total: dict[LinearMap, Tensor] = {}

    def work(batch: Batch) -> None:
        found: dict[LinearMap, Tensor] = {}

        def use(one: LinearMap, delta: Tensor, a: Tensor) -> None:
            found[one] = einsum(exact(delta), exact(a), "b t o, b t i -> o i") / len(target.exchanges)

        backward(model, batch, places, use, of=target.values)
        for one, part in found.items():
            total[one] = total[one] + part if one in total else part

    model.for_each_batch(model.render(target.exchanges), work, name=f"gradient of the {target.name}")
    return total
