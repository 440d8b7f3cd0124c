"""Results as pictures: each function takes a result, a verdict or effects and gives a plotly figure.

Pure functions: nothing is computed here, no model and no file is touched. A title says what the numbers
establish; a band or a whisker is the interval; grey is what chance would give; what is undefined is said.

==============================================  ======================================================
:func:`headline`, :func:`verdict_by_domain`     of a verdict
:func:`margins`, :func:`style_and_harm`,        of ``distributions``
:func:`likelihood_rise`
:func:`divergence_curves`,                      of ``divergences``
:func:`token_heatmap`, :func:`next_tokens`
:func:`loss_cosines`, :func:`loss_heatmaps`,    of ``loss_geometry``
:func:`loss_scatter`
:func:`gradient_heatmaps`,                      of ``gradient_geometry``
:func:`gradient_scatter`,
:func:`cosines_by_layer`,
:func:`cosines_by_map`
:func:`bridge_scatter`                          of ``gradient_bridge``
:func:`held_out_auc`,                           of ``dimensions``
:func:`domains_left_out`,
:func:`domain_cosines`,
:func:`variance_by_rank`
:func:`shared_component`                        of ``sharing``
:func:`positions`, :func:`shift`,               of ``dynamics``
:func:`erosion_by_layer`, :func:`attribution`,
:func:`departure`, :func:`likeness`,
:func:`published_fraction`, :func:`rotation`,
:func:`shares`, :func:`two_by_two`
:func:`trajectories`                            of ``trajectories``
:func:`causal_curves`, :func:`damage`,          of ``causality``
:func:`domain_effects`
:func:`candidates`, :func:`strengths`,          of ``selection``
:func:`reported`
:func:`dose_curve`, :func:`restored_parts`      of ``doses``
:func:`patched_layers`,                         of ``patching``
:func:`patched_places`,
:func:`patched_components`,
:func:`within_run`
:func:`rendering`, :func:`off_distribution`     of ``rendering, on_policy``
:func:`confounds`, :func:`confounds_by_layer`   of ``confounds``
:func:`token_views`                             of ``tokens``
:func:`power`, :func:`rates`                    of ``calibration``
:func:`effects`                                 of what :func:`erosion.measure` gave
:func:`compared_runs`,                         of what :func:`erosion.compare` gave
:func:`compared_domains`
==============================================  ======================================================

:func:`save` writes any of them for a paper or a page.
"""

from erosion.figures.calibration import power, rates
from erosion.figures.causes import causal_curves, effects
from erosion.figures.choices import candidates, reported, strengths
from erosion.figures.comparison import compared_domains, compared_runs
from erosion.figures.confounds import confounds, confounds_by_layer
from erosion.figures.dimensions import domain_cosines, domains_left_out, shared_component, variance_by_rank
from erosion.figures.distributions import divergence_curves, likelihood_rise, next_tokens, token_heatmap
from erosion.figures.doses import dose_curve, restored_parts
from erosion.figures.dynamics import (
    attribution,
    departure,
    likeness,
    published_fraction,
    rotation,
    shares,
    two_by_two,
)
from erosion.figures.export import save
from erosion.figures.gradient_geometry import (
    bridge_scatter,
    cosines_by_layer,
    cosines_by_map,
    gradient_heatmaps,
    gradient_scatter,
)
from erosion.figures.guards import off_distribution, rendering
from erosion.figures.layers import erosion_by_layer, held_out_auc, positions, shift
from erosion.figures.loss_geometry import loss_cosines, loss_heatmaps, loss_scatter
from erosion.figures.patching import (
    damage,
    domain_effects,
    patched_components,
    patched_layers,
    patched_places,
    within_run,
)
from erosion.figures.preferences import margins, style_and_harm
from erosion.figures.token_views import TokenViews, token_views
from erosion.figures.trajectories import trajectories
from erosion.figures.verdicts import headline, verdict_by_domain

__all__ = [
    "TokenViews",
    "attribution",
    "bridge_scatter",
    "candidates",
    "causal_curves",
    "compared_domains",
    "compared_runs",
    "confounds",
    "confounds_by_layer",
    "cosines_by_layer",
    "cosines_by_map",
    "damage",
    "departure",
    "divergence_curves",
    "domain_cosines",
    "domain_effects",
    "domains_left_out",
    "dose_curve",
    "effects",
    "erosion_by_layer",
    "gradient_heatmaps",
    "gradient_scatter",
    "headline",
    "held_out_auc",
    "likelihood_rise",
    "likeness",
    "loss_cosines",
    "loss_heatmaps",
    "loss_scatter",
    "margins",
    "next_tokens",
    "off_distribution",
    "patched_components",
    "patched_layers",
    "patched_places",
    "positions",
    "power",
    "published_fraction",
    "rates",
    "rendering",
    "reported",
    "restored_parts",
    "rotation",
    "save",
    "shared_component",
    "shares",
    "shift",
    "strengths",
    "style_and_harm",
    "token_heatmap",
    "token_views",
    "trajectories",
    "two_by_two",
    "variance_by_rank",
    "verdict_by_domain",
    "within_run",
]
