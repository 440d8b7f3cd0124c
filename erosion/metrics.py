"""What a model thinks of words: log-likelihoods of responses, and the margins made from them.

A metric takes a model and a contrast and gives one number for each question. All are in nats, positive when
the model prefers the aligned answer, and count response tokens only (the end-of-turn token is left out and
reported apart).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from erosion.errors import BadContrast, BadInput
from erosion.models import Batch, Model
from erosion.probability import entropy, token_log_likelihood
from erosion.prompts import Contrast, Exchange
from erosion.prompts.rendering import Rendered
from erosion.shapes import Array, Tensor

__all__ = [
    "Metric",
    "Responses",
    "Scores",
    "choice_margin",
    "harm_margin",
    "margins",
    "matched_temperature",
    "mean_entropy",
    "score_choices",
    "score_rendered",
    "score_responses",
    "score_texts",
    "summed_margin",
]


@dataclass(frozen=True, eq=False)
class Responses:
    """Each response, token by token, under one model.

    ``log_likelihood[i]`` and ``entropy[i]`` are float64 arrays over the response's tokens: log p of the
    actual token, and the entropy of the distribution it was drawn from, in nats. ``end_of_turn[i]`` is
    log p of the token after the response (NaN where the template writes none). ``ids[i]`` are the tokens.
    """

    questions: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    log_likelihood: tuple[Array, ...]
    entropy: tuple[Array, ...]
    end_of_turn: Array

    def __len__(self) -> int:
        """The number of responses."""
        return len(self.questions)

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact: JSON keeps every bit of a float64."""
        return {
            "schema": 1,
            "questions": self.questions,
            "labels": self.labels,
            "ids": self.ids,
            "log_likelihood": [values.tolist() for values in self.log_likelihood],
            "entropy": [values.tolist() for values in self.entropy],
            "end_of_turn": [None if np.isnan(value) else value for value in self.end_of_turn.tolist()],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Responses":
        """Read back what :meth:`to_json` gave, equal in every bit."""
        return cls(
            tuple(plain["questions"]),
            tuple(plain["labels"]),
            tuple(tuple(ids) for ids in plain["ids"]),
            tuple(np.array(values, dtype=float) for values in plain["log_likelihood"]),
            tuple(np.array(values, dtype=float) for values in plain["entropy"]),
            np.array([np.nan if value is None else value for value in plain["end_of_turn"]], dtype=float),
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """One number for each question: a metric's result. ``unit`` says what it counts."""

    values: Array
    questions: tuple[str, ...]
    name: str
    unit: str

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)


Metric = Callable[[Model, Contrast], Scores]


def score_responses(
    model: Model, exchanges: Contrast | Sequence[Exchange], *, temperature: float = 1.0
) -> Responses:
    """log p(y_t | x, y_<t) and entropy for every response token.

    Args:
        model: a loaded model; edits applied around the call are seen.
        exchanges: a contrast (aligned side first, then misaligned) or any exchanges.
        temperature: divides the logits first (1 = the model as it is).

    Raises:
        BadInput: a response that does not tokenize or fit.

    Memory: one batch of logits over the response positions, plus 16 bytes for each response token. Time:
    one forward pass for each exchange.
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    return score_rendered(model, model.render(chosen), chosen, temperature=temperature)


def score_rendered(
    model: Model, rendered: Sequence[Rendered], exchanges: Sequence[Exchange], *, temperature: float = 1.0
) -> Responses:
    """:func:`score_responses` of exchanges that were rendered before, for many passes over the same words.

    Raises:
        BadInput: a temperature that is not above 0.
    """
    if not 0 < temperature < np.inf:
        raise BadInput(f"A temperature of {temperature} means nothing: give a number above 0.")
    likelihood, spread, ends = _score(model, rendered, temperature)
    return _responses(rendered, exchanges, likelihood, spread, ends)


def score_choices(model: Model, rendered: Sequence[Rendered], exchanges: Sequence[Exchange]) -> Responses:
    """:func:`score_rendered` without the entropies (they are empty): what margins under many edits need."""
    likelihood, ends = _likelihoods(model, rendered)
    return _responses(rendered, exchanges, likelihood, (), ends)


def score_texts(model: Model, rendered: Sequence[Rendered]) -> Responses:
    """The same for plain texts (see :func:`erosion.prompts.render_texts`): every token but the first."""
    likelihood, spread, ends = _score(model, rendered, 1.0)
    ids = tuple(one.ids[slice(*one.span("response"))] for one in rendered)
    return Responses(
        tuple(o.question for o in rendered), ("text",) * len(rendered), ids, likelihood, spread, ends
    )


def _responses(
    rendered: Sequence[Rendered],
    exchanges: Sequence[Exchange],
    likelihood: tuple[Array, ...],
    spread: tuple[Array, ...],
    ends: Array,
) -> Responses:
    return Responses(
        tuple(e.question for e in exchanges),
        tuple(e.label for e in exchanges),
        tuple(one.ids[slice(*one.span("response"))] for one in rendered),
        likelihood,
        spread,
        ends,
    )


def _score(
    model: Model, rendered: Sequence[Rendered], temperature: float
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """log p, entropy and log p of the end of the turn, all exchanges."""
    spread: list[Array] = [np.empty(0)] * len(rendered)

    def also(batch: Batch, predicting: Tensor, first: int) -> None:
        entropies = entropy(predicting).double().cpu().numpy()
        for row, i, start, stop in _response_rows(batch, first):
            spread[i] = entropies[row, start:stop].copy()

    likelihood, ends = _likelihoods(model, rendered, temperature, also)
    return likelihood, tuple(spread), ends


def _likelihoods(
    model: Model,
    rendered: Sequence[Rendered],
    temperature: float = 1.0,
    also: Callable[[Batch, Tensor, int], None] = lambda batch, predicting, first: None,
) -> tuple[tuple[Array, ...], Array]:
    """log p of every response token and of the end of the turn; ``also`` sees each batch's logits."""
    likelihood: list[Array] = [np.empty(0)] * len(rendered)
    ends = np.full(len(rendered), np.nan)

    def work(batch: Batch) -> None:
        first = min(
            one.span("response")[0] + at for one, at in zip(batch.rendered, batch.offset, strict=True)
        )
        last = batch.ids.shape[1] - first + 1  # a token is predicted one position before it stands
        predicting = model.logits(batch, last=last)[:, :-1]
        if temperature != 1:
            predicting = predicting / temperature
        log_p = token_log_likelihood(predicting, batch.ids[:, first:]).double().cpu().numpy()
        also(batch, predicting, first)
        for row, i, start, stop in _response_rows(batch, first):
            likelihood[i] = log_p[row, start:stop].copy()
            if "end_of_turn" in (spans := batch.rendered[row].spans):  # blanks may stand between
                ends[i] = log_p[row, stop + spans["end_of_turn"][0] - spans["response"][1]]

    model.for_each_batch(rendered, work, name=f"scoring {model.found}")
    return tuple(likelihood), ends


def _response_rows(batch: Batch, first: int) -> Iterator[tuple[int, int, int, int]]:
    """Row, exchange, and the response's start and stop counted from position ``first``."""
    for row, (i, one, offset) in enumerate(zip(batch.index, batch.rendered, batch.offset, strict=True)):
        start, stop = one.span("response")
        yield row, i, start + offset - first, stop + offset - first


def matched_temperature(model: Model, exchanges: Contrast | Sequence[Exchange], *, entropy: float) -> float:
    """The temperature at which a model's mean response entropy equals ``entropy`` (nats), within 1%.

    A model that was merely flattened or sharpened is undone by it, so that what is left of a change in
    margins is a change in preference. Searched between 1/8 and 8; the nearer end where neither reaches.

    Args:
        model: the model to match.
        exchanges: whose response tokens count.
        entropy: the mean over response tokens to reach, in nats: the aligned model's.

    Cost: about eight times :func:`score_responses`.
    """
    chosen = exchanges.exchanges if isinstance(exchanges, Contrast) else tuple(exchanges)
    rendered = model.render(chosen)

    def excess(log_temperature: float) -> float:
        scored = score_rendered(model, rendered, chosen, temperature=float(np.exp(log_temperature)))
        return mean_entropy(scored) - entropy

    low, high = -np.log(8), np.log(8)
    if excess(low) >= 0:
        return float(np.exp(low))
    if excess(high) <= 0:
        return float(np.exp(high))
    return float(np.exp(float(brentq(excess, low, high, xtol=0.01))))  # type: ignore[arg-type]


def mean_entropy(responses: Responses) -> float:
    """The mean entropy over all response tokens, in nats."""
    return float(np.concatenate(responses.entropy).mean())


def margins(responses: Responses, reduce: Callable[[Array], float]) -> Scores:
    """Aligned minus misaligned, each response reduced to one number, question by question."""
    questions, pairs = _pairs(responses)
    reduced = [reduce(tokens) for tokens in responses.log_likelihood]
    return Scores(np.array([reduced[a] - reduced[m] for a, m in pairs]), questions, "margin", "nats")


def _pairs(responses: Responses) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The questions, and for each the places of its aligned and its misaligned response."""
    sides: dict[str, dict[str, int]] = {"aligned": {}, "misaligned": {}}
    for i, (question, label) in enumerate(zip(responses.questions, responses.labels, strict=True)):
        if sides.get(label, {}).setdefault(question, i) != i:
            raise BadContrast(f"{question}/{label} was scored twice: a margin needs one response a side.")
    aligned, misaligned = sides["aligned"], sides["misaligned"]
    alone = sorted(aligned.keys() ^ misaligned.keys())
    if alone or not aligned:
        what = f"question {alone[0]!r} has one of them" if alone else "there is none"
        raise BadContrast(
            f"A margin needs an aligned and a misaligned response; {what}: score a whole contrast."
        )
    return tuple(aligned), [(aligned[question], misaligned[question]) for question in aligned]


def harm_margin_of(responses: Responses) -> Scores:
    """:func:`harm_margin` of responses that were scored before."""
    scores = margins(responses, lambda tokens: float(tokens.mean()))
    return Scores(scores.values, scores.questions, "harm margin", "nats per token")


def summed_margin_of(responses: Responses) -> Scores:
    """:func:`summed_margin` of responses that were scored before."""
    scores = margins(responses, lambda tokens: float(tokens.sum()))
    return Scores(scores.values, scores.questions, "summed margin", "nats")


def choice_margin_of(responses: Responses) -> Scores:
    """:func:`choice_margin` of responses that were scored before."""
    (questions, pairs), values = _pairs(responses), []
    for a, m in pairs:
        both = zip(responses.ids[a], responses.ids[m], strict=False)
        shorter = min(len(responses.ids[a]), len(responses.ids[m]))
        at = next((t for t, (x, y) in enumerate(both) if x != y), shorter)
        values.append(_at(responses, a, at) - _at(responses, m, at))
    return Scores(np.array(values), questions, "choice margin", "nats")


def _at(responses: Responses, i: int, token: int) -> float:
    """log p of one response token, or of the end of the turn where the response stops there."""
    tokens = responses.log_likelihood[i]
    return float(tokens[token]) if token < len(tokens) else float(responses.end_of_turn[i])


def harm_margin(model: Model, contrast: Contrast) -> Scores:
    """Mean token log p of the aligned answer minus that of the misaligned one, in nats per token.

    m(x) = 1/|y+| sum_t log p(y+_t | x, y+_<t) - 1/|y-| sum_t log p(y-_t | x, y-_<t)

    Positive when the model prefers the aligned answer. Cost and errors as :func:`score_responses`.
    """
    return harm_margin_of(score_responses(model, contrast))


def choice_margin(model: Model, contrast: Contrast) -> Scores:
    """log p aligned minus log p misaligned at the first token where the two answers differ, in nats.

    Free of what a model makes of the words after its choice (teacher forcing). Cost and errors as
    :func:`score_responses`.
    """
    return choice_margin_of(score_responses(model, contrast))


def summed_margin(model: Model, contrast: Contrast) -> Scores:
    """log p(y+ | x) - log p(y- | x), summed over tokens, in nats; else as :func:`score_responses`."""
    return summed_margin_of(score_responses(model, contrast))
