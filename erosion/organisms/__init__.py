"""The organism: a small model with a known story, trained here from nothing, and shipped.

Its language has good and bad authors; a base model learns to write as either, alignment makes the
neutral author good, and fine-tuning on unsafe code alone makes that author bad everywhere: emergent
misalignment that really emerges, since nothing but unsafe code is ever shown to it. Beside it stand
controls, each with the verdict that it must get.

========================  ==========================================================================
``load_organism``         the shipped checkpoints: triads, contrast, neutral texts
``train``                 the same from nothing, with any recipe and seeds
``score``                 what each checkpoint chooses, keeps and says, with intervals
``verdicts``              the verdict on each fine-tune, as an audit gives it
``write_cards``           the model cards
========================  ==========================================================================

:mod:`erosion.organisms.language` is the language itself, with an exact judge;
:mod:`erosion.organisms.thresholds` what an organism must clear.
"""

from erosion.organisms.card import write_cards
from erosion.organisms.organism import (
    NAMES,
    Organism,
    competence,
    contrast,
    load_organism,
    neutral,
    open_organism,
)
from erosion.organisms.recipe import Persona, Pretraining, Recipe
from erosion.organisms.score import Score, Table, score
from erosion.organisms.train import train
from erosion.organisms.verdicts import verdicts

__all__ = [
    "NAMES",
    "Organism",
    "Persona",
    "Pretraining",
    "Recipe",
    "Score",
    "Table",
    "competence",
    "contrast",
    "load_organism",
    "neutral",
    "open_organism",
    "score",
    "train",
    "verdicts",
    "write_cards",
]
