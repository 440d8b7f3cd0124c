"""Patching within one model: the run on the misaligned answer with the run on the aligned answer.

Both runs share the question, so every difference between them lies in the response. At each layer the
residual of the aligned answer's token j takes the place of the misaligned answer's token j, as far as both
reach (beyond that nothing is touched), and what the model then thinks of the rest of the misaligned answer is
its mean log p per token. Where the state carries what kind of answer this is, the misaligned words become
less likely. The control is the aligned answer to *another* question, which carries other content alike.
"""

from collections.abc import Mapping

import numpy as np
import torch

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.interventions import patch
from erosion.metrics import Responses, Scores
from erosion.models import Model
from erosion.prompts import Contrast
from erosion.shapes import Tensor
from erosion.sites import Site
from erosion.sweeps import Cell, Sweep, sweep
from erosion.token_activations import TokenActivations

__all__ = ["ANSWER", "answer_of", "crossed", "within_run"]

ANSWER = "misaligned answer"


def answer_of(responses: Responses) -> Scores:
    """Mean log p per token of the misaligned answer to each question, in nats per token."""
    rows = [i for i, label in enumerate(responses.labels) if label == "misaligned"]
    values = np.array([responses.log_likelihood[i].mean() for i in rows])
    return Scores(values, tuple(responses.questions[i] for i in rows), ANSWER, "nats per token")


def within_run(
    model: Model, contrast: Contrast, own: TokenActivations, direction: Direction, *, seed: int = 0
) -> Sweep:
    """log p of misaligned answers when the run on aligned answers is put into theirs, at one layer.

    Args:
        model: a loaded model.
        contrast: held-out questions.
        own: the model's own activations on them, at the direction's site.
        direction: the answer direction at that layer.
        seed: of the order in which questions are exchanged for the control.

    Raises:
        BadDirection: the direction was fitted on one of the questions.
        BadInput: fewer than two questions.

    Returns:
        Cells labelled by ``part``: ``whole``, ``along``, ``across``, and the first two from
        ``another question``.
    """
    site = direction.site
    same, other = (crossed(own, contrast, site=site, shift=shift, seed=seed) for shift in (0, 1))
    parts = {
        "whole": patch(same, at=site, scope="response"),
        "along": patch(same, at=site, along=direction, scope="response"),
        "across": patch(same, at=site, across=direction, scope="response"),
        "whole, another question": patch(other, at=site, scope="response"),
        "along, another question": patch(other, at=site, along=direction, scope="response"),
    }
    cells = [Cell({"part": part}, (edit,)) for part, edit in parts.items()]
    return sweep(model, contrast, cells, of=(answer_of,))


def crossed(
    own: TokenActivations, contrast: Contrast, *, site: Site, shift: int, seed: int
) -> Mapping[str, Tensor]:
    """Each misaligned answer's activations with an aligned answer's put in, token by token.

    ``shift`` 0 takes the same question's aligned answer, 1 that of another question. Aligned answers stay as
    they are.
    """
    stored = dict(own.at(site))
    response = dict(zip(own.ids, own.responses, strict=True))
    questions = list(contrast.questions)
    if len(questions) < 2:
        raise BadInput("One question has no other to be exchanged with: give at least two.")
    order = [questions[i] for i in np.random.default_rng(seed).permutation(len(questions))]
    partner = {q: order[(i + shift) % len(order)] for i, q in enumerate(order)}
    found: dict[str, Tensor] = {}
    for aligned, misaligned in zip(contrast.aligned, contrast.misaligned, strict=True):
        name = f"{partner[misaligned.question]}/aligned"
        start, stop = response[misaligned.id]
        begin, end = response[name]
        shared = min(stop - start, end - begin)
        mixed = torch.clone(stored[misaligned.id])
        mixed[start : start + shared] = stored[name][begin : begin + shared]
        found[misaligned.id], found[aligned.id] = mixed, stored[aligned.id]
    return found
