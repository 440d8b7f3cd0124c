"""How deep in each model a layer curve peaks, and which layers cannot be told from the peak."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.auditing import Run
from erosion.stats import Band, Estimate

__all__ = ["CURVES", "Peak", "peak_of", "peaks_of"]

CURVES = {
    "held-out AUC of the answer direction": (
        "dimensions",
        ("by fit", "difference of means", "held-out AUC"),
    ),
    "margin brought back by patching along it": (
        "patching",
        ("rescue", "harm margin", "along", "effect"),
    ),
}


@dataclass(frozen=True, eq=False)
class Peak:
    """Where one curve is highest: layer, depth, and the layers that the band cannot tell from it.

    ``depth`` is (layer + 1)/n_layers, the share of the blocks that lie behind the layer's output.
    """

    curve: str
    layer: int
    n_layers: int
    alike: tuple[int, ...]
    estimate: Estimate

    @property
    def depth(self) -> float:
        """Of the highest layer."""
        return (self.layer + 1) / self.n_layers

    @property
    def depths(self) -> tuple[float, float]:
        """The shallowest and the deepest that cannot be told from the highest."""
        return (self.alike[0] + 1) / self.n_layers, (self.alike[-1] + 1) / self.n_layers

    @property
    def located(self) -> bool:
        """Whether any layer can be told from the peak."""
        return len(self.alike) < self.n_layers

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "curve": self.curve,
            "layer": self.layer,
            "n_layers": self.n_layers,
            "depth": self.depth,
            "layers not told apart": list(self.alike),
            "value": self.estimate.to_json(),
        }


def peak_of(curve: str, band: Band, *, n_layers: int) -> Peak | None:
    """The peak of one curve; None where no point is defined.

    If the whole true curve lies in the band, the layer where it is truly highest has an upper end of at
    least the largest lower end: those layers are the ones not told apart.

    >>> low, high = np.array([0.5, 0.8, 0.7]), np.array([0.7, 0.9, 0.85])
    >>> peak_of("AUC", Band((low + high) / 2, low, high, (0, 1, 2), "AUC", 96, "t"), n_layers=3).alike
    (1, 2)
    """
    defined = [i for i, value in enumerate(band.values) if not np.isnan(value)]
    if not defined:
        return None
    best = max(defined, key=lambda i: band.values[i])
    reached = max(band.low[i] for i in defined)
    alike = tuple(int(band.labels[i]) for i in defined if band.high[i] >= reached)
    layer = band.labels[best]
    return Peak(curve, int(layer), n_layers, alike, band.at(layer))


def peaks_of(run: Run) -> tuple[Peak, ...]:
    """The peaks of every curve that the run has results of.

    What brings the margin back has a peak only where a loss of it is established.
    """
    n_layers = int(run.manifest["models"]["aligned"]["n_layers"])
    found = []
    for curve, (experiment, path) in CURVES.items():
        nothing_lost = experiment == "patching" and not run.verdict.loss.low > 0
        if experiment not in run.experiments or nothing_lost:
            continue
        value: Any = run.result(experiment).ours
        for key in path:
            value = value.get(key, {}) if hasattr(value, "get") else {}
        peak = peak_of(curve, value, n_layers=n_layers) if isinstance(value, Band) else None
        if peak is not None:
            found.append(peak)
    return tuple(found)
