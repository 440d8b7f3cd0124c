"""What a direction's effect is compared with: random directions, and fits to shuffled labels."""

from collections.abc import Mapping
from typing import overload

import numpy as np
import torch
from einops import rearrange

from erosion.directions.direction import Direction
from erosion.directions.fits import Fit, principal_component
from erosion.directions.passport import issue
from erosion.directions.sides import checked, paired
from erosion.errors import BadDirection
from erosion.linalg import random_unit_vectors
from erosion.moments import DiagonalMoments, Moments
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["random_direction", "shuffled"]

Cloud = Moments | DiagonalMoments


@overload
def random_direction(
    *, like: Direction, seed: int, draw: int = 0, covariance: Cloud | None = None
) -> Direction: ...
@overload
def random_direction(
    *,
    like: Mapping[Site, Direction],
    seed: int,
    draw: int = 0,
    covariance: Mapping[Site, Cloud] | None = None,
) -> dict[Site, Direction]: ...
def random_direction(
    *,
    like: Direction | Mapping[Site, Direction],
    seed: int,
    draw: int = 0,
    covariance: Cloud | Mapping[Site, Cloud] | None = None,
) -> Direction | dict[Site, Direction]:
    """A random direction at the same site and with the same scale: the control for ``like``.

    Args:
        like: a direction, or one per site (then so is the result).
        seed: with ``draw``, it alone decides the noise: the same pair gives the same vector at every
            layer of one width, so a curve over layers compares like with like.
        draw: which of the many; draws do not depend on how many are made.
        covariance: None for isotropic draws; the moments of activations at the site for draws that
            point where activations vary (R z with R their covariance's symmetric root, computed once
            per moments and kept). One per site where ``like`` is.

    Raises:
        BadDirection: moments of another width, or missing for a site.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> random_direction(like=v, seed=0, draw=7).scale == v.scale
    True
    """
    if isinstance(like, Mapping):
        clouds = covariance if isinstance(covariance, Mapping) else dict.fromkeys(like, covariance)
        missing = [site for site in like if site not in clouds]
        if missing:
            raise BadDirection(
                f"There are no moments for {missing[0]}: give one for every site, or none at all."
            )
        return {site: _random_like(one, (seed, draw), clouds[site]) for site, one in like.items()}
    if isinstance(covariance, Mapping):
        raise BadDirection(f"One direction takes one set of moments: give those of {like.site}.")
    return _random_like(like, (seed, draw), covariance)


def _random_like(like: Direction, seeds: tuple[int, int], cloud: Cloud | None) -> Direction:
    width = len(like.vector)
    if cloud is not None and len(cloud.mean) != width:
        raise BadDirection(
            f"The moments are {len(cloud.mean)} wide and the direction {width}: read both at {like.site}."
        )
    root = None if cloud is None else cloud.root
    vectors = random_unit_vectors(1, width, generator=np.random.default_rng(seeds), root=root)
    seed, draw = seeds
    kind = "isotropic" if cloud is None else "covariance-matched"
    made = issue(f"random ({kind}, seed {seed}, draw {draw})", at=like.site, scale=like.scale)
    passport = like.passport
    return Direction(rearrange(vectors, "1 d_model -> d_model"), made).stamped(
        sign=None,
        residual_norm=passport.residual_norm,
        model=passport.model,
        weights_hash=passport.weights_hash,
        adapter_hash=passport.adapter_hash,
        questions=(),
    )


def shuffled(fit: Fit, *, seed: int, draw: int = 0) -> Fit:
    """``fit`` with labels swapped within half of the pairs: a fit itself, to be used as its control.

    Exactly half of the pairs (rounded down) are swapped, so that what the sides differ in cancels and
    the result keeps the noise alone. With labels drawn freely it would keep about 1 / sqrt(pairs) of
    the true direction, enough to separate the sides where the gap is large. (A permutation *test*
    needs free draws: see :mod:`erosion.stats`.) The same seed swaps the same pairs at every layer.
    Its ``scale`` is its own small gap: match the dose by ``control.stamped(scale=v.scale)`` to steer.

    ``principal_component`` has no such control: swapping a pair changes the sign of its difference and
    an uncentred SVD does not see it, so the "shuffled" component would be the true one. Use random
    directions or a contrast between two benign sides.

    Raises:
        BadDirection: ``fit`` is ``principal_component``; from the returned fit: sides that do not pair
            up, and all that ``fit`` raises.

    >>> from erosion.directions import difference_of_means
    >>> control = shuffled(difference_of_means, seed=0)
    >>> control(torch.randn(8, 4) + 3, torch.randn(8, 4), at=Site(1)).passport.fit
    'difference_of_means, labels shuffled (seed 0, draw 0)'
    """
    if getattr(fit, "func", fit) is principal_component:
        raise BadDirection(
            "Swapping labels within pairs does not change principal_component (it ignores each pair's sign): "
            "use random directions or a benign contrast as its control."
        )

    def fit_shuffled(
        aligned: Float[Tensor, "aligned d_model"],
        misaligned: Float[Tensor, "misaligned d_model"],
        *,
        at: Site,
    ) -> Direction:
        exact = checked(aligned, misaligned, at_least=2)
        paired(*exact, what="A label-shuffled control")
        swaps = np.zeros((len(aligned), 1), dtype=bool)
        swaps[: len(aligned) // 2] = True
        mask = torch.from_numpy(np.random.default_rng((seed, draw)).permutation(swaps)).to(exact[0].device)
        one, other = torch.where(mask, exact[1], exact[0]), torch.where(mask, exact[0], exact[1])
        made = fit(one, other, at=at)
        name = f"{made.passport.fit}, labels shuffled (seed {seed}, draw {draw})"
        return made.stamped(fit=name, sign=None)

    return fit_shuffled
