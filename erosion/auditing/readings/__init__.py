"""What is read from each model: functions of the bench and a model's name, each the file of one step.

A reading gives None for a model that it does not concern. What it takes beside the model goes into the
step's inputs, so that a changed input is never mistaken for a cached one.
"""

from erosion.auditing.readings.choices import ablations, dose_sweeps, tried
from erosion.auditing.readings.edits import cells, damages, domain_cells, donors, patches, within
from erosion.auditing.readings.responses import (
    Matched,
    benign_heads,
    benign_scores,
    continuations,
    every_score,
    heads,
    matched,
    noise,
    own_answers,
    plain_scores,
    scores,
    special_rows,
)
from erosion.auditing.readings.slopes import bridges, products, steps
from erosion.auditing.readings.tokens import shown, token_measures
from erosion.auditing.readings.vectors import (
    activations,
    benign_activations,
    benign_last,
    directions,
    fitted,
    last,
    selected,
    texts,
    writes,
)
from erosion.auditing.readings.waypoints import trail, waypoints

__all__ = [
    "Matched",
    "ablations",
    "activations",
    "benign_activations",
    "benign_heads",
    "benign_last",
    "benign_scores",
    "bridges",
    "cells",
    "continuations",
    "damages",
    "directions",
    "domain_cells",
    "donors",
    "dose_sweeps",
    "every_score",
    "fitted",
    "heads",
    "last",
    "matched",
    "noise",
    "own_answers",
    "patches",
    "plain_scores",
    "products",
    "scores",
    "selected",
    "shown",
    "special_rows",
    "steps",
    "texts",
    "token_measures",
    "trail",
    "tried",
    "waypoints",
    "within",
    "writes",
]
