"""Log-likelihoods and entropies of responses, streamed so that one batch of logits is held at a time."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.optimize import brentq

from erosion.errors import BadInput
from erosion.metrics.responses import Responses
from erosion.models import Batch, Model
from erosion.probability import entropy, token_log_likelihood
from erosion.prompts import Contrast, Exchange
from erosion.prompts.rendering import Rendered
from erosion.shapes import Array, Tensor

__all__ = [
    "batch_likelihoods",
    "matched_temperature",
    "mean_entropy",
    "responses_of",
    "score_choices",
    "score_rendered",
    "score_responses",
    "score_texts",
]


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
    return responses_of(rendered, exchanges, likelihood, spread, ends)


def score_choices(model: Model, rendered: Sequence[Rendered], exchanges: Sequence[Exchange]) -> Responses:
    """:func:`score_rendered` without the entropies (they are empty): what margins under many edits need."""
    ((likelihood, ends),) = _likelihoods(model, rendered)
    return responses_of(rendered, exchanges, likelihood, (), ends)


def score_texts(model: Model, rendered: Sequence[Rendered]) -> Responses:
    """The same for plain texts (see :func:`erosion.prompts.render_texts`): every token but the first."""
    likelihood, spread, ends = _score(model, rendered, 1.0)
    ids = tuple(one.ids[slice(*one.span("response"))] for one in rendered)
    return Responses(
        tuple(o.question for o in rendered), ("text",) * len(rendered), ids, likelihood, spread, ends
    )


def responses_of(
    rendered: Sequence[Rendered],
    exchanges: Sequence[Exchange],
    likelihood: tuple[Array, ...],
    spread: tuple[Array, ...],
    ends: Array,
) -> Responses:
    """What was scored, as one value."""
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

    ((likelihood, ends),) = _likelihoods(model, rendered, temperature, also)
    return likelihood, tuple(spread), ends


def _likelihoods(
    model: Model,
    rendered: Sequence[Rendered],
    temperature: float = 1.0,
    also: Callable[[Batch, Tensor, int], None] = lambda batch, predicting, first: None,
) -> tuple[tuple[tuple[Array, ...], Array], ...]:
    """log p of every response token and of the end of the turn, once for each copy of a packed batch.

    ``also`` sees each batch's logits.
    """
    copies = model.passes.copies
    likelihood = [[np.empty(0)] * len(rendered) for _ in range(copies)]
    ends = np.full((copies, len(rendered)), np.nan)

    def work(batch: Batch) -> None:
        for copy, found in enumerate(batch_likelihoods(model, batch, temperature, also)):
            for i, (tokens, end) in zip(batch.index, found, strict=True):
                likelihood[copy][i], ends[copy, i] = tokens, end

    model.for_each_batch(rendered, work, name=f"scoring {model.found}")
    return tuple((tuple(found), end) for found, end in zip(likelihood, ends, strict=True))


def batch_likelihoods(
    model: Model,
    batch: Batch,
    temperature: float = 1.0,
    also: Callable[[Batch, Tensor, int], None] = lambda batch, predicting, first: None,
) -> list[list[tuple[Array, float]]]:
    """For each copy of a batch and each of its rows: log p of the response's tokens, and of its end."""
    copies = model.passes.copies
    first = min(one.span("response")[0] + at for one, at in zip(batch.rendered, batch.offset, strict=True))
    last = batch.ids.shape[1] - first + 1  # a token is predicted one position before it stands
    predicting = model.logits(batch, last=last)[:, :-1]
    if temperature != 1:
        predicting = predicting / temperature
    tokens = batch.ids[:, first:].repeat(copies, 1)
    log_p = token_log_likelihood(predicting, tokens).double().cpu().numpy()
    also(batch, predicting, first)
    return [
        [_row(of_copy, batch, *row) for row in _response_rows(batch, first)]
        for of_copy in np.split(log_p, copies)
    ]


def _row(log_p: Array, batch: Batch, row: int, _: int, start: int, stop: int) -> tuple[Array, float]:
    spans = batch.rendered[row].spans
    end = np.nan
    if "end_of_turn" in spans:  # blanks may stand between
        end = float(log_p[row, stop + spans["end_of_turn"][0] - spans["response"][1]])
    return log_p[row, start:stop].copy(), end


def _response_rows(batch: Batch, first: int) -> Iterator[tuple[int, int, int, int]]:
    """Row, exchange, and the response's start and stop counted from position ``first``."""
    for row, (i, one, offset) in enumerate(zip(batch.index, batch.rendered, batch.offset, strict=True)):
        start, stop = one.span("response")
        yield row, i, start + offset - first, stop + offset - first


def matched_temperature(model: Model, exchanges: Contrast | Sequence[Exchange], *, entropy: float) -> float:
    """The temperature at which a model's mean response entropy equals ``entropy`` (nats), found within 1%.

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
