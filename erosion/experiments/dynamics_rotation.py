"""Whether the direction itself turned: v fitted in the aligned model against v fitted in the tuned one.

Two fits on finite questions never agree exactly, so an angle means nothing by itself. Two guards: the
angle is taken between fits on *different* halves of the questions, beside the angle between such halves
within one model (the noise floor, alike in noise); and the cosine with the noise removed,

    <v_a, v_t>_u / sqrt(<v_a, v_a>_u <v_t, v_t>_u),   <x, y>_u = mean over i != j of x_i . y_j

over paired differences, whose expectation no noise enters (a U-statistic): 1 = the same direction.
"""

from collections.abc import Mapping

import numpy as np
from einops import einsum

from erosion.activations import Activations
from erosion.experiments.dynamics_paired import Frame, paired
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["rotation"]

_SPLITS = 40
Gram = Float[Array, "question other"]


def rotation(acts: Mapping[str, Activations], sites: tuple[Site, ...], frame: Frame) -> dict[str, Band]:
    """Principal angles in degrees and noise-free cosines by layer, with jackknife bands over questions.

    ``angle`` is between aligned and tuned, its control between two halves of the aligned model alone;
    ``angle within tuned`` is the tuned model's own floor. ``cosine without noise`` is undefined where a
    model's gap does not exceed its noise.

    Memory: two float64 copies of one site, and matrices of questions^2.
    """
    halves = _halves(len(frame.questions), frame.sampling.seed)
    names = ("angle", "angle within aligned", "angle within tuned", "cosine without noise")
    found: dict[str, list[tuple[Array, Array]]] = {name: [] for name in names}
    for site in sites:
        gaps = {}
        for name in ("aligned", "tuned"):
            both = paired(acts[name], site, frame.questions)
            gaps[name] = (both[:, 0] - both[:, 1]).cpu()

        def gram(one: str, other: str, gaps: dict = gaps) -> Gram:
            return einsum(gaps[one], gaps[other], "q d, other d -> q other").numpy()

        aa, tt, at = gram("aligned", "aligned"), gram("tuned", "tuned"), gram("aligned", "tuned")
        found[names[0]].append(_angle(at, aa, tt, halves))
        found[names[1]].append(_angle(aa, aa, aa, halves))
        found[names[2]].append(_angle(tt, tt, tt, halves))
        found[names[3]].append(_noise_free(at, aa, tt))
    bands = {
        name: frame.smooth(
            np.array([whole for whole, _ in layers]),
            np.stack([without for _, without in layers], axis=1),
            unit="cosine" if name == names[3] else "degrees",
        )
        for name, layers in found.items()
    }
    return {names[0]: bands[names[0]].with_control(bands[names[1]])} | {n: bands[n] for n in names[2:]}


def _halves(n: int, seed: int) -> Float[Array, "draw question"]:
    rng = np.random.default_rng(seed)
    first = np.zeros((_SPLITS, n))
    first[:, : n // 2] = 1
    return rng.permuted(first, axis=1)


def _angle(
    cross: Gram, left: Gram, right: Gram, halves: Float[Array, "draw question"]
) -> tuple[Array, Float[Array, " question"]]:
    """Mean angle between left's v on one half and right's v on the other, and without each question."""
    one, other = halves, 1 - halves
    over = one @ cross
    dots = (over * other).sum(axis=1)
    squares = [np.einsum("dq,qo,do->d", mask, gram, mask) for mask, gram in ((one, left), (other, right))]
    dots_without = dots[:, None] - one * (other @ cross.T) - other * over
    squares_without = [
        square[:, None] - mask * (2 * (mask @ gram) - np.diag(gram))
        for square, mask, gram in zip(squares, (one, other), (left, right), strict=True)
    ]
    return np.asarray(_degrees(dots, *squares).mean()), _degrees(dots_without, *squares_without).mean(axis=0)


def _degrees(dots: Array, left: Array, right: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = dots / np.sqrt(np.maximum(left, 0) * np.maximum(right, 0))
    return np.degrees(np.arccos(np.clip(np.abs(cosines), 0, 1)))


def _noise_free(cross: Gram, left: Gram, right: Gram) -> tuple[Array, Float[Array, " question"]]:
    sums, without = [], []
    for gram in (cross, left, right):
        apart = gram - np.diag(np.diag(gram))
        n = len(gram)
        sums.append(apart.sum() / (n * (n - 1)))
        rest = apart.sum() - apart.sum(axis=0) - apart.sum(axis=1)
        without.append(rest / max((n - 1) * (n - 2), 1))
    return _ratio(*(np.asarray(one) for one in sums)), _ratio(*without)


def _ratio(cross: Array, left: Array, right: Array) -> Array:
    clear = (left > 0) & (right > 0)
    return np.where(clear, cross / np.sqrt(np.where(clear, left * right, 1.0)), np.nan)
