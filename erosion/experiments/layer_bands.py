"""Curves over layers of one metric: means with bands that hold for all layers, shares, and null bands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from erosion.experiments.sampling import Sampling
from erosion.shapes import Array
from erosion.stats import Band, random_band, ratio_band, simultaneous_band

__all__ = ["LayerBands"]


@dataclass(frozen=True)
class LayerBands:
    """How values by question and layer become bands: whose questions, which unit, layers and draws."""

    questions: tuple[str, ...]
    unit: str
    labels: tuple[str | int, ...]
    sampling: Sampling

    def band(self, values: Array) -> Band:
        """The mean over questions of ``[question, layer]``."""
        return simultaneous_band(
            values,
            self.questions,
            unit=self.unit,
            labels=self.labels,
            resamples=self.sampling.resamples,
            seed=self.sampling.seed,
        )

    def share(self, values: Array, of: Array) -> Band:
        """Its share of another mean, undefined where that is not clearly positive."""
        return ratio_band(
            values,
            of,
            self.questions,
            labels=self.labels,
            resamples=self.sampling.resamples,
            seed=self.sampling.seed,
        )

    def null(self, drawn: Array, *, said: str) -> Band:
        """Where one more curve like those drawn would lie, ``[draw, layer]`` of means over questions."""
        n = len(set(self.questions))
        band = random_band(drawn, unit=self.unit, n_questions=n, labels=self.labels)
        return replace(band, method=f"{len(drawn)} {said}")

    def beside(self, labels: Sequence[str | int]) -> "LayerBands":
        """The same over other labels."""
        return replace(self, labels=tuple(labels))
