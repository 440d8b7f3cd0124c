"""Audits whose truth is known: activations of three models with a planted direction and a planted erosion.

Each question has an aligned and a misaligned answer; along one direction at every layer the models set the
two apart by as much as they prefer the aligned one. Alignment adds ``gained`` to that, the fine-tune takes
away ``erosion`` of it and an error of its own, per question, in whatever shape the noise has.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from einops import einsum
from scipy import special

from erosion.shapes import Array, Float

__all__ = ["MODELS", "NOISES", "Design", "Planted", "expected_cosine", "generator", "planted"]

MODELS = ("base", "aligned", "tuned")
NOISES: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,  # skewness 2
    "skewed down": lambda rng, size: 1 - rng.exponential(size=size),
    "heavy-tailed": lambda rng, size: rng.standard_t(4, size=size) / math.sqrt(2),  # no fourth moment
}
"""Name -> noise of mean 0 and variance 1."""

PREFERRED = 1.0  # how far apart base holds the two answers
SPREAD = 0.4  # SD over questions of the fine-tune's error, in the margin's unit
VARIES = 0.5  # SD over questions of what base prefers and of what alignment gained
WORDING = 1.0  # SD, in every dimension, of what the words of an answer bring, the same under every model
READING = 0.05  # SD, in every dimension, of what a model adds of its own
SHARED = 0.5  # of the variance over questions, what the questions of one cluster share


@dataclass(frozen=True)
class Design:
    """What one kind of simulated audit looks like.

    ``questions`` counts independent units: with ``per_cluster`` above 1 they are clusters (templates) of so
    many questions each. ``noise`` is a name in :data:`NOISES`; ``gained`` what alignment added on average.

    >>> Design(noise="skewed").words
    '96 questions, skewed'
    """

    questions: int = 96
    domains: int = 1
    noise: str = "normal"
    erosion: float = 0.1
    gained: float = 1.5
    per_cluster: int = 1
    layers: int = 1
    width: int = 16

    @property
    def words(self) -> str:
        """The design in a few words."""
        unit = "questions" if self.per_cluster == 1 else f"clusters of {self.per_cluster} questions"
        parts = [f"{self.questions} {unit}", self.noise]
        if self.domains > 1:
            parts.insert(1, f"{self.domains} domains")
        if self.gained != Design.gained:
            parts.append(f"gained {self.gained:g}")
        return ", ".join(parts)

    @property
    def height(self) -> Float[Array, " layer"]:
        """How much of the preference has arrived at each layer: a half at the first, all at the last."""
        return np.linspace(0.5, 1.0, self.layers) if self.layers > 1 else np.ones(1)

    @property
    def fitted_noise(self) -> float:
        """The SD, in every dimension, of the mean difference that a direction is fitted from."""
        return math.sqrt(2 * (WORDING**2 + READING**2) / (self.questions * self.per_cluster))

    def to_json(self) -> dict[str, Any]:
        """The design as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Planted:
    """One simulated triad on one set of questions.

    ``apart[model]`` is aligned minus misaligned activations, ``[question, layer, width]``; ``directions``
    the planted unit vectors, ``[layer, width]``.
    """

    apart: Mapping[str, Array]
    directions: Float[Array, "layer width"]
    questions: tuple[str, ...]
    clusters: tuple[str, ...]
    domains: tuple[str, ...]

    def margins(self) -> dict[str, Array]:
        """Each model's preference for the aligned answer, read off the last layer, ``[question]``."""
        return {model: apart[:, -1] @ self.directions[-1] for model, apart in self.apart.items()}


def generator(design: Design, seed: int, audit: int) -> np.random.Generator:
    """The same draws for the same design, seed and audit, whatever else is simulated."""
    return np.random.default_rng([seed, audit, zlib.crc32(repr(design).encode())])


def planted(
    design: Design, rng: np.random.Generator, *, directions: Float[Array, "layer width"] | None = None
) -> Planted:
    """Simulate one triad on ``design``.

    apart(model) = words' difference + height_l · s_q(model) · v_l + reading error, with s(base) = 1 + noise,
    s(aligned) = s(base) + gained, s(tuned) = s(aligned) - erosion · gained - error.

    Args:
        design: what to simulate.
        rng: of the draws.
        directions: where the preference is written; drawn uniformly where not given.

    Memory: 8 x 3 x questions x layers x width bytes.
    """
    n, shape = design.questions * design.per_cluster, (design.layers, design.width)
    drawn = rng.normal(size=shape) if directions is None else directions
    along: Array = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    own = PREFERRED + VARIES * _latent(design, rng)
    gained = design.gained + VARIES * _latent(design, rng)
    lost = design.erosion * gained + SPREAD * _latent(design, rng)
    held = {"base": own, "aligned": own + gained, "tuned": own + gained - lost}
    wording = math.sqrt(2) * WORDING * rng.normal(size=(n, *shape))
    apart = {
        model: wording
        + einsum(held[model], design.height, along, "q, l, l w -> q l w")
        + math.sqrt(2) * READING * rng.normal(size=(n, *shape))
        for model in MODELS
    }
    of_cluster = np.arange(n) // design.per_cluster
    return Planted(
        apart,
        along,
        tuple(f"q{i:04d}" for i in range(n)),
        tuple(f"c{c:04d}" for c in of_cluster),
        tuple(f"domain {c % design.domains}" for c in of_cluster),
    )


def _latent(design: Design, rng: np.random.Generator) -> Float[Array, " question"]:
    """Mean 0 and variance 1 over questions; half of the variance is the cluster's, where there are any."""
    noise, n = NOISES[design.noise], design.questions * design.per_cluster
    own = noise(rng, (n,))
    if design.per_cluster == 1:
        return own
    shared = np.repeat(noise(rng, (design.questions,)), design.per_cluster)
    return math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own


def expected_cosine(gap: float, noise: float, width: int) -> float:
    """The mean cosine of a direction and a noisy estimate of it: E[X · v / ||X||], X ~ N(gap v, noise² I).

    With m = gap/noise and d = width it is (m/√2) Γ((d+1)/2)/Γ(d/2+1) · ₁F₁(1/2; d/2+1; -m²/2), the mean
    resultant length of the projected normal (Presnell, Morrison and Littell 1998), for large m about
    1/√(1 + (d-1)/m²): so a difference of means over n pairs recovers gap/√(gap² + 2 sd² (d-1)/n).

    Args:
        gap: the length of what is estimated.
        noise: the SD of the estimate in every dimension.
        width: how many dimensions.

    >>> round(expected_cosine(2.5, 0.2, 16), 3)
    0.955
    """
    m = gap / noise
    log_ratio = special.gammaln((width + 1) / 2) - special.gammaln(width / 2 + 1)
    # Kummer's transformation would overflow; the asymptotic form is exact to 1e-5 out there
    if m > 30:
        return 1 / math.sqrt(1 + (width - 1) / m**2)
    return float(m / math.sqrt(2) * math.exp(log_ratio) * special.hyp1f1(0.5, width / 2 + 1, -(m**2) / 2))
