"""Numbers with intervals: the unit is the question, and nothing is claimed from significance alone.

Pure functions, NumPy arrays in, small frozen values out; no tensor and no model comes here. Arrays are
``[exchange]`` or ``[exchange, layer]`` beside ``questions``, each exchange's cluster id; several exchanges
of one question are averaged first, so that asking a question twice is not asking two.

=========================  ============================================================================
for                        use
=========================  ============================================================================
a mean, a difference       :func:`mean`, :func:`difference`: cluster t; :func:`share`: exact binomial
templated questions        :func:`clustered` as their ids; :func:`crossed_mean`: templates by topics
several training seeds     :func:`over_seeds`: t over seeds
a ratio, erosion           :func:`ratio`, :func:`erosion`: Fieller with t, undefined where unbounded
anything else              :func:`bootstrap`: BCa over resampled questions
a curve over layers        :func:`simultaneous_band`, :func:`ratio_band`: studentised max-|t|
"is there anything?"       :func:`null_band`, :func:`permutation_test`: family-wise over the layers;
                           :func:`fitted_null_band` of what is fitted again at every draw
"more than a random one?"  :func:`random_band`: the same draws at every layer
"could we have seen it?"   :func:`minimum_detectable_effect`, :func:`questions_needed`
the answer                 :func:`verdict` on :class:`Margins`; :func:`not_kept` for a gate
=========================  ============================================================================
"""

from erosion.stats.bands import Band
from erosion.stats.clusters import clustered
from erosion.stats.curves import random_band, ratio_band, simultaneous_band
from erosion.stats.estimates import Control, Estimate
from erosion.stats.judging import SMALLEST, verdict
from erosion.stats.margins import Margins
from erosion.stats.means import crossed_mean, difference, mean, over_seeds, share
from erosion.stats.permutations import NullBand, PermutationTest, null_band, permutation_test
from erosion.stats.power import minimum_detectable_effect, questions_needed
from erosion.stats.ratios import eroded_fraction, erosion, ratio
from erosion.stats.refitted import fitted_null_band
from erosion.stats.resampling import bootstrap
from erosion.stats.verdicts import DomainVerdict, Verdict, not_kept

__all__ = [
    "SMALLEST",
    "Band",
    "Control",
    "DomainVerdict",
    "Estimate",
    "Margins",
    "NullBand",
    "PermutationTest",
    "Verdict",
    "bootstrap",
    "clustered",
    "crossed_mean",
    "difference",
    "eroded_fraction",
    "erosion",
    "fitted_null_band",
    "mean",
    "minimum_detectable_effect",
    "not_kept",
    "null_band",
    "over_seeds",
    "permutation_test",
    "questions_needed",
    "random_band",
    "ratio",
    "ratio_band",
    "share",
    "simultaneous_band",
    "verdict",
]
