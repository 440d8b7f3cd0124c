"""From logits to nats: likelihoods, entropies and divergences of next-token distributions.

Notable here:

- Everything stays in log space, in float32 (float64 where the logits are), and uses the convention
  0 log 0 = 0, so a logit of minus infinity (a token ruled out) is exact, not NaN.
- ``[tokens, vocab]`` is never cast whole: the work goes piece by piece, at most :data:`PIECE` logits at
  once, which is 128 MiB in float32 and three or four times that at the peak.
- Logits and ids are taken **already aligned**: row t of the logits is the distribution that token t was
  drawn from, so a caller drops the last position of the model's logits and the first of its ids.
"""

import math
from collections.abc import Callable

import torch
from einops import rearrange, reduce

from erosion.errors import BadInput
from erosion.shapes import Float, Int, Tensor

__all__ = ["PIECE", "entropy", "jensen_shannon", "kl", "mass", "rank", "token_log_likelihood"]

PIECE = 2**25
"""The most logits that are cast to float32 at once."""


def token_log_likelihood(
    logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """log p(token) of each actual token, in nats: its logit minus the row's log-sum-exp.

    Minus infinity where the token was ruled out. Differentiable.

    Raises:
        BadInput: an id outside the vocabulary (padding must be masked by the caller, with any valid
            id), NaN or plus infinity among the logits, or a row of nothing but minus infinity.

    >>> token_log_likelihood(torch.tensor([0.0, 0.0]), torch.tensor(1))
    tensor(-0.6931)
    """
    _check_ids(logits, ids)

    def score(piece: Tensor, chosen: Tensor) -> Tensor:
        exact = _at_least_float32(piece)
        total = torch.logsumexp(exact, dim=-1)
        return torch.where(total.isfinite(), _pick(exact, chosen) - total, torch.nan)

    return _numbers(_in_pieces(score, logits, ids))


def rank(logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """The place of each actual token among all, by probability: 1 is the most likely.

    1 + the number of tokens with a strictly larger logit, so ties share the better place (in
    bfloat16 they are common).

    Raises:
        BadInput: an id outside the vocabulary, or NaN among the logits.

    >>> rank(torch.tensor([2.0, 5.0, 3.0]), torch.tensor(2))
    tensor(2)
    """
    _check_ids(logits, ids)

    def score(piece: Tensor, chosen: Tensor) -> Tensor:
        above = piece > rearrange(_pick(piece, chosen), "... -> ... 1")
        # NaN is neither above nor below: it would pass in silence as a good rank.
        return torch.where(piece.isnan().any(dim=-1), -1, 1 + above.sum(dim=-1))

    ranks = _in_pieces(score, logits, ids)
    if bool((ranks < 0).any()):
        raise BadInput(_NOT_FINITE)
    return ranks


def entropy(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """The entropy of each distribution in nats: -sum p log p, from 0 to log(vocab).

    Raises:
        BadInput: NaN or plus infinity among the logits, or a row of nothing but minus infinity.

    >>> entropy(torch.tensor([0.0, 0.0, -torch.inf]))
    tensor(0.6931)
    """

    def score(piece: Tensor) -> Tensor:
        log_p = _log_softmax(piece)
        return -_expectation(log_p, log_p)

    return _numbers(_in_pieces(score, logits)).clamp(min=0)


def kl(
    p_logits: Float[Tensor, "*batch vocab"], q_logits: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats: sum p (log p - log q), at least 0, infinite where q rules out what p allows.

    ``kl(tuned, aligned)`` asks how surprised the aligned model is by what the tuned one says. Both need
    the same vocabulary: cut padded rows off first, and report their share by :func:`mass`.

    Raises:
        BadInput: NaN or plus infinity among the logits, or a row of nothing but minus infinity.

    >>> kl(torch.tensor([0.0, -torch.inf]), torch.tensor([0.0, 0.0]))
    tensor(0.6931)
    """

    def score(p_piece: Tensor, q_piece: Tensor) -> Tensor:
        log_p, log_q = _log_softmax(p_piece), _log_softmax(q_piece.to(p_piece.device))
        return _expectation(log_p, log_p - log_q)

    return _numbers(_in_pieces(score, p_logits, q_logits)).clamp(min=0)


def jensen_shannon(
    p_logits: Float[Tensor, "*batch vocab"], q_logits: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch"]:
    """The Jensen-Shannon divergence in nats: symmetric, always finite, from 0 to log 2.

    (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2 (Lin 1991), log m by log-add-exp.

    Raises:
        BadInput: NaN or plus infinity among the logits, or a row of nothing but minus infinity.

    >>> jensen_shannon(torch.tensor([0.0, -torch.inf]), torch.tensor([-torch.inf, 0.0]))
    tensor(0.6931)
    """

    def score(p_piece: Tensor, q_piece: Tensor) -> Tensor:
        log_p, log_q = _log_softmax(p_piece), _log_softmax(q_piece.to(p_piece.device))
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        return (_expectation(log_p, log_p - log_m) + _expectation(log_q, log_q - log_m)) / 2

    return _numbers(_in_pieces(score, p_logits, q_logits)).clamp(0, math.log(2))


def mass(logits: Float[Tensor, "*batch vocab"], members: Int[Tensor, " member"]) -> Float[Tensor, "*batch"]:
    """The probability that falls on a set of ids, 0 to 1.

    What guards a comparison among choice words (did it collapse elsewhere?) and a shared vocabulary
    (how much lies outside it?).

    Raises:
        BadInput: an id outside the vocabulary, NaN or plus infinity among the logits, or a row of
            nothing but minus infinity.

    >>> mass(torch.zeros(4), torch.tensor([0, 3]))
    tensor(0.5000)
    """
    _check_ids(logits, members)

    def score(piece: Tensor) -> Tensor:
        log_p = _log_softmax(piece)
        return reduce(log_p[..., members.to(piece.device)].exp(), "... member -> ...", "sum")

    return _numbers(_in_pieces(score, logits)).clamp(max=1)


_NOT_FINITE = (
    "A row of logits gives no distribution (it holds NaN or plus infinity, or only minus infinity): "
    "load the model in bfloat16 or float32."
)


def _in_pieces(score: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """``score`` of the tensors, at most :data:`PIECE` logits at a time, split along their first axes."""
    if logits.ndim == 1 or logits.numel() <= PIECE:
        return score(logits, *others)
    at_once = PIECE // logits[0].numel()
    if at_once == 0 and logits.ndim > 2:
        rows = zip(logits, *others, strict=True)
        return torch.stack([_in_pieces(score, *row) for row in rows])
    pieces = zip(*(tensor.split(max(at_once, 1)) for tensor in (logits, *others)), strict=True)
    return torch.cat([score(*piece) for piece in pieces])


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(_at_least_float32(logits), dim=-1)


def _pick(logits: Tensor, ids: Tensor) -> Tensor:
    columns = rearrange(ids.to(logits.device).long(), "... -> ... 1")
    return rearrange(logits.gather(-1, columns), "... 1 -> ...")


def _expectation(log_p: Tensor, values: Tensor) -> Tensor:
    """Sum of p x values over the vocabulary, where p = 0 contributes 0 even if the value is infinite."""
    terms = torch.where(log_p == -torch.inf, 0.0, log_p.exp() * values)
    return reduce(terms, "... vocab -> ...", "sum")


def _check_ids(logits: Tensor, ids: Tensor) -> None:
    vocab = logits.shape[-1]
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocab:
        wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        raise BadInput(
            f"Token id {wrong} does not exist: the logits have {vocab} (0 to {vocab - 1}). "
            f"Use the model's own tokenizer, and mask padding with a valid id."
        )


def _numbers(result: Tensor) -> Tensor:
    if bool(result.isnan().any()):
        raise BadInput(_NOT_FINITE)
    return result
