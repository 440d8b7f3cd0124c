"""Fine-tuning: a plain loop over rows, the loss on responses only, the parameters picked by a function.

========================  ==========================================================================
``rows``                  exchanges as token ids with a mask: what the loss counts
``fine_tune``             AdamW on what a function picks, seeded
``tuning_steps``          the same step by step, for who wants to stop between
``weight_change``         how far the weights have moved: the dose
``every_parameter``       pick all: full fine-tuning
``biases_of``             pick the biases of some blocks
``down_projections``      pick what every MLP writes with
``adapter_parameters``    pick an attached LoRA adapter
========================  ==========================================================================
"""

from erosion.tuning.dose import effective_weights, weight_change
from erosion.tuning.loop import (
    Pick,
    Training,
    adapter_parameters,
    biases_of,
    descend,
    down_projections,
    every_parameter,
    fine_tune,
    loss_on,
    optimiser,
    tuning_steps,
)
from erosion.tuning.rows import Batch, Row, batches, padded, rows

__all__ = [
    "Batch",
    "Pick",
    "Row",
    "Training",
    "adapter_parameters",
    "batches",
    "biases_of",
    "descend",
    "down_projections",
    "effective_weights",
    "every_parameter",
    "fine_tune",
    "loss_on",
    "optimiser",
    "padded",
    "rows",
    "tuning_steps",
    "weight_change",
]
