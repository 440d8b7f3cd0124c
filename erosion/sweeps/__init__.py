"""Sweeps: a metric over any grid of edits, measured at half the price or less, or screened to first order.

Read ``grid`` for how cells are made, ``sweeping`` for how they are measured, ``attribution`` for the screen.
"""

from erosion.sweeps.attribution import Attribution, ScreenError, attribution, screen_error
from erosion.sweeps.damage import Damage, damage
from erosion.sweeps.grid import Cell, grid
from erosion.sweeps.live import side_by_side
from erosion.sweeps.results import Sweep, load_sweep
from erosion.sweeps.sweeping import MARGINS, Measure, sweep

__all__ = [
    "MARGINS",
    "Attribution",
    "Cell",
    "Damage",
    "Measure",
    "ScreenError",
    "Sweep",
    "attribution",
    "damage",
    "grid",
    "load_sweep",
    "screen_error",
    "side_by_side",
    "sweep",
]
