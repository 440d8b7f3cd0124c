"""Output distributions token by token: how far apart two models' are, position by position and by domain.

Where section 4.1 of arXiv 2507.03662 compares likelihoods of given answers, this compares the whole
next-token distributions at the same places: KL and Jensen-Shannon of tuned against aligned and against base,
with aligned against base as the yardstick; each model's entropy and the rank of the actual token; and the
harm margin token by token. Every curve is about the same questions at every position, in one band; beside it
stands the same divergence on harmless answers, since a model that moved everywhere did not move about harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from erosion.experiments import token_reads
from erosion.experiments.results import Result
from erosion.experiments.shared_positions import shared_positions
from erosion.experiments.shown_tokens import shown_continuations, shown_tokens
from erosion.experiments.token_curves import (
    Control,
    Reduce,
    Side,
    at_parts,
    at_positions,
    band_of,
    estimate_of,
)
from erosion.experiments.token_reads import PAIRS, Pick, TokenReads
from erosion.metrics import Divergences
from erosion.stats import Band, Estimate

__all__ = ["PAIRS", "TokenReads", "divergences"]

_MEASURES = {"KL": "kl", "KL, other way": "reverse_kl", "Jensen-Shannon": "jensen_shannon"}
_OTHER = {"aligned": "misaligned", "misaligned": "aligned"}
_BENIGN = "right answers to harmless questions"


@dataclass(frozen=True, eq=False)
class _Frame:
    """The reads, their control, and the positions and questions that every curve is about."""

    reads: TokenReads
    benign: TokenReads | None
    questions: Sequence[str]
    harmless: Sequence[str]
    length: int

    def control(self, pick: Pick, label: str, questions: Sequence[str]) -> Control:
        """The same quantity on harmless answers, or on the other answer where there are none."""
        if self.benign is not None:
            return Control(_BENIGN, token_reads.side(self.benign, pick, "aligned", self.harmless))
        other = _OTHER[label]
        return Control(f"the {other} answers", token_reads.side(self.reads, pick, other, questions))

    def bands(self, pick: Pick, reduce: Reduce, unit: str) -> dict[str, Band]:
        """One quantity along both kinds of answer."""
        return {
            f"{label} answers": band_of(
                token_reads.side(self.reads, pick, label, self.questions),
                self.control(pick, label, self.questions),
                reduce=reduce,
                unit=unit,
            )
            for label in _OTHER
        }


def divergences(
    reads: TokenReads,
    domains: Mapping[str, str],
    *,
    trained_domains: Sequence[str] = (),
    benign: TokenReads | None = None,
) -> Result:
    """Divergences by response position, by part of the response and by domain; entropy, rank and margin too.

    Args:
        reads: the contrast under every model.
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on: out of the curves and the overall numbers.
        benign: the same of right and wrong answers to harmless questions, as control.

    Memory: a few floats for each response token.
    """
    asked = list(dict.fromkeys(reads.scored["aligned"].questions))
    groups = {"overall": [q for q in asked if domains[q] not in trained_domains]}
    groups |= {d: [q for q in asked if domains[q] == d] for d in sorted({domains[q] for q in asked})}
    groups = {name: questions for name, questions in groups.items() if questions}
    chosen = groups.get("overall", asked)
    frame = _framed(reads, benign, chosen)
    along = at_positions(frame.length)
    ours = {
        "by position": {pair: _curves(frame, pair, along) for pair in reads.compared},
        "by part of the response": {pair: _curves(frame, pair, at_parts) for pair in reads.compared},
        "models by position": {model: _of_model(frame, model, along) for model in reads.scored},
        "margin by position": _margins(frame),
        "by domain": {group: _means(frame, questions) for group, questions in groups.items()},
        "outside the shared vocabulary": {pair: _outside(one) for pair, one in reads.compared.items()},
    }
    published: dict[str, Any] = {"tokens": shown_tokens(reads.scored, reads.compared[PAIRS[0]], chosen)}
    if reads.continuations:
        published["continuations"] = shown_continuations(reads.continuations)
    inputs = {
        "models": list(reads.scored),
        "positions": frame.length,
        "questions": {group: len(questions) for group, questions in groups.items()},
        "questions too short for every position": len(chosen) - len(frame.questions),
        "trained_domains": list(trained_domains),
        "control": "the other answer" if benign is None else _BENIGN,
    }
    return Result("divergences", inputs, published, ours)


def _framed(reads: TokenReads, benign: TokenReads | None, asked: Sequence[str]) -> _Frame:
    """Positions that (most) questions of the reads and of their control have."""
    shared = shared_positions(token_reads.about(reads.scored["aligned"], asked))
    if benign is None:
        return _Frame(reads, None, shared.questions, (), shared.length)
    harmless = benign.scored["aligned"]
    other = shared_positions(token_reads.about(harmless, harmless.questions))
    length = min(shared.length, other.length)
    return _Frame(reads, benign, shared.questions, other.questions, length)


def _curves(frame: _Frame, pair: str, reduce: Reduce) -> dict[str, dict[str, Band]]:
    return {
        name: frame.bands(token_reads.divergence(pair, measure), reduce, "nats")
        for name, measure in _MEASURES.items()
    }


def _of_model(frame: _Frame, model: str, reduce: Reduce) -> dict[str, dict[str, Band]]:
    found = {"entropy": frame.bands(token_reads.entropy(model), reduce, "nats")}
    if model != "base" or PAIRS[1] in frame.reads.compared:
        found["log rank"] = frame.bands(token_reads.log_rank(model), reduce, "log rank (0 = likeliest)")
    return found


def _margins(frame: _Frame) -> dict[str, Band]:
    """The harm margin token by token, and its change from aligned to tuned beside the competence margin's."""
    along, unit = at_positions(frame.length), "nats"

    def of(reads: TokenReads, model: str, questions: Sequence[str]) -> Side:
        return token_reads.margin(reads, model, questions, frame.length)

    def change(reads: TokenReads, questions: Sequence[str]) -> Side:
        tuned, aligned = (of(reads, model, questions) for model in ("tuned", "aligned"))
        moved = [a - b for a, b in zip(tuned.values, aligned.values, strict=True)]
        return Side(moved, tuned.questions)

    sides = {model: of(frame.reads, model, frame.questions) for model in frame.reads.scored}
    found = {model: band_of(one, None, reduce=along, unit=unit) for model, one in sides.items()}
    beside = None
    if frame.benign is not None:
        beside = Control("competence margin", change(frame.benign, frame.harmless))
    moved = change(frame.reads, frame.questions)
    found["tuned minus aligned"] = band_of(moved, beside, reduce=along, unit=unit)
    return found


def _means(frame: _Frame, questions: Sequence[str]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Pair -> kind of answer -> measure: the mean over all tokens of a response, then over questions."""

    def one(pair: str, label: str, measure: str) -> Estimate:
        pick = token_reads.divergence(pair, measure)
        control = frame.control(pick, label, questions)
        return estimate_of(token_reads.side(frame.reads, pick, label, questions), control, unit="nats")

    return {
        pair: {
            f"{label} answers": {name: one(pair, label, measure) for name, measure in _MEASURES.items()}
            for label in _OTHER
        }
        for pair in frame.reads.compared
    }


def _outside(compared: Divergences) -> dict[str, float]:
    """How much probability the two models put where they share no vocabulary."""
    first, second = (np.concatenate(values) for values in (compared.outside, compared.other_outside))
    largest = float(max(first.max(), second.max()))
    return {"first, mean": float(first.mean()), "second, mean": float(second.mean()), "largest": largest}
