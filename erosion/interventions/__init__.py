"""Edits as values: steer, ablate, clamp and patch, described first and applied later.

An intervention says what is to be done to the tensor at one site; it touches no model until
``model.applied([...])`` (or ``under=[...]``) puts it there, and leaves nothing behind afterwards. With x the
activation at one position, v a unit direction and s the gap it was fitted with:

==================  ==========================================================================
edit                equation
==================  ==========================================================================
``steer(v, by=c)``  x' = x + c s v
``ablate(v)``       x' = x - v v.T x
``clamp(v, to=a)``  x' = x + (a - v.T x) v
``patch(h, at=l)``  x' = h; with ``along=v`` x' = x + v v.T (h - x); with ``across=v``
                    x' = h + v v.T (x - h)
==================  ==========================================================================

Arithmetic is done in float32 at least and cast back once; every edit returns a new tensor.
"""

from erosion.interventions.describing import ablate, clamp, patch, rescoped, steer
from erosion.interventions.edits import SCOPES, Ablate, Clamp, Intervention, Patch, Steer
from erosion.interventions.rules import direction_of, refuse_conflicts

__all__ = [
    "SCOPES",
    "Ablate",
    "Clamp",
    "Intervention",
    "Patch",
    "Steer",
    "ablate",
    "clamp",
    "direction_of",
    "patch",
    "refuse_conflicts",
    "rescoped",
    "steer",
]
