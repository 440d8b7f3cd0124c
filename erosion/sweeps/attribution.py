"""Attribution patching: what every cell of a grid would do, to first order, from one backward pass.

With m a margin, x a site's activation in the clean pass and x' what an edit makes of it,

    m(x') - m(x)  =  sum over positions of  (dm/dx) . (x' - x)  +  O(|x' - x|^2)

(Nanda, *Attribution Patching*, 2023; Syed et al., arXiv 2310.10348). One forward and one backward pass over
the questions price a grid of any size, so it screens: rank the cells by it, measure the best, and say how far
the ranking can be trusted (:func:`screen_error`). It is least right where an edit is large, as a patch of the
whole residual is, and where attention saturates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum
from scipy.stats import spearmanr

from erosion.errors import BadInput
from erosion.gradients.passes import exact, frozen
from erosion.interventions import Intervention, laid_out, refuse_seen, rescoped
from erosion.models import Batch, Model
from erosion.models.packing import watched
from erosion.probability import token_log_likelihood
from erosion.prompts import Contrast, Rendered
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.sweeps.grid import Cell
from erosion.sweeps.results import Sweep

__all__ = ["Attribution", "ScreenError", "attribution", "screen_error"]

METRICS = ("harm margin", "choice margin")
Weights = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The effect of every cell on a margin to first order, ``[cell, question]``, in the margin's unit."""

    cells: tuple[Cell, ...]
    effects: Float[Array, "cell question"]
    questions: tuple[str, ...]
    metric: str

    def top(self, count: int) -> tuple[Cell, ...]:
        """The cells whose mean effect is largest in size, largest first."""
        order = np.argsort(-np.abs(self.effects.mean(-1)), kind="stable")[:count]
        return tuple(self.cells[i] for i in order)


@dataclass(frozen=True)
class ScreenError:
    """How far a screen can be trusted: its rank correlation with measured effects, and its worst miss.

    ``worst_miss`` is the place (1 = first) that the screen gave to that of the ten truly largest cells which
    it ranked lowest, of ``n_cells``.
    """

    rank_correlation: float
    worst_miss: int
    n_cells: int

    def __str__(self) -> str:
        return (
            f"screen: rank correlation {self.rank_correlation:.2f}; of the ten largest effects the "
            f"lowest-ranked came {self.worst_miss} of {self.n_cells}"
        )


def attribution(
    model: Model, contrast: Contrast, cells: Sequence[Cell], *, of: str = "harm margin"
) -> Attribution:
    """The effect of every cell on a margin, to first order.

    Args:
        model: a loaded model.
        contrast: questions that no direction in the grid was fitted on.
        cells: of :func:`erosion.grid`; without doses.
        of: ``harm margin`` or ``choice margin``.

    Raises:
        BadDirection: a direction that was fitted on one of the questions, or for another model.
        BadInput: no cell, a dose (weights have no activation to differ in), an unknown margin, or an edit
            that does not fit.

    Time: one forward and one backward pass for each exchange, and the edits' own arithmetic. Memory: one
    batch's backward pass, and sites x batch x position x d_model.
    """
    if not cells or of not in METRICS:
        raise BadInput(
            f"A screen needs cells and one of {', '.join(METRICS)}: got {len(cells)} cells and {of!r}."
        )
    dosed = next((cell for cell in cells if cell.dose is not None), None)
    if dosed is not None:
        raise BadInput(f"'{dosed}' is a dose: it changes weights, which a screen cannot price; sweep it.")
    refuse_seen((edit for cell in cells for edit in cell.edits), contrast.questions)
    for cell in cells:
        watched(model, cell.edits)
    rendered = model.render(contrast.exchanges)
    weights = _weights(contrast, rendered, of)
    by_question = {question: i for i, question in enumerate(contrast.questions)}
    effects = np.zeros((len(cells), len(contrast)))

    def work(batch: Batch) -> None:
        rows = _estimated(model, batch, cells, [weights[i] for i in batch.index])
        for i, column in zip(batch.index, rows.T, strict=True):
            effects[:, by_question[rendered[i].question]] += column

    model.for_each_batch(rendered, work, name=f"screening {model.found}")
    return Attribution(tuple(cells), effects, tuple(contrast.questions), of)


