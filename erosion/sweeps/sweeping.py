"""Measuring every cell of a grid, each at the price of what lies behind its edit.

Batch by batch: one clean pass keeps what every needed block puts out; each layer's cells then run only the
blocks behind it, several cells in one pass where the batch leaves room. What is finished is kept, so that a
long grid resumes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erosion.errors import BadInput
from erosion.interventions import refuse_seen
from erosion.metrics import Responses, Scores, choice_margin_of, harm_margin_of
from erosion.metrics.scoring import batch_likelihoods, responses_of
from erosion.models import Batch, Model
from erosion.prompts import Contrast, Exchange, Rendered
from erosion.shapes import Array
from erosion.sweeps.grid import Cell
from erosion.sweeps.keeping import Kept
from erosion.sweeps.results import Sweep
from erosion.sweeps.running import Runner

__all__ = ["MARGINS", "Measure", "measured_cells", "sweep"]

Measure = Callable[[Responses], Scores]
MARGINS: tuple[Measure, ...] = (harm_margin_of, choice_margin_of)

Tokens = list[tuple[Array, float]]


def sweep(
    model: Model,
    contrast: Contrast,
    cells: Sequence[Cell],
    *,
    of: Sequence[Measure] = MARGINS,
    keep: str | Path | None = None,
) -> Sweep:
    """Metrics of every question in every cell of a grid.

    Args:
        model: a loaded model.
        contrast: questions that no direction in the grid was fitted on.
        cells: of :func:`erosion.grid`, or your own.
        of: what is measured, functions of the responses' log-likelihoods: the harm and choice margin if not
            given.
        keep: a folder for what is finished; a sweep that was stopped goes on from there.

    Raises:
        BadDirection: a direction that was fitted on one of the questions, or for another model.
        BadInput: no cell; a site, place or dose that is not there; a metric that is not finite somewhere.
        ErosionError: an edit that did not fire or changed nothing.

    Time: for each batch one full pass, and for each cell the blocks behind its first edit. Memory: one batch
    of logits, layers x batch x position x d_model for the clean pass, and 8 bytes for each cell and response
    token.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().tuned) as model:
    ...     cells = er.grid(lambda layer: er.zero_ablate(at=er.Site(layer, "mlp_out")), layer=range(2))
    ...     few = organism.contrast().only(organism.contrast().questions[:8])
    ...     found = er.sweep(model, few, cells)
    >>> found.effects("harm margin").shape
    (2, 8)
    """
    if not cells:
        raise BadInput("There is no cell to measure: give at least one.")
    refuse_seen((edit for cell in cells for edit in cell.edits), contrast.questions)
    work = _Work(model, contrast, cells, Kept(keep, model))
    clean, found = work.tokens()
    words = work.rendered, work.exchanges
    return measured_cells(
        cells, words, [clean, *found], of=of, model=str(model.found), replayed=work.runner.replays
    )


def measured_cells(
    cells: Sequence[Cell],
    words: tuple[Sequence[Rendered], Sequence[Exchange]],
    tokens: Sequence[Tokens],
    *,
    of: Sequence[Measure],
    model: str,
    replayed: bool = False,
) -> Sweep:
    """A sweep from log-likelihoods: ``tokens`` are those of every exchange, clean first, then cell by cell.

    Raises:
        BadInput: a metric that is not finite somewhere.
    """
    clean, *found = [_responses(*words, one) for one in tokens]
    before = {scores.name: scores for scores in (measure(clean) for measure in of)}
    after: dict[str, list[Array]] = {name: [] for name in before}
    for cell, responses in zip(cells, found, strict=True):
        for name, measure in zip(before, of, strict=True):
            after[name].append(_finite(measure(responses), cell))
    return Sweep(
        tuple(cell.labels for cell in cells),
        tuple(map(str, cells)),
        next(iter(before.values())).questions,
        {name: _finite(scores, "no edit") for name, scores in before.items()},
        {name: np.stack(values) for name, values in after.items()},
        {name: scores.unit for name, scores in before.items()},
        model,
        replayed,
    )


def _responses(rendered: Sequence[Rendered], exchanges: Sequence[Exchange], tokens: Tokens) -> Responses:
    """The log-likelihoods as a metric reads them."""
    likelihood = tuple(values for values, _ in tokens)
    return responses_of(rendered, exchanges, likelihood, (), np.array([end for _, end in tokens]))


def _finite(scores: Scores, where: Any) -> Array:
    broken = ~np.isfinite(scores.values)
    if broken.any():
        first = scores.questions[int(np.argmax(broken))]
        raise BadInput(
            f"The {scores.name} is not finite on {int(broken.sum())} of {len(scores)} questions (first "
            f"{first!r}) under '{where}': use a smaller dose, or mend the model."
        )
    return scores.values


class _Work:
    """The passes of one sweep: log-likelihoods of every response, clean and in every cell."""

    def __init__(self, model: Model, contrast: Contrast, cells: Sequence[Cell], kept: Kept) -> None:
        self.model, self.runner = model, Runner(model, cells, kept)
        self.exchanges = contrast.exchanges
        self.rendered = model.render(self.exchanges)

    def tokens(self) -> tuple[Tokens, list[Tokens]]:
        """Clean, and for each cell."""
        nothing: tuple[Array, float] = (np.empty(0), np.nan)
        clean: Tokens = [nothing] * len(self.rendered)
        found: list[Tokens] = [[nothing] * len(self.rendered) for _ in self.runner.cells]

        def work(batch: Batch) -> None:
            of_batch, of_cells = self.runner.over(
                batch, lambda one: batch_likelihoods(self.model, one), _same
            )
            for into, rows in ((clean, of_batch), *((found[i], rows) for i, rows in of_cells)):
                for i, row in zip(batch.index, rows, strict=True):
                    into[i] = row

        self.model.for_each_batch(self.rendered, work, name=f"sweeping {self.model.found}")
        self.runner.prove()
        return clean, found


def _same(one: Tokens, other: Tokens) -> bool:
    return all(np.array_equal(a, b) for (a, _), (b, _) in zip(one, other, strict=True))
