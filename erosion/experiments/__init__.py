"""One room for each section of the paper and each causal test; each returns a frozen :class:`Result`."""

from erosion.experiments.calibration import calibrate
from erosion.experiments.causal_cells import causal_cells
from erosion.experiments.causality import causal_cell, causal_damage, causal_domains, causality
from erosion.experiments.choices import doses_of, select_causally
from erosion.experiments.confounds import confounds
from erosion.experiments.dimensions import FITS, Selection, dimensions, select
from erosion.experiments.distributions import distributions
from erosion.experiments.divergences import TokenReads, divergences
from erosion.experiments.doses import doses
from erosion.experiments.dynamics import Beside, dynamics
from erosion.experiments.gradient_bridge import bridged_steps
from erosion.experiments.gradient_geometry import gradient_geometry
from erosion.experiments.guards import rendering_guards
from erosion.experiments.loss_geometry import loss_geometry
from erosion.experiments.on_policy import off_distribution
from erosion.experiments.patching import patched, patching
from erosion.experiments.persona import known_cosine
from erosion.experiments.results import Result, load_result
from erosion.experiments.sampling import Sampling
from erosion.experiments.selection import selection
from erosion.experiments.sharing import sharing
from erosion.experiments.tokens import TokenMeasures, choose_shown, tokens
from erosion.experiments.trajectories import trajectories, trajectory_of
from erosion.experiments.within_run import within_run

__all__ = [
    "FITS",
    "Beside",
    "Result",
    "Sampling",
    "Selection",
    "TokenMeasures",
    "TokenReads",
    "bridged_steps",
    "calibrate",
    "causal_cell",
    "causal_cells",
    "causal_damage",
    "causal_domains",
    "causality",
    "choose_shown",
    "confounds",
    "dimensions",
    "distributions",
    "divergences",
    "doses",
    "doses_of",
    "dynamics",
    "gradient_geometry",
    "known_cosine",
    "load_result",
    "loss_geometry",
    "off_distribution",
    "patched",
    "patching",
    "rendering_guards",
    "select",
    "select_causally",
    "selection",
    "sharing",
    "tokens",
    "trajectories",
    "trajectory_of",
    "within_run",
]
