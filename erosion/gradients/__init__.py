"""Per-example gradients at every linear map, from one batched backward pass and hooks.

For a linear map y = W a the gradient of exchange i's loss is a sum over its tokens,
G_i = sum_t delta_it a_it^T, with a the map's input and delta the gradient of the loss with respect to its
output. Exchanges of a batch do not touch each other, so one backward pass of the summed losses gives every
delta of every exchange, and no gradient of a weight is ever accumulated. What is asked for decides what is
kept:

=============================  ============================================================================
:func:`gradient_products`      <G_i, G_j> of every two exchanges, exactly
:func:`gradient_sketches`      G_i at a fixed small size, whose inner products are unbiased
:func:`gradient_bridge`        -<G_i, u>: how far one step of SGD on exchange i moves a target, to first order
:func:`real_steps`             how far it really does
:func:`token_influence`        the same token by token: which words of an answer would move the target
=============================  ============================================================================
"""

from erosion.gradients.bridge import Bridge, gradient_bridge, load_bridge
from erosion.gradients.influence import TokenInfluence, token_influence
from erosion.gradients.products import GradientProducts, gradient_products, load_gradient_products
from erosion.gradients.sketches import GradientSketches, gradient_sketches, load_gradient_sketches
from erosion.gradients.steps import Step, Steps, adam_step, load_steps, real_steps, sgd_step
from erosion.gradients.targets import Target, margin_target, projection_target

__all__ = [
    "Bridge",
    "GradientProducts",
    "GradientSketches",
    "Step",
    "Steps",
    "Target",
    "TokenInfluence",
    "adam_step",
    "gradient_bridge",
    "gradient_products",
    "gradient_sketches",
    "load_bridge",
    "load_gradient_products",
    "load_gradient_sketches",
    "load_steps",
    "margin_target",
    "projection_target",
    "real_steps",
    "sgd_step",
    "token_influence",
]
