"""How alike two models' activations are, layer by layer: CKA, cosine, separation, and what chance gives.

Separation and 1 - cosine of means are the paper's, here with bands; linear CKA (Kornblith et al. 2019) is
the debiased one, since with fewer questions than dimensions the plain one calls everything alike.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from einops import einsum, reduce

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.experiments.dynamics_paired import Frame, paired, random_vectors
from erosion.linalg import cka_without_each, cosine, debiased_linear_cka, in_double
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["likeness", "separations"]

Pair = Float[Tensor, "question side d_model"]
_HALVES = 40


def likeness(acts: Mapping[str, Activations], sites: tuple[Site, ...], frame: Frame) -> dict[str, object]:
    """For every two models: linear CKA, cosine of the same answer, and 1 - cosine of mean activations.

    Controls: CKA and cosine with the questions of one model exchanged at random (what the kind of text alone
    gives); for 1 - cosine of means the aligned model against itself on two random halves of the questions.
    ``CKA across answers`` is the aligned model's CKA between the aligned and the misaligned answers to the
    same questions: how alike two texts are to one model. Below 5 questions CKA is undefined.

    Memory: a float64 copy of one site for each model, and a few matrices of questions^2.
    """
    found: dict[str, list[dict[str, tuple[Array, ...]]]] = {}
    own = []
    for site in sites:
        here = {name: paired(one, site, frame.questions) for name, one in acts.items()}
        for one, other in combinations(sorted(here), 2):
            compared = _compare(here[one], here[other], here["aligned"], frame.sampling.seed)
            found.setdefault(f"{other} and {one}" if one == "base" else f"{one} and {other}", []).append(
                compared
            )
        own.append(_cka(here["aligned"][:, 0], here["aligned"][:, 1]))
    result: dict[str, object] = {name: _bands(layers, frame) for name, layers in found.items()}
    if len(frame.questions) >= 5:
        result["CKA across answers"] = frame.smooth(
            np.array([whole for whole, _ in own]),
            np.stack([without for _, without in own], axis=1),
            unit="CKA",
        )
    return result


def _bands(layers: list[dict[str, tuple[Array, ...]]], frame: Frame) -> dict[str, Band]:
    def stacked(name: str, part: int) -> Array:
        return np.stack([layer[name][part] for layer in layers], axis=-1)

    cos = frame.mean(stacked("cosine", 0), unit="cosine").with_control(
        frame.chance(stacked("cosine", 1), unit="cosine", what="questions exchanged")
    )
    distance = frame.smooth(stacked("distance", 0), stacked("distance", 1), unit="1 - cosine")
    distance = distance.with_control(
        frame.chance(
            stacked("distance", 2), unit="1 - cosine", what="aligned against itself, halves of the questions"
        )
    )
    bands = {"cosine": cos, "1 - cosine of mean activations": distance}
    if len(frame.questions) >= 5:
        cka = frame.smooth(stacked("CKA", 0), stacked("CKA", 1), unit="CKA")
        chance = frame.chance(stacked("CKA", 2), unit="CKA", what="questions exchanged")
        bands = {"CKA": cka.with_control(chance)} | bands
    return bands


def _compare(one: Pair, other: Pair, aligned: Pair, seed: int) -> dict[str, tuple[Array, ...]]:
    rng = np.random.default_rng(seed)  # the same draws at every layer
    orders = [torch.from_numpy(rng.permutation(len(one))) for _ in range(_HALVES)]
    result: dict[str, tuple[Array, ...]] = {"distance": (*_distance(one, other), _apart(aligned, orders))}
    alike = reduce(cosine(one, other), "question side -> question", "mean").cpu().numpy()
    by_chance = np.array([float(cosine(one, other[order]).mean()) for order in orders])
    result["cosine"] = alike, by_chance
    if len(one) >= 5:
        both = [_cka(one[:, side], other[:, side]) for side in (0, 1)]
        chance = [  # one kind of answer a draw, in turn: a little wider than the mean of both
            debiased_linear_cka(one[:, draw % 2], other[order][:, draw % 2])
            for draw, order in enumerate(orders)
        ]
        result["CKA"] = (
            np.asarray(np.mean([whole for whole, _ in both])),
            np.mean([without for _, without in both], axis=0),
            np.array(chance),
        )
    return result


def _cka(one: Float[Tensor, "question d_one"], other: Float[Tensor, "question d_other"]) -> tuple:
    if len(one) < 5:
        return np.nan, np.full(len(one), np.nan)
    return debiased_linear_cka(one, other), cka_without_each(one, other).cpu().numpy()


def _distance(one: Pair, other: Pair) -> tuple[Array, Array]:
    """1 - cosine of the mean activations, and the same without each question."""
    means = [reduce(x, "question side d_model -> question d_model", "mean") for x in (one, other)]
    n = len(one)
    without = [(x.sum(0) - x) / max(n - 1, 1) for x in means]
    whole = 1 - float(cosine(means[0].mean(0), means[1].mean(0)))
    return np.array(whole), (1 - cosine(*without)).cpu().numpy()


def _apart(aligned: Pair, orders: list[Tensor]) -> Float[Array, " draw"]:
    means = reduce(aligned, "question side d_model -> question d_model", "mean")
    middle = len(means) // 2
    halves = [(means[order[:middle]].mean(0), means[order[middle:]].mean(0)) for order in orders]
    return np.array([1 - float(cosine(*half)) for half in halves])


def separations(
    acts: Mapping[str, Activations], directions: Mapping[Site, Direction], frame: Frame
) -> dict[str, Band]:
    """The paper's separation (mean_aligned - mean_other)/(std + std) along v, with a band over layers.

    By the jackknife over questions, both answers together as published. Control: the same along random
    directions, the same draws at every layer.
    """
    others = [name for name in acts if name != "aligned"]
    found: dict[str, list[tuple[Array, Array, Array]]] = {name: [] for name in others}
    beside = random_vectors(directions, frame.sampling)
    for site, v in directions.items():
        along = torch.cat([in_double(v.vector)[None], beside[site]])
        placed = {
            name: einsum(
                paired(one, site, frame.questions), along, "question side d, draw d -> question side draw"
            )
            .cpu()
            .numpy()
            for name, one in acts.items()
        }
        for name in others:
            whole, without = _separation(placed["aligned"], placed[name])
            found[name].append((whole[0], without[:, 0], whole[1:]))
    bands = {}
    for name, layers in found.items():
        whole, without, chance = (np.stack([one[part] for one in layers], axis=-1) for part in range(3))
        null = frame.chance(chance, unit="separation", what="random directions")
        bands[name] = frame.smooth(whole, without, unit="separation").with_control(null)
    return bands


def _separation(
    one: Float[Array, "question side draw"], other: Float[Array, "question side draw"]
) -> tuple[Float[Array, " draw"], Float[Array, "question draw"]]:
    """Of all questions, and without each question, from sums and sums of squares."""
    whole, without = [], []
    for x in (one, other):
        x = x - one.mean(axis=(0, 1))
        first, second, n = x.mean(axis=1), (x**2).mean(axis=1), len(x)
        moments = [(v.mean(axis=0), (v.sum(axis=0) - v) / max(n - 1, 1)) for v in (first, second)]
        whole.append((moments[0][0], np.sqrt(np.maximum(moments[1][0] - moments[0][0] ** 2, 0))))
        without.append((moments[0][1], np.sqrt(np.maximum(moments[1][1] - moments[0][1] ** 2, 0))))
    return tuple((a[0] - b[0]) / np.maximum(a[1] + b[1], 1e-12) for a, b in (tuple(whole), tuple(without)))  # type: ignore[return-value]
