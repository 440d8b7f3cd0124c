"""Small contrasts and directions for sweeps over the zoo."""

import torch
import zoo

from erosion.directions import Direction, difference_of_means
from erosion.prompts import Contrast, Exchange, Message
from erosion.sites import Site


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """The same draws for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_direction(at: Site, seed: int = 0, width: int = zoo.WIDTH) -> Direction:
    """A direction from two random clouds."""
    aligned, misaligned = normal(2, 5, width, seed=seed)
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


def contrast_of(n: int = 5, seed: int = 0) -> Contrast:
    """Questions of different lengths with answers of different lengths."""
    generator = torch.Generator().manual_seed(seed)

    def words(count: int) -> str:
        return " ".join(f"w{i}" for i in torch.randint(0, 80, (count,), generator=generator).tolist())

    sides: dict[str, list[Exchange]] = {"aligned": [], "misaligned": []}
    for i in range(n):
        asked = (Message("user", words(1 + (3 * i) % 7)),)
        for label, side in sides.items():
            answer = f"w{80 + len(label) % 7} " + words(1 + (i + len(label)) % 5)
            side.append(Exchange(f"q{i}", asked, answer, "all", label))
    return Contrast(tuple(sides["aligned"]), tuple(sides["misaligned"]))
