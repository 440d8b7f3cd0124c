"""A null band for curves of fitted quantities, from a permutation test that refitted them at every draw."""

from collections.abc import Sequence

import numpy as np

from erosion.errors import BadInput
from erosion.stats.bands import Band
from erosion.stats.clusters import rank_of
from erosion.stats.permutations import NullBand, PermutationTest, p_values

__all__ = ["fitted_null_band"]


def fitted_null_band(
    test: PermutationTest,
    *,
    unit: str,
    labels: Sequence[str | int] | None = None,
    confidence: float = 0.95,
) -> NullBand:
    """Where a fitted curve stays if its labels mean nothing, every layer on its own scale.

    T_l = |x_l - m_l|/s_l with m_l and s_l over the draws and the observed curve together, which keeps them
    exchangeable and so the test exact; the null of max_l T_l gives the critical c and the family-wise p
    (Westfall and Young 1993), the band is m_l ± c s_l. A fitted quantity is not zero under the null (a
    direction fitted to noise still separates it), so the band need not contain 0.

    Args:
        test: of a curve, its statistic refitting whatever the labels touched.
        unit: what the numbers count.
        labels: of the layers; their numbers from 0 if not given.
        confidence: that a curve with meaningless labels stays inside at every layer.

    Raises:
        BadInput: a test of a single number, or too few draws.

    >>> from erosion.stats import permutation_test
    >>> x, ids = np.random.default_rng(0).normal(size=(40, 3)), [f"q{i // 2:02}" for i in range(40)]
    >>> side = np.array([1.0, -1.0] * 20)
    >>> x[:, 2] += side
    >>> test = permutation_test(lambda s: np.abs(s @ x) / 40, side, ids, permutations=999)
    >>> fitted_null_band(test, unit="nats").p.round(3).tolist()[2]
    0.001
    """
    if test.observed.ndim != 1:
        raise BadInput(
            "A single number has no band over layers: its p and its null's draws say all there is."
        )
    rank = rank_of(len(test.null), confidence, what="permutations")
    curves = np.concatenate([test.observed[None], test.null])
    centre, spread = curves.mean(axis=0), curves.std(axis=0)
    varies = spread > 1e-12 * np.abs(curves).max(axis=0, initial=0.0)
    strength = np.where(varies, np.abs(curves - centre) / np.where(varies, spread, 1.0), 0.0)
    largest = strength[1:].max(axis=1)
    reach = np.sort(largest)[rank] * spread
    names = tuple(range(len(centre))) if labels is None else tuple(labels)
    method = f"max-T, {test.method}, refitted"
    band = Band(centre, centre - reach, centre + reach, names, unit, test.n_questions, method, confidence)
    return NullBand(band, test.observed, p_values(strength[0], largest))
