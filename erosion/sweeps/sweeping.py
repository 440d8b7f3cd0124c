"""Measuring every cell of a grid, each at the price of what lies behind its edit.

Batch by batch: one clean pass keeps what every needed block puts out; each layer's cells then run only the
blocks behind it, several cells in one pass where the batch leaves room. What is finished is kept, so that a
long grid resumes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from erosion.errors import BadInput
from erosion.interventions import Dose, refuse_seen
from erosion.metrics import Responses, Scores, choice_margin_of, harm_margin_of
from erosion.metrics.scoring import batch_likelihoods, responses_of
from erosion.models import Batch, Model
from erosion.models.canary import Canary
from erosion.models.packing import packed_as, watched
from erosion.models.replay import recording, replayed
from erosion.progress import tracked
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.sweeps.grid import Cell
from erosion.sweeps.keeping import Kept
from erosion.sweeps.results import Sweep

__all__ = ["MARGINS", "Measure", "sweep"]

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
    before = {scores.name: scores for scores in (measure(work.responses(clean)) for measure in of)}
    after: dict[str, list[Array]] = {name: [] for name in before}
    for cell, tokens in zip(cells, found, strict=True):
        responses = work.responses(tokens)
        for name, measure in zip(before, of, strict=True):
            after[name].append(_finite(measure(responses), cell))
    return Sweep(
        tuple(cell.labels for cell in cells),
        tuple(map(str, cells)),
        next(iter(before.values())).questions,
        {name: _finite(scores, "no edit") for name, scores in before.items()},
        {name: np.stack(values) for name, values in after.items()},
        {name: scores.unit for name, scores in before.items()},
        str(model.found),
        work.replays,
    )


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
        self.model, self.cells, self.kept = model, cells, kept
        self.exchanges = contrast.exchanges
        self.rendered = model.render(self.exchanges)
        self.replays = True
        self._proved = False
        self.canaries = [watched(model, cell.edits) for cell in cells]

    def responses(self, tokens: Tokens) -> Responses:
        """The log-likelihoods as a metric reads them."""
        likelihood = tuple(values for values, _ in tokens)
        ends = np.array([end for _, end in tokens])
        return responses_of(self.rendered, self.exchanges, likelihood, (), ends)

    def tokens(self) -> tuple[Tokens, list[Tokens]]:
        """Clean, and for each cell."""
        nothing: tuple[Array, float] = (np.empty(0), np.nan)
        clean: Tokens = [nothing] * len(self.rendered)
        found: list[Tokens] = [[nothing] * len(self.rendered) for _ in self.cells]

        def work(batch: Batch) -> None:
            for number, rows in self._batch(batch):
                into = clean if number is None else found[number]
                for i, row in zip(batch.index, rows, strict=True):
                    into[i] = row

        self.model.for_each_batch(self.rendered, work, name=f"sweeping {self.model.found}")
        for canaries in self.canaries:
            for canary in canaries:
                canary.prove()
        return clean, found

    def _batch(self, batch: Batch) -> list[tuple[int | None, Tokens]]:
        """The clean rows of a batch (None) and those of every cell, finished ones from the folder."""
        (clean,), outputs = self._recorded(batch)
        rows: list[tuple[int | None, Tokens]] = [(None, clean)]
        packs = list(self._packs(batch))
        for layer, dose, pack in tracked(packs, name="cells"):
            made = self.kept.get(batch, [self.cells[i] for i in pack])
            if made is None:
                made = self._measured(batch, pack, layer, dose, outputs.get(layer))
                self.kept.put(batch, [self.cells[i] for i in pack], made)
            rows += zip(pack, made, strict=True)
        return rows

    def _recorded(self, batch: Batch) -> tuple[list[Tokens], dict[int, Any]]:
        """A clean pass with the outputs of the blocks behind which a cell's own pass begins."""
        layers = {cell.layer for cell in self.cells if cell.dose is None and cell.layer >= 0}
        with recording(self.model, sorted(layers) if self.replays else []) as outputs:
            clean = batch_likelihoods(self.model, batch)
        if outputs and not self._proved:
            layer = max(outputs)
            with replayed(self.model, layer, outputs[layer]):
                again = batch_likelihoods(self.model, batch)
            self._proved = True
            self.replays = all(
                np.array_equal(one, other) for (one, _), (other, _) in zip(clean[0], again[0], strict=True)
            )
        return clean, outputs if self.replays else {}

    def _packs(self, batch: Batch) -> Iterator[tuple[int, Dose | None, list[int]]]:
        """Cells that begin behind one block on the same weights, as many as there is room for."""
        groups: dict[tuple[int, Dose | None], list[int]] = {}
        for i, cell in enumerate(self.cells):
            layer = cell.layer if self.replays and cell.dose is None else -1
            groups.setdefault((layer, cell.dose), []).append(i)
        most = max(1, self.model.batch_tokens // batch.ids.numel())
        for (layer, dose), members in groups.items():
            for start in range(0, len(members), most):
                yield layer, dose, members[start : start + most]

    def _measured(
        self, batch: Batch, pack: Sequence[int], layer: int, dose: Dose | None, output: Any
    ) -> list[Tokens]:
        canaries: list[tuple[Canary, ...]] = [self.canaries[i] for i in pack]
        skipping = nullcontext() if layer < 0 else replayed(self.model, layer, output)
        with _dosed(self.model, dose), skipping, packed_as(self.model, canaries):
            return batch_likelihoods(self.model, batch)


def _dosed(model: Model, dose: Dose | None) -> AbstractContextManager[Any]:
    if dose is None:
        return nullcontext()
    from erosion.models import dosed

    only: Mapping[str, Any] = {} if dose.only is None else {"only": dose.only}
    return dosed(model, dose.aligned, dose.tuned, dose=dose.share, **only)
