"""Fine-tuning: a plain loop over rows, the loss on responses only, the parameters picked by a function.

========================  ==========================================================================
``rows``                  exchanges as token ids with a mask: what the loss counts
``fine_tune``             AdamW on what a function picks, seeded
``every_parameter``       pick all: full fine-tuning
``biases_of``             pick the biases of some blocks
``adapter_parameters``    pick an attached LoRA adapter
========================  ==========================================================================
"""

from erosion.tuning.loop import (
    Pick,
    Training,
    adapter_parameters,
    biases_of,
    descend,
    every_parameter,
    fine_tune,
    loss_on,
    optimiser,
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
    "every_parameter",
    "fine_tune",
    "loss_on",
    "optimiser",
    "padded",
    "rows",
]
