"""Results as pictures: each function takes a result, a verdict or effects and gives a plotly figure.

Pure functions: nothing is computed here, no model and no file is touched. A title says what the numbers
establish; a band or a whisker is the interval; grey is what chance would give; what is undefined is said.

=============================================  ======================================================
:func:`headline`, :func:`verdict_by_domain`    of a verdict
:func:`margins`, :func:`style_and_harm`        of ``distributions``
:func:`held_out_auc`                           of ``dimensions``
:func:`positions`, :func:`shift`,              of ``dynamics``
:func:`erosion_by_layer`
:func:`causal_curves`, :func:`damage`,         of ``causality``
:func:`domain_effects`
:func:`candidates`, :func:`strengths`,         of ``selection``
:func:`reported`
:func:`dose_curve`, :func:`restored_parts`     of ``doses``
:func:`patched_layers`,                        of ``patching``
:func:`patched_places`,
:func:`patched_components`,
:func:`within_run`
:func:`effects`                                of what :func:`erosion.measure` gave
=============================================  ======================================================
"""

from erosion.figures.causes import causal_curves, effects
from erosion.figures.choices import candidates, reported, strengths
from erosion.figures.doses import dose_curve, restored_parts
from erosion.figures.layers import erosion_by_layer, held_out_auc, positions, shift
from erosion.figures.patching import (
    damage,
    domain_effects,
    patched_components,
    patched_layers,
    patched_places,
    within_run,
)
from erosion.figures.preferences import margins, style_and_harm
from erosion.figures.verdicts import headline, verdict_by_domain

__all__ = [
    "candidates",
    "causal_curves",
    "damage",
    "domain_effects",
    "dose_curve",
    "effects",
    "erosion_by_layer",
    "headline",
    "held_out_auc",
    "margins",
    "patched_components",
    "patched_layers",
    "patched_places",
    "positions",
    "reported",
    "restored_parts",
    "shift",
    "strengths",
    "style_and_harm",
    "verdict_by_domain",
    "within_run",
]
