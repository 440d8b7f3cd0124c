"""How every experiment draws: confidence by seed, resamples, permutations and random directions."""

from dataclasses import dataclass

__all__ = ["Sampling"]


@dataclass(frozen=True)
class Sampling:
    """How often and from which seed; one value that travels with a run.

    ``random_directions`` below 39 cannot make a 95% band (the band then says so).
    """

    resamples: int = 2000
    permutations: int = 2000
    random_directions: int = 40
    seed: int = 0
