"""The name of every axis, in one place, for the shapes in signatures.

======================  ==========================================================================
axis                    meaning
======================  ==========================================================================
``exchange``            one question with one response
``aligned``             exchanges of the aligned side (``misaligned`` likewise), pairs in order
``question``            one question, the unit of every interval
``position``            a token's place in the padded batch
``vocab``               the tokenizer's ids
``d_model``             the width of the residual stream
``layer``               a block, counted from 0
``draw``                one bootstrap, permutation or random-direction draw
``k``                   a basis' number of vectors
======================  ==========================================================================

Write ``Float[Tensor, "exchange d_model"]``; an axis name binds across one call, so two sets of
exchanges need two names.
"""

from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

__all__ = ["Activations", "Array", "Bool", "Float", "Int", "Tensor", "Vector"]

Array = ndarray
Vector = Float[Tensor, " d_model"]
Activations = Float[Tensor, "exchange d_model"]
