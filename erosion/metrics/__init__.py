"""What a model thinks of words: log-likelihoods of responses, and the margins made from them.

A metric takes a model and a contrast and gives one number for each question. All are in nats, positive when
the model prefers the aligned answer, and count response tokens only (the end-of-turn token is left out and
reported apart).
"""

from erosion.metrics.continuations import Continuations, top_continuations
from erosion.metrics.divergences import Divergences, load_divergences, token_divergences
from erosion.metrics.heads import HeadStates, load_head_states, read_head_states
from erosion.metrics.margins import (
    Metric,
    choice_margin,
    choice_margin_of,
    harm_margin,
    harm_margin_of,
    margins,
    summed_margin,
    summed_margin_of,
)
from erosion.metrics.on_policy import OnPolicy, on_policy
from erosion.metrics.responses import Responses, Scores
from erosion.metrics.scoring import (
    matched_temperature,
    mean_entropy,
    score_choices,
    score_rendered,
    score_responses,
    score_texts,
)

__all__ = [
    "Continuations",
    "Divergences",
    "HeadStates",
    "Metric",
    "OnPolicy",
    "Responses",
    "Scores",
    "choice_margin",
    "choice_margin_of",
    "harm_margin",
    "harm_margin_of",
    "load_divergences",
    "load_head_states",
    "margins",
    "matched_temperature",
    "mean_entropy",
    "on_policy",
    "read_head_states",
    "score_choices",
    "score_rendered",
    "score_responses",
    "score_texts",
    "summed_margin",
    "summed_margin_of",
    "token_divergences",
    "top_continuations",
]
