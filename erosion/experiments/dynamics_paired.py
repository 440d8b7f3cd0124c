"""Activations question by question, and the bands that curves over layers of them are drawn with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.errors import BadContrast
from erosion.experiments.sampling import Sampling
from erosion.linalg import in_double, random_unit_vectors
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.stats import Band, random_band, ratio_band, simultaneous_band

__all__ = ["SIDES", "Frame", "paired", "questions_of", "random_vectors"]

SIDES = ("aligned", "misaligned")


def questions_of(acts: Activations) -> list[str]:
    """The questions with both answers, in the order in which they were read.

    Raises:
        BadContrast: a question has only one of the two answers, or has one twice.
    """
    rows = [(q, label) for q, label in zip(acts.questions, acts.labels, strict=True) if label in SIDES]
    questions = list(dict.fromkeys(q for q, _ in rows))
    if len(set(rows)) != len(rows) or len(rows) != 2 * len(questions) or not questions:
        raise BadContrast(
            f"{len(rows)} answers to {len(questions)} questions: read one aligned and one misaligned answer "
            "to each question."
        )
    return questions


def paired(acts: Activations, site: Site, questions: Sequence[str]) -> Float[Tensor, "question side d_model"]:
    """Both answers to each question at one site, float64; side 0 is aligned, side 1 misaligned.

    Raises:
        BadContrast: a question was not read.

    Memory: one float64 copy of the site.
    """
    at = {key: i for i, key in enumerate(zip(acts.questions, acts.labels, strict=True))}
    missing = next((q for q in questions for side in SIDES if (q, side) not in at), None)
    if missing is not None:
        raise BadContrast(f"Question {missing!r} was not read with both answers: read every model alike.")
    rows = torch.tensor([[at[q, side] for side in SIDES] for q in questions])
    return in_double(acts[site])[rows]


def random_vectors(
    directions: Mapping[Site, Direction], sampling: Sampling
) -> dict[Site, Float[Tensor, "draw d_model"]]:
    """Random unit vectors for each site, drawn as by ``random_direction``: the same at every layer, float64.

    Memory: 8 x draws x d_model bytes.
    """
    by_width: dict[int, Tensor] = {}
    for v in directions.values():
        width = len(v.vector)
        if width not in by_width:
            drawn = [
                random_unit_vectors(1, width, generator=np.random.default_rng((sampling.seed, draw)))
                for draw in range(sampling.random_directions)
            ]
            by_width[width] = in_double(torch.cat(drawn))
    return {site: by_width[len(v.vector)] for site, v in directions.items()}


@dataclass(frozen=True, eq=False)
class Frame:
    """The questions and layers that a curve is over, and how often to draw; it makes every band alike.

    Columns that are not finite are undefined in the band and leave the others as they are.
    """

    questions: Sequence[str]
    labels: Sequence[int | str]
    sampling: Sampling

    def mean(self, values: Float[Array, "question layer"], *, unit: str) -> Band:
        """Each layer's mean over questions, with its band."""
        return self._where_finite(
            lambda kept, labels: simultaneous_band(kept, self.questions, unit=unit, **self._options(labels)),
            values,
            unit,
        )

    def smooth(
        self,
        whole: Float[Array, " layer"],
        without: Float[Array, "question layer"],
        *,
        unit: str,
    ) -> Band:
        """The band of a statistic that is no mean, from its values with each question left out in turn.

        The jackknife (Tukey 1958): each question's pseudo-value is n theta - (n - 1) theta without it; their
        mean is theta with its bias of order 1/n removed, and their spread its error.
        """
        n = len(without)
        with np.errstate(invalid="ignore"):
            pseudo = n * whole - (n - 1) * without
        band = self.mean(pseudo, unit=unit)
        return replace(band, method=f"jackknife, {band.method}")

    def ratio(
        self,
        numerator: Float[Array, "question layer"],
        denominator: Float[Array, "question layer"],
        *,
        unit: str = "fraction",
    ) -> Band:
        """Each layer's ratio of means over questions, with its joint Fieller band."""
        return ratio_band(
            numerator, denominator, self.questions, unit=unit, **self._options(list(self.labels))
        )

    def chance(self, curves: Float[Array, "draw layer"], *, unit: str, what: str) -> Band:
        """Where one more of the drawn curves would lie; ``what`` says what was drawn."""
        band = self._where_finite(
            lambda kept, labels: random_band(
                kept, unit=unit, n_questions=len(set(self.questions)), labels=labels
            ),
            curves,
            unit,
        )
        return replace(band, method=f"{what}, {len(curves)} draws")

    def relabelled(self, labels: Sequence[int | str]) -> "Frame":
        """The same questions and draws over other layers."""
        return replace(self, labels=labels)

    def _options(self, labels: Sequence[int | str]) -> dict[str, Any]:
        return {"labels": labels, "resamples": self.sampling.resamples, "seed": self.sampling.seed}

    def _where_finite(self, make: Callable[[Array, list[int | str]], Band], values: Array, unit: str) -> Band:
        finite = np.atleast_1d(np.isfinite(values).all(axis=0))
        if finite.all():
            return make(values, list(self.labels))
        spread = np.full((3, len(self.labels)), np.nan)
        method = "undefined"
        if finite.any():
            band = make(
                values[:, finite], [one for one, ok in zip(self.labels, finite.tolist(), strict=True) if ok]
            )
            spread[:, finite], method = (band.values, band.low, band.high), band.method
        return Band(
            spread[0], spread[1], spread[2], tuple(self.labels), unit, len(set(self.questions)), method
        )
