"""How much of a move is linear in where it started: ridge regression scored on other questions."""

from typing import cast

import numpy as np
import torch
from einops import rearrange, repeat
from sklearn.linear_model import RidgeCV

from erosion.linalg import in_double
from erosion.shapes import Array, Bool, Float, Tensor

__all__ = ["isometric", "linear_part", "ridge_smoother"]

_FOLDS = 5
_PENALTIES = np.logspace(-4, 3, 8)  # in units of the summed squared length of h about its mean


def linear_part(
    before: Float[Tensor, "question side d_model"],
    d: Float[Tensor, "question side d_model"],
    *,
    seed: int,
    draws: int,
) -> tuple[Float[Array, " question"], Float[Array, " draw"]]:
    """Per question how much of ||d - mu||^2 a ridge on h_aligned foresees, and its mean by chance.

    Ridge knows only inner products, so both sides are first turned to at most as many coordinates as rows.
    """
    questions = len(d)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(np.arange(questions) % min(_FOLDS, questions))
    flat = "question side d_model -> (question side) d_model"
    h, moved = isometric(rearrange(before, flat)), isometric(rearrange(d, flat))
    rows = repeat(torch.from_numpy(fold), "question -> (question side)", side=2)
    smooth, middle = torch.zeros(len(h), len(h)).double(), torch.zeros(len(h), len(h)).double()
    for one in range(int(fold.max()) + 1):
        train, test = rows != one, rows == one
        if int(train.sum()) < 4:
            continue
        middle[test] = train.double() / train.sum()
        smooth[test] = ridge_smoother(h, train, test, penalty=_penalty(h[train], moved[train]))

    def foreseen(target: Float[Tensor, "row coordinate"]) -> Float[Array, " question"]:
        centred = target - middle @ target
        gained = centred.square().sum(1) - (centred - smooth @ target).square().sum(1)
        # both are about the mean of the other folds, which adds its own noise: 1 in so many questions
        shrunk = gained * (1 - 1 / questions)
        return rearrange(shrunk, "(question side) -> question side", side=2).mean(1).numpy()

    by_question = rearrange(moved, "(question side) coordinate -> question side coordinate", side=2)
    orders = [torch.from_numpy(rng.permutation(questions)) for _ in range(draws)]
    other = "question side coordinate -> (question side) coordinate"
    chance = [foreseen(rearrange(by_question[order], other)).mean() for order in orders]
    return foreseen(moved), np.array(chance)


def _penalty(h: Float[Tensor, "row coordinate"], moved: Float[Tensor, "row target"]) -> float:
    """The penalty with the least leave-one-out error among the training rows."""
    scale = float((h - h.mean(0)).square().sum(1).mean())
    penalties = _PENALTIES * max(scale, 1e-300) * len(h)
    if float(moved.square().sum()) == 0 or scale == 0:
        return float(penalties[-1])
    return cast(float, RidgeCV(alphas=penalties).fit(h.numpy(), moved.numpy()).alpha_)


def isometric(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row coordinate"]:
    """The rows in as few coordinates as they need, every inner product kept; float64, on the CPU.

    With rows = R^T Q^T (QR of the transpose) these are R^T: at most as many coordinates as rows. What
    asks for inner products alone (ridge, kernels) gives the same there, at any width.

    >>> x = torch.tensor([[3.0, 4.0, 0.0, 0.0, 0.0]])
    >>> isometric(x).abs()
    tensor([[5.]], dtype=torch.float64)
    """
    exact = in_double(rows).cpu()
    if len(exact) >= len(exact.T):
        return exact
    return torch.linalg.qr(exact.T, mode="r").R.T.contiguous()


def ridge_smoother(
    features: Float[Tensor, "row d"],
    train: Bool[Tensor, " row"],
    test: Bool[Tensor, " row"],
    *,
    penalty: float,
) -> Float[Tensor, "test row"]:
    """The matrix that takes targets of all rows to ridge predictions for the test rows, about the mean.

    With H the centred training features and y any targets, S y = (h - h_bar) H^T (H H^T + penalty)^-1
    (y - y_bar); the mean y_bar is left out of the prediction. One matrix serves any number of targets, in any
    order. Memory: train^2.

    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double()
    >>> S = ridge_smoother(x, x[:, 0] < 3, x[:, 0] == 3, penalty=1e-6)
    >>> round(float(S @ (2 * x + 1)[:, 0]), 3)
    4.0
    """
    known, asked = features[train], features[test]
    centre = known.mean(0)
    known, asked = known - centre, asked - centre
    gram = known @ known.T + penalty * torch.eye(len(known)).to(known)
    weights = torch.linalg.solve(gram, known @ asked.T).T
    result = torch.zeros(len(asked), len(features)).to(features)
    result[:, train] = weights - weights.mean(1, keepdim=True)
    return result
