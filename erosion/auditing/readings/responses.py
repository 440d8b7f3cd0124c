"""What each model says of words: responses token by token, heads, continuations, own answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.auditing.bench import Bench
from erosion.auditing.readings.formats import ANSWERS, CONTINUATIONS, HEADS, PLAIN, RESPONSES, ROWS
from erosion.effects import noise_floor
from erosion.metrics import (
    Continuations,
    HeadStates,
    OnPolicy,
    Responses,
    harm_margin,
    matched_temperature,
    mean_entropy,
    on_policy,
    read_head_states,
    score_responses,
    top_continuations,
)
from erosion.models import Model, SpecialRows, untrained_tokens
from erosion.prompts import Question

__all__ = [
    "Matched",
    "benign_heads",
    "benign_scores",
    "continuations",
    "every_score",
    "heads",
    "matched",
    "noise",
    "own_answers",
    "plain_scores",
    "scores",
    "special_rows",
]


def scores(bench: Bench, name: str) -> Responses:
    """Every response of the contrast, token by token."""
    contrast = bench.prepared.contrast
    return bench.kept("scores", name, lambda model: score_responses(model, contrast), RESPONSES)


def every_score(bench: Bench, name: str) -> Responses:
    """The contrast's responses and its further ones (educational), token by token."""
    found, others = scores(bench, name), bench.prepared.contrast.others
    if not others:
        return found
    further = bench.kept("others-scores", name, lambda model: score_responses(model, others), RESPONSES)
    return Responses(
        found.questions + further.questions,
        found.labels + further.labels,
        found.ids + further.ids,
        found.log_likelihood + further.log_likelihood,
        found.entropy + further.entropy,
        np.concatenate([found.end_of_turn, further.end_of_turn]),
    )


def plain_scores(bench: Bench, name: str) -> Responses:
    """The contrast's responses in the template ``plain``, token by token."""
    prepared = bench.prepared

    def make(model: Model) -> Responses:
        with model.rendered_as(prepared.plain):
            return score_responses(model, prepared.contrast)

    return bench.kept("plain-scores", name, make, RESPONSES, plain=prepared.plain.hash)


def special_rows(bench: Bench, name: str) -> SpecialRows:
    """Which of the template's special tokens have embeddings that look untrained."""
    return bench.kept("special-rows", name, untrained_tokens, ROWS)


def heads(bench: Bench, name: str) -> HeadStates:
    """What each model's output head reads where response tokens are predicted, and the head."""
    contrast = bench.prepared.contrast
    return bench.kept("heads", name, lambda model: read_head_states(model, contrast), HEADS)


def benign_heads(bench: Bench, name: str) -> HeadStates | None:
    """The same of right and wrong answers to harmless questions."""
    benign = bench.prepared.benign
    if benign is None:
        return None
    return bench.kept(
        "benign-heads", name, lambda model: read_head_states(model, benign), HEADS, benign=benign.hash
    )


def continuations(bench: Bench, name: str) -> Continuations:
    """The likeliest next tokens where the answers of a few questions begin."""
    asked = bench.prepared.contrast.aligned
    prefixes = [Question(e.question, e.messages, e.domain) for e in asked[:: max(1, len(asked) // 3)][:3]]
    return bench.kept("continuations", name, lambda model: top_continuations(model, prefixes), CONTINUATIONS)


def noise(bench: Bench, name: str) -> dict[str, Any] | None:
    """How far the harm margin of aligned and tuned moves when only the arithmetic changes."""
    if name == "base":
        return None
    tested = bench.prepared.tested
    return bench.kept(
        "noise",
        name,
        lambda model: noise_floor(model, tested, harm_margin).to_json(),
        PLAIN,
        tested=tested.questions,
    )


def own_answers(bench: Bench, name: str) -> OnPolicy:
    """Each model's own answers beside the written ones, scored by itself."""
    prepared = bench.prepared
    seed, tokens = prepared.config.seed, prepared.config.own_tokens
    return bench.kept(
        "own-answers",
        name,
        lambda model: on_policy(model, prepared.tested, n_tokens=tokens, seed=seed),
        ANSWERS,
        drawn=[seed, tokens, prepared.tested.questions],
    )


def benign_scores(bench: Bench, name: str) -> Responses | None:
    """The right and wrong answers to harmless questions, token by token."""
    benign = bench.prepared.benign
    if benign is None:
        return None
    return bench.kept(
        "benign-scores", name, lambda model: score_responses(model, benign), RESPONSES, benign=benign.hash
    )


@dataclass(frozen=True, eq=False)
class Matched:
    """The tuned model at the temperature that gives it the aligned model's mean entropy."""

    temperature: float
    responses: Responses


def matched(bench: Bench, name: str) -> Matched | None:
    """The tuned model's responses at matched temperature."""
    if name != "tuned":
        return None
    entropy = mean_entropy(scores(bench, "aligned"))

    def make(model: Model) -> dict[str, Any]:
        temperature = matched_temperature(model, bench.prepared.contrast, entropy=entropy)
        scored = score_responses(model, bench.prepared.contrast, temperature=temperature)
        return {"temperature": temperature, "responses": scored.to_json()}

    made = bench.kept("matched", name, make, PLAIN, entropy=entropy)
    return Matched(made["temperature"], Responses.from_json(made["responses"]))
