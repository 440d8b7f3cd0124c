"""Directions: fitted unit vectors that know what they were made from.

Read ``fits`` for how one is found, ``direction`` for what can be done with it and ``algebra`` with several,
``controls`` for what its effect is compared with, ``scores`` and ``checks`` for its use on other questions,
``storage`` for the file and ``exchange`` for those of other tools. No model is ever seen here: activations
in, directions out.
"""

from erosion.directions.algebra import average, moved, orthogonalised, span_of
from erosion.directions.checks import check_fits_model, check_unseen
from erosion.directions.controls import random_direction, shuffled
from erosion.directions.direction import Direction
from erosion.directions.exchange import export_gguf, export_tensors, import_directions
from erosion.directions.fits import Fit, difference_of_means, logistic_probe, principal_component, whitened
from erosion.directions.passport import ALIGNED_IS_POSITIVE, MISALIGNED_IS_POSITIVE, Passport
from erosion.directions.scores import auc, gap, paired_accuracy, separation
from erosion.directions.storage import load_directions, save
from erosion.directions.subspaces import Subspace, paired_subspace, random_subspace, right_singular

__all__ = [
    "ALIGNED_IS_POSITIVE",
    "MISALIGNED_IS_POSITIVE",
    "Direction",
    "Fit",
    "Passport",
    "Subspace",
    "auc",
    "average",
    "check_fits_model",
    "check_unseen",
    "difference_of_means",
    "export_gguf",
    "export_tensors",
    "gap",
    "import_directions",
    "load_directions",
    "logistic_probe",
    "moved",
    "orthogonalised",
    "paired_accuracy",
    "paired_subspace",
    "principal_component",
    "random_direction",
    "random_subspace",
    "right_singular",
    "save",
    "separation",
    "shuffled",
    "span_of",
    "whitened",
]