def screen_error(screened: Attribution, measured: Sweep) -> ScreenError:
    """How a screen ranks cells that were measured as well (give it at least 50).

    Raises:
        BadInput: fewer than three cells that are in both.
    """
    place = {frozenset(cell.labels.items()): i for i, cell in enumerate(screened.cells)}
    keys = [frozenset(cell.items()) for cell in measured.cells]
    both = [(i, place[key]) for i, key in enumerate(keys) if key in place]
    if len(both) < 3:
        raise BadInput(
            f"{len(both)} cells were both screened and measured: measure at least three, better 50."
        )
    true = measured.effects(screened.metric).mean(-1)[[i for i, _ in both]]
    guessed = screened.effects.mean(-1)[[j for _, j in both]]
    rank = np.empty(len(both), dtype=int)
    rank[np.argsort(-np.abs(guessed), kind="stable")] = np.arange(1, len(both) + 1)
    largest = np.argsort(-np.abs(true), kind="stable")[:10]
    correlation: Any = spearmanr(guessed, true)
    return ScreenError(float(correlation.statistic), int(rank[largest].max()), len(both))


def _weights(contrast: Contrast, rendered: Sequence[Rendered], of: str) -> Weights:
    """For each exchange the tokens whose log p the margin is made of, and how much each counts."""
    starts = [one.span("response")[0] for one in rendered]
    sign = [1.0 if exchange.label == "aligned" else -1.0 for exchange in contrast.exchanges]
    if of == "harm margin":
        spans = [torch.arange(*one.span("response")) for one in rendered]
        return [(at, torch.full((len(at),), s / len(at))) for at, s in zip(spans, sign, strict=True)]
    ids: dict[str, list[tuple[int, ...]]] = {}
    for one in rendered:
        start, stop = one.span("response")
        ids.setdefault(one.question, []).append(one.ids[start:stop])
    weights = []
    for one, start, s in zip(rendered, starts, sign, strict=True):
        a, b = ids[one.question]
        at = next((t for t, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        stop = one.span("response")[1]
        token = start + at if start + at < stop else one.span("end_of_turn")[0]
        weights.append((torch.tensor([token]), torch.tensor([s])))
    return weights


def _estimated(model: Model, batch: Batch, cells: Sequence[Cell], weights: Weights) -> Array:
    """Each cell's first-order effect on each row's part of the margin, ``[cell, batch]``."""
    sites = dict.fromkeys(edit.at for cell in cells for edit in cell.edits)
    x: dict[Site, Tensor] = {}

    def leaf(site: Site) -> Callable[[Tensor], Tensor]:
        def hook(h: Tensor) -> Tensor:
            x[site] = h if h.requires_grad else h.detach().requires_grad_()
            return x[site]

        return hook

    with frozen(model.hf), torch.enable_grad(), model.hooked([(site, leaf(site)) for site in sites]):
        value = _value(model, batch, weights)
        slopes = dict(zip(x, torch.autograd.grad(value, list(x.values())), strict=True))
    priced: dict[Any, Tensor] = {}
    return np.stack(
        [
            sum(
                (_price(edit, x, slopes, batch, priced) for edit in cell.edits),
                start=np.zeros(len(batch.index)),
            )
            for cell in cells
        ]
    )


@torch.no_grad()
def _price(
    edit: Intervention,
    x: Mapping[Site, Tensor],
    slopes: Mapping[Site, Tensor],
    batch: Batch,
    priced: dict[Any, Tensor],
) -> Array:
    """(dm/dx) . (x' - x) summed over the edit's positions; edits of other scopes share the work."""
    key = tuple(
        value if isinstance(value, str | int | float | Site) else id(value)
        for name, value in vars(edit).items()
        if name != "scope"
    )
    key = (type(edit).__name__, *key)
    if key not in priced or hasattr(edit, "inner"):
        here = x[edit.at].detach()
        moved = exact(laid_out(rescoped(edit, "all"), batch).edit(here)) - exact(here)
        priced[key] = einsum(moved, exact(slopes[edit.at]), "b p d, b p d -> b p")
    where = batch.scope(edit.scope).to(priced[key].device)
    return (priced[key] * where).sum(-1).double().cpu().numpy()


def _value(model: Model, batch: Batch, weights: Weights) -> Tensor:
    """The rows' parts of the margin, summed: differentiable."""
    with model.running(batch) as arguments:
        logits = model.hf(**arguments, use_cache=False).logits
    log_p = token_log_likelihood(logits[:, :-1], batch.ids[:, 1:].to(logits.device))
    counted = torch.zeros_like(log_p)
    for row, ((at, weight), offset) in enumerate(zip(weights, batch.offset, strict=True)):
        counted[row, (at + offset - 1).to(counted.device)] = weight.to(counted)
    return (log_p * counted).sum()
