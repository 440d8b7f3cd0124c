"""Edits as values: steer, ablate, clamp and patch, described first and applied later.

An intervention says what is to be done to the tensor at one site; it touches no model until
``model.applied([...])`` (or ``under=[...]``) puts it there, and leaves nothing behind afterwards. With x the
activation at one position, v a unit direction (or the basis of a subspace) and s the gap it was fitted with:

=============================  ===============================================================
edit                           equation
=============================  ===============================================================
``steer(v, by=c)``             x' = x + c s v
``ablate(v)``                  x' = x - v v.T x
``clamp(v, to=a)``             x' = x + (a - v.T x) v
``patch(h, at=l)``             x' = h; with ``along=v`` x' = x + v v.T (h - x); with ``across=v``
                               x' = h + v v.T (x - h)
``zero_ablate(at=l)``          x' = 0
``mean_ablate(H, at=l)``       x' = mean of the rows of H
``resample_ablate(H, at=l)``   x' = a row of H, drawn for each exchange
``norm_preserving(e)``         x' = |x| e(x) / |e(x)|
``conditional(e, on=v, …)``    x' = e(x) where above < v.T x < below, else x
``repeated(e, at=sites)``      the same edit at each site
=============================  ===============================================================

Each acts on a scope: all tokens, the prompt, the response, a span, or single positions. Arithmetic is done in
float32 at least and cast back once; every edit returns a new tensor.
"""

from erosion.interventions.ablations import mean_ablate, resample_ablate, zero_ablate
from erosion.interventions.describing import ablate, clamp, live_patch, patch, repeated, rescoped, steer
from erosion.interventions.doses import Dose, dose
from erosion.interventions.edits import (
    Ablate,
    Clamp,
    Intervention,
    LivePatch,
    Patch,
    Resample,
    Steer,
    rows_of,
)
from erosion.interventions.rules import fitted_in, refuse_conflicts, refuse_seen
from erosion.interventions.scopes import SCOPES, Positions, Scope, parse_scope, positions
from erosion.interventions.sources import Rows, laid_out
from erosion.interventions.wrappers import Conditional, NormPreserving, conditional, norm_preserving

__all__ = [
    "SCOPES",
    "Ablate",
    "Clamp",
    "Conditional",
    "Dose",
    "Intervention",
    "LivePatch",
    "NormPreserving",
    "Patch",
    "Positions",
    "Resample",
    "Rows",
    "Scope",
    "Steer",
    "ablate",
    "clamp",
    "conditional",
    "dose",
    "fitted_in",
    "laid_out",
    "live_patch",
    "mean_ablate",
    "norm_preserving",
    "parse_scope",
    "patch",
    "positions",
    "refuse_conflicts",
    "refuse_seen",
    "repeated",
    "resample_ablate",
    "rescoped",
    "rows_of",
    "steer",
    "zero_ablate",
]
