"""Two sides with a known direction between them, and every fit that should find it."""

import torch

from erosion.directions import difference_of_means, logistic_probe, principal_component, whitened
from erosion.sites import Site

WIDTH = 24
AT = Site(3)
FITS = [difference_of_means, whitened, principal_component, logistic_probe]


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(seed: int = 0, width: int = WIDTH) -> torch.Tensor:
    vector = draws(width, seed=1000 + seed)
    return vector / vector.norm()


def sides(
    pairs: int = 1500, *, gap: float = 3.0, seed: int = 0, width: int = WIDTH
) -> tuple[torch.Tensor, torch.Tensor]:
    """Aligned and misaligned activations: noise, plus gap/2 along the truth on either side, plus a mean."""
    away = gap / 2 * truth(seed, width)
    centre = 5 * draws(width, seed=2000 + seed)
    aligned = centre + away + draws(pairs, width, seed=3000 + seed)
    misaligned = centre - away + draws(pairs, width, seed=4000 + seed)
    return aligned.float(), misaligned.float()
