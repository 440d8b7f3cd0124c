"""What the tuned model's move consists of: a constant shift, a translation along v, a linear part, a rest.

Per question d = h_tuned - h_aligned. Parts are taken off one after the other, and the share of each is the
fall of the mean squared length that it brings:

    E||d||^2  =  E||d||^2   - E||d - c||^2          c: mean shift on neutral texts (context-independent)
              +  ((mu - c) . v)^2                   translation along v, beyond c
              +  ||mu - c||^2 - ((mu - c) . v)^2    every other mean shift, beyond c
              +  E||r||^2   - E||r - W h||^2        linear in h_aligned; r = d - mu
              +  E||r - W h||^2                     remainder

so the shares add up to 1 exactly, layer by layer. A share is negative where its part points the wrong way.
Squared means are freed of sampling noise (jackknife; otherwise a mean of n questions carries 1/n of the
remainder), and W is a ridge regression scored on questions it was not fitted on, so that what cannot be
foreseen is never counted as linear: with few questions the linear share is a lower bound.

The constant shift: narrow fine-tunes leave one that every text shows (arXiv 2510.13900), and it can pose
as a direction. A shift that differs between the two answers is part of the linear share, since the answers
lie apart in h_aligned.
"""

from collections.abc import Mapping

import numpy as np
import torch
from einops import einsum, reduce

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.experiments.dynamics_linear import linear_part
from erosion.experiments.dynamics_paired import Frame, paired, random_vectors
from erosion.linalg import in_double
from erosion.shapes import Array, Float, Tensor, Vector
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["SHARES", "Neutral", "move", "neutral_shift", "shares"]

SHARES = ("constant shift", "translation along v", "other mean shift", "linear in h", "remainder")
Neutral = Activations | Mapping[Site, Vector]
_UNIT = "share of mean squared move"


def neutral_shift(neutral: Mapping[str, Neutral], site: Site) -> Vector:
    """mean(h_tuned) - mean(h_aligned) on neutral texts at a site, float64.

    Raises:
        BadInput: a model or the site was not read.
    """
    means = {}
    for name in ("aligned", "tuned"):
        try:
            vectors = in_double(neutral[name][site])
        except KeyError:
            raise BadInput(
                f"The neutral texts lack {site} of the {name} model: read both models at every site."
            ) from None
        means[name] = vectors if vectors.ndim == 1 else reduce(vectors, "text d_model -> d_model", "mean")
    return means["tuned"] - means["aligned"]


def shares(
    acts: Mapping[str, Activations],
    directions: Mapping[Site, Direction],
    frame: Frame,
    *,
    neutral: Mapping[str, Neutral] | None,
) -> dict[str, Band]:
    """Part -> its share of the mean squared move by layer, each with a joint Fieller band; they sum to 1.

    Without neutral texts there is no ``constant shift``: it is then within the next two.

    The control of ``translation along v`` is the same share along random directions; that of ``linear in h``
    is the share after the questions of h were exchanged at random among themselves, which keeps what only
    the kind of answer foretells.

    Memory: four float64 copies of one site of the exchanges, and matrices of exchanges^2.
    """
    layers = [
        _parts(
            paired(acts["aligned"], site, frame.questions),
            paired(acts["tuned"], site, frame.questions),
            directions=_beside(v, frame),
            constant=None if neutral is None else neutral_shift(neutral, site),
            seed=frame.sampling.seed,
        )
        for site, v in directions.items()
    ]
    size = np.stack([layer["whole"] for layer in layers], axis=1)
    bands = {
        name: frame.ratio(np.stack([layer[name] for layer in layers], axis=1), size, unit=_UNIT)
        for name in SHARES
        if not (name == SHARES[0] and neutral is None)
    }
    for name, what in (
        (SHARES[1], "along random directions"),
        (SHARES[3], "activations of other questions"),
    ):
        curves = np.stack([layer[f"chance of {name}"] for layer in layers], axis=1)
        bands[name] = bands[name].with_control(frame.chance(curves, unit=_UNIT, what=what))
    return bands


def move(acts: Mapping[str, Activations], directions: Mapping[Site, Direction], frame: Frame) -> Band:
    """How large the move is: E||d||^2 / E||h_aligned||^2 by layer."""
    size, norm = [], []
    for site in directions:
        before, after = (paired(acts[name], site, frame.questions) for name in ("aligned", "tuned"))
        size.append(_per_question((after - before).square()))
        norm.append(_per_question(before.square()))
    return frame.ratio(np.stack(size, axis=1), np.stack(norm, axis=1), unit="share of squared norm")


def _beside(v: Direction, frame: Frame) -> Float[Tensor, "draw d_model"]:
    """The direction first, then random ones."""
    return torch.cat([in_double(v.vector)[None], random_vectors({v.site: v}, frame.sampling)[v.site]])


def _per_question(squares: Float[Tensor, "question side d_model"]) -> Array:
    return reduce(squares.sum(-1), "question side -> question", "mean").cpu().numpy()


def _parts(
    before: Float[Tensor, "question side d_model"],
    after: Float[Tensor, "question side d_model"],
    *,
    directions: Float[Tensor, "draw d_model"],
    constant: Vector | None,
    seed: int,
) -> dict[str, Array]:
    """One layer: each part per question, and by chance; the means over questions are the parts."""
    d = after - before
    c = torch.zeros_like(d[0, 0]) if constant is None else constant.to(d)
    about = reduce(d, "question side d_model -> question d_model", "mean") - c
    whole = _per_question(d.square())
    shift = whole - _per_question((d - c).square())
    along = _squared_mean(einsum(about, directions.to(d), "q d_model, draw d_model -> q draw"), "q draw")
    mean = _squared_mean(about, "q")[:, 0]
    linear, by_chance = linear_part(before, d, seed=seed, draws=len(directions) - 1)
    return {
        "whole": whole,
        SHARES[0]: shift,
        SHARES[1]: along[:, 0],
        SHARES[2]: mean - along[:, 0],
        SHARES[3]: linear,
        SHARES[4]: whole - shift - mean - linear,
        f"chance of {SHARES[1]}": along[:, 1:].mean(axis=0) / max(whole.mean(), 1e-300),
        f"chance of {SHARES[3]}": by_chance / max(whole.mean(), 1e-300),
    }


def _squared_mean(x: Float[Tensor, "q coordinate"], keep: str) -> Float[Array, "q kept"]:
    """Per question the jackknife's pseudo-values of the squared mean, coordinate by coordinate or summed.

    n ||m||^2 - (n - 1) ||m without i||^2; their mean is ||m||^2 - tr(covariance)/n, which has no bias.
    """
    n = len(x)
    mean = reduce(x, "q coordinate -> coordinate", "mean")
    without = (n * mean - x) / max(n - 1, 1)
    values = n * mean.square() - (n - 1) * without.square()
    kept = values if keep == "q draw" else reduce(values, "q coordinate -> q 1", "sum")
    return kept.cpu().numpy()
