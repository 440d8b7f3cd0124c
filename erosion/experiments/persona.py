"""Is v a direction that we know? Its cosine with a persona direction, whose story is known.

The same exchanges are read twice, under system prompts that name a good and a bad author; the mean
difference is the *persona direction*, which no question, answer or wording enters. If v is about who is
speaking rather than about the words of an answer, both point alike.
"""

from collections.abc import Mapping

import numpy as np

from erosion.activations import Activations
from erosion.directions import Direction, check_unseen
from erosion.errors import BadContrast
from erosion.experiments.jackknife import jackknife_band, left_out_groups
from erosion.experiments.sampling import Sampling
from erosion.linalg import in_double
from erosion.shapes import Array, Float
from erosion.sites import Site
from erosion.stats import Band, random_band

__all__ = ["known_cosine"]

_GROUPS = 20
_DRAWS = 39


def known_cosine(
    directions: Mapping[Site, Direction],
    good: Activations,
    bad: Activations,
    *,
    sampling: Sampling | None = None,
) -> Band:
    """cos(v, mean under good names - mean under bad names) by layer, on questions that v has not seen.

    Args:
        directions: site -> answer direction, aligned positive.
        good: activations of the exchanges under good authors' names (or under any one system prompt).
        bad: the same exchanges under bad authors' names.
        sampling: seed and number of random directions.

    Returns:
        A band whose interval leaves out groups of questions (v is taken as it was fitted: its own noise only
        brings the cosine nearer to 0), and whose control is random directions that point where these
        activations vary.

    Raises:
        BadDirection: v was fitted on one of the questions.
        BadContrast: other exchanges under good than under bad names.

    Memory: float64 copies of one site's activations.

    >>> import torch
    >>> from erosion.directions import difference_of_means
    >>> at, ids = Site(0), tuple(f"q{i}" for i in range(40))
    >>> noise = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    >>> bad = Activations({at: noise}, ids, ("aligned",) * 40, "response", {})
    >>> good = Activations({at: noise + torch.eye(8)[0]}, ids, ("aligned",) * 40, "response", {})
    >>> v = difference_of_means(torch.eye(8)[:1].repeat(2, 1), -torch.eye(8)[:1].repeat(2, 1), at=at)
    >>> round(float(known_cosine({at: v}, good, bad).values[0]), 3)
    1.0
    """
    sampling = sampling or Sampling()
    if (good.questions, good.labels) != (bad.questions, bad.labels):
        raise BadContrast("Good and bad names were read on other exchanges: read the same ones under both.")
    for v in directions.values():
        check_unseen(v, good.questions)
    keeps = list(left_out_groups(good.questions, _GROUPS))
    if len(keeps) < 2:
        raise BadContrast("One question gives no interval: read the persona on at least two.")
    whole, without, chance = [], [], []
    draws = max(_DRAWS, sampling.random_directions)
    white = np.random.default_rng((sampling.seed, 7)).standard_normal((draws, 2 * len(good)))
    for site, v in directions.items():
        sides = [in_double(acts[site]).cpu().numpy() for acts in (good, bad)]
        vector = v.vector.double().numpy()
        known = sides[0] - sides[1]
        whole.append(_cosine(vector, known.mean(axis=0)))
        without.append([_cosine(vector, known[keep].mean(axis=0)) for keep in keeps])
        cloud = np.concatenate(sides)
        random = white @ (cloud - cloud.mean(axis=0))
        chance.append([_cosine(one, known.mean(axis=0)) for one in random])
    labels, n = [site.layer for site in directions], len(set(good.questions))
    band = jackknife_band(np.array(whole), np.array(without).T, unit="cosine", labels=labels, n_questions=n)
    drawn = random_band(np.array(chance).T, unit="cosine", n_questions=n, labels=labels)
    ends = np.clip(drawn.low, -1, 1), np.clip(drawn.high, -1, 1)
    method = f"{draws} random directions of the activations' covariance"
    return band.with_control(Band(drawn.values, *ends, drawn.labels, "cosine", n, method))


def _cosine(one: Float[Array, " d_model"], other: Float[Array, " d_model"]) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
