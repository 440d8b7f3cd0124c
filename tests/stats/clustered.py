"""Synthetic questions with known truth, for coverage and error rates."""

import numpy as np
from jaxtyping import config

IDS = [f"q{i:03d}" for i in range(96)]

NOISES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.gamma(2.0, size=size) / np.sqrt(2) - np.sqrt(2),  # skewness 1.4
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,  # skewness 2
}


def smooth(noise: str, rng: np.random.Generator, layers: int = 8, n: int = 96) -> np.ndarray:
    """Mean-zero ``[question, layer]`` whose neighbouring layers agree, as in a residual stream."""
    draw = NOISES[noise]
    return draw(rng, (n, 1)) + draw(rng, (n, layers)).cumsum(axis=1) / 3


def rate(trial, times: int) -> float:
    """How often ``trial(seed)`` is true; a new seed each time, or the same draws would decide every trial.

    The first trial checks every shape; the others trust it, which makes them several times faster.
    """
    hits = [bool(trial(0))]
    checks = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        hits += [bool(trial(seed)) for seed in range(1, times)]
    finally:
        config.update("jaxtyping_disable", checks)
    return float(np.mean(hits))
