"""Where the tuned model leaves the aligned one, as a range of layers; and the paper's fraction beside it.

The published finding is that the fine-tune equals the aligned model up to a layer and then bends toward
base, by a fraction of 0.31 to 0.39 at layer 40 of 64, on *every* data set of the paper, harmless ones
included. So both are computed with the same numbers on harmless questions: a departure found there too is
no loss of alignment.
"""

from collections.abc import Mapping

import numpy as np
import torch
from einops import einsum, reduce

from erosion.activations import Activations
from erosion.experiments.dynamics_paired import Frame
from erosion.linalg import in_double, unit
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.stats import Band
from erosion.stats.clusters import average_questions

__all__ = ["SMALLEST", "by_question", "departure", "fraction_along_model_direction", "published_fraction"]

SMALLEST = 0.1  # fitted gaps: the smallest move of interest


def departure(shift: Band, *, smallest: float = SMALLEST) -> dict[str, object]:
    """The range of layers in which tuned leaves aligned: from where it may have moved to where it must have.

    ``earliest`` is the first layer where the band reaches beyond ``smallest`` on either side, ``latest`` the
    first where all of it lies beyond; the true curve first exceeds ``smallest`` in that range, at the
    band's confidence. None where no layer does: a departure without ``latest`` is not established.

    >>> values = np.array([0.0, -0.05, -0.3])
    >>> band = Band(values, values - 0.06, values + 0.06, (0, 1, 2), "fitted gaps", 40, "by hand")
    >>> departure(band)["earliest"], departure(band)["latest"]
    (1, 2)
    """
    points = [(one, shift.at(one)) for one in shift.labels]
    points = [(one, e) for one, e in points if not e.undefined]
    earliest = next((one for one, e in points if e.high > smallest or e.low < -smallest), None)
    latest, sign = next(
        (
            (one, "misaligned" if e.high < -smallest else "aligned")
            for one, e in points
            if e.low > smallest or e.high < -smallest
        ),
        (None, None),
    )
    return {"earliest": earliest, "latest": latest, "toward": sign, "smallest": smallest, "unit": shift.unit}


def by_question(acts: Activations, site: Site) -> Float[Tensor, "question d_model"]:
    """Every question's mean over its exchanges, in the order of the question ids, float64."""
    return torch.from_numpy(average_questions(in_double(acts[site]).cpu().numpy(), acts.questions))


def published_fraction(acts: Mapping[str, Activations], sites: tuple[Site, ...]) -> list[float]:
    """The paper's eroded fraction by layer: along u = unit(mean_aligned - mean_base) of the very data
    projected.

    ((mu_aligned - mu_tuned) . u) / ((mu_aligned - mu_base) . u); NaN where aligned equals base.
    """
    fractions = []
    for site in sites:
        mean = {
            name: reduce(by_question(one, site), "question d_model -> d_model", "mean")
            for name, one in acts.items()
        }
        way = mean["aligned"] - mean["base"]
        square = float(way @ way)
        fractions.append(float((mean["aligned"] - mean["tuned"]) @ way) / square if square > 0 else np.nan)
    return fractions


def fraction_along_model_direction(
    acts: Mapping[str, Activations], sites: tuple[Site, ...], frame: Frame
) -> Band:
    """The same fraction with the model direction fitted on the other half of the questions, and a band.

    u of each half of the questions (at random, by seed) is used on the other half; Fieller's joint band
    treats u as given. Memory: one float64 copy of a site for each model.
    """
    n = len(frame.questions)
    half = np.random.default_rng(frame.sampling.seed).permutation(np.arange(n) % 2).astype(bool)
    top, bottom = [], []
    for site in sites:
        mean = {name: by_question(one, site) for name, one in acts.items()}
        lost, way = mean["aligned"] - mean["tuned"], mean["aligned"] - mean["base"]
        top.append(_along_other_half(lost, way, half))
        bottom.append(_along_other_half(way, way, half))
    return frame.ratio(np.stack(top, axis=1), np.stack(bottom, axis=1))


def _along_other_half(
    values: Float[Tensor, "question d_model"], way: Float[Tensor, "question d_model"], half: Array
) -> Float[Array, " question"]:
    result = np.zeros(len(values))
    for here in (half, ~half):
        mean = reduce(way[torch.from_numpy(~here)], "question d_model -> d_model", "mean")
        if bool(mean.any()):
            along = einsum(values[torch.from_numpy(here)], unit(mean), "question d, d -> question")
            result[here] = along.numpy()
    return result
