"""What a model thinks of words: log-likelihoods of responses, and the margins made from them.

A metric takes a model and a contrast and gives one number for each question. All are in nats, positive when
the model prefers the aligned answer, and count response tokens only (the end-of-turn token is left out and
reported apart).
"""

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
    "Metric",
    "Responses",
    "Scores",
    "choice_margin",
    "choice_margin_of",
    "harm_margin",
    "harm_margin_of",
    "margins",
    "matched_temperature",
    "mean_entropy",
    "score_choices",
    "score_rendered",
    "score_responses",
    "score_texts",
    "summed_margin",
    "summed_margin_of",
]
