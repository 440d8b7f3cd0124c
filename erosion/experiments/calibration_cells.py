"""One cell of a calibration: many simulated audits of one design, and how often each promise was kept.

A cell is a pure function of its design, number of audits and seed, and gives plain counts, so that it may be
computed anywhere, in any order, and cached.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum

from erosion.directions import difference_of_means
from erosion.experiments.calibration_planted import (
    NOISES,
    PREFERRED,
    Design,
    Planted,
    expected_cosine,
    generator,
    planted,
)
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import (
    SMALLEST,
    Margins,
    erosion,
    fitted_null_band,
    mean,
    null_band,
    permutation_test,
    ratio,
    ratio_band,
    simultaneous_band,
    verdict,
)
from erosion.stats.verdicts import word_for

__all__ = ["Cell", "inside", "judged", "measured"]

Seen = float | int
_SMALLEST = SMALLEST["erosion"]
_DRAWS, _SWAPS = 499, 99  # of each band, and of each test that refits: enough for a rate, not for a paper


@dataclass(frozen=True)
class Cell:
    """What to simulate: ``part`` (:func:`judged` or :func:`inside`) of ``audits`` audits of ``design``."""

    part: Callable[[Design, int, int], dict[str, Seen]]
    design: Design
    audits: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """All that decides the cell's counts: what to cache it by."""
        return {
            "part": self.part.__name__,
            "design": self.design.to_json(),
            "audits": self.audits,
            "seed": self.seed,
        }


def measured(cell: Cell) -> dict[str, Any]:
    """The cell's counts beside what they are counts of, as plain values."""
    sums: Counter[str] = Counter()
    for audit in range(cell.audits):
        sums.update({name: float(hit) for name, hit in cell.part(cell.design, cell.seed, audit).items()})
    return {**cell.to_json(), "sums": {name: float(total) for name, total in sorted(sums.items())}}


def judged(design: Design, seed: int, audit: int) -> dict[str, Seen]:
    """One audit up to its verdict: the word, and which intervals held the truth.

    Questions are clustered as the design is; ``clusters ignored`` takes every question as independent and
    ``unguarded`` is Fieller's interval with Student's t alone: controls, to see that a miss would be seen.
    """
    made = planted(design, generator(design, seed, audit))
    of = made.margins()
    arms = of["aligned"], of["tuned"], of["base"]
    found = verdict(Margins(*arms, made.clusters, made.domains))
    seen: dict[str, Seen] = {f"word: {found.word}": 1}
    if found.quantity == "margin":
        seen["erosion undefined"] = 1
    else:
        seen["erosion covered"] = found.estimate.covers(design.erosion)
    seen["loss covered"] = found.loss.covers(design.erosion * design.gained)
    if design.domains == design.per_cluster == 1:
        plain = word_for(
            ratio(of["aligned"] - of["tuned"], of["aligned"] - of["base"], made.questions), _SMALLEST
        )
        seen[f"unguarded: {plain}"] = 1
    if design.domains > 1:
        parts = [part.estimate for part in found.domains if part.quantity == "erosion"]
        seen["domains covered"] = all(part.covers(design.erosion) for part in parts)
    if design.per_cluster > 1:
        seen["clusters ignored"] = erosion(*arms, made.questions).covers(design.erosion)
    return seen


def inside(design: Design, seed: int, audit: int) -> dict[str, Seen]:
    """One audit inside the model: fit a direction, project other questions, bands and tests by layer."""
    rng = generator(design, seed, audit)
    fit = planted(design, rng)
    held_out = planted(design, rng, directions=fit.directions)
    vectors = _fitted(fit)
    cosines = (vectors * fit.directions).sum(axis=1)
    gaps = design.height * (PREFERRED + design.gained)
    expected = np.array([expected_cosine(gap, design.fitted_noise, design.width) for gap in gaps])
    return {
        "cosine": float((cosines - expected).mean()),
        "cosine squared": float((cosines - expected).mean() ** 2),
        "expected cosine": float(expected.mean()),
        **_bands(design, held_out, vectors, cosines, audit),
        **_tests(design, rng, audit),
    }


def _fitted(fit: Planted) -> Float[Array, "layer width"]:
    apart = torch.from_numpy(fit.apart["aligned"]).float()
    return np.stack(
        [
            difference_of_means(apart[:, layer] / 2, -apart[:, layer] / 2, at=Site(layer)).vector.numpy()
            for layer in range(apart.shape[1])
        ]
    ).astype(float)


def _bands(
    design: Design,
    held_out: Planted,
    vectors: Float[Array, "layer width"],
    cosines: Float[Array, " layer"],
    seed: int,
) -> dict[str, Seen]:
    """Which intervals along the fitted directions hold the truth, given those directions."""
    ids = held_out.questions
    at = {model: einsum(apart, vectors, "q l w, l w -> q l") for model, apart in held_out.apart.items()}
    lost, gained = at["aligned"] - at["tuned"], at["aligned"] - at["base"]
    truth = design.erosion * design.gained * design.height * cosines
    curve = simultaneous_band(lost, ids, unit="nats", resamples=_DRAWS, seed=seed)
    ratios = ratio_band(lost, gained, ids, resamples=_DRAWS, seed=seed)
    nothing = null_band(lost - truth, ids, permutations=_DRAWS, seed=seed)
    of_aligned, of_tuned, of_base = (at[model][:, -1] for model in ("aligned", "tuned", "base"))
    return {
        "mean covered": mean(lost[:, -1], ids, unit="nats").covers(float(truth[-1])),
        "fitted erosion covered": erosion(of_aligned, of_tuned, of_base, ids).covers(design.erosion),
        "band covered": bool(((curve.low <= truth) & (truth <= curve.high)).all()),
        "ratio band covered": all(ratios.at(one).covers(design.erosion) for one in ratios.labels),
        "sign flips false": bool((nothing.p <= 0.05).any()),
    }


def _tests(design: Design, rng: np.random.Generator, seed: int) -> dict[str, Seen]:
    """Whether a direction fitted to two alike sides, and refitted to every swap, looks like one somewhere."""
    sides_of = NOISES[design.noise](rng, (2, design.questions, design.layers, design.width))
    apart = sides_of[0] - sides_of[1]
    sides = np.repeat([1.0, -1.0], design.questions)
    ids = [f"q{i:04d}" for i in range(design.questions)] * 2

    def separation(side: Array) -> Array:
        swapped = side[: len(apart), None, None] * apart
        centre = swapped.mean(axis=0)
        along = einsum(swapped, centre, "q l w, l w -> q l")
        return along.mean(axis=0) / along.std(axis=0)

    test = permutation_test(separation, sides, ids, permutations=_SWAPS, seed=seed)
    band = fitted_null_band(test, unit="SD")
    return {
        "refitted test false": bool((test.p <= 0.05).any()),
        "fitted null band false": bool((band.p <= 0.05).any()),
    }
