"""One file for each section of the paper and each causal test; each returns a frozen :class:`Result`."""

from erosion.experiments.causality import causal_cell, causality
from erosion.experiments.dimensions import FITS, Selection, dimensions, select
from erosion.experiments.distributions import distributions
from erosion.experiments.dynamics import dynamics
from erosion.experiments.results import Result, load_result
from erosion.experiments.sampling import Sampling

__all__ = [
    "FITS",
    "Result",
    "Sampling",
    "Selection",
    "causal_cell",
    "causality",
    "dimensions",
    "distributions",
    "dynamics",
    "load_result",
    "select",
]
