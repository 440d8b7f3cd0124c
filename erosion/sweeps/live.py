"""Donor and patched model in one batch: patches between adapters on the same weights, with nothing stored.

A LoRA fine-tune is the same weights with the adapter on. So one pass runs the batch as several copies: the
first is the donor, every other one the patched model under one cell's edits, each with its own adapter scale;
a live patch takes what the donor's copy has just computed. That saves the donor's activations on disk and a
pass of its own; the blocks before the patch cannot be skipped, since the copies differ there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erosion.errors import BadInput, BadModel
from erosion.interventions import refuse_seen
from erosion.metrics.scoring import batch_likelihoods
from erosion.models import Batch, Model, find
from erosion.models.packing import packed_as, watched
from erosion.prompts import Contrast
from erosion.shapes import Array
from erosion.sweeps.grid import Cell
from erosion.sweeps.results import Sweep
from erosion.sweeps.sweeping import MARGINS, Measure, measured_cells
from erosion.triads import Checkpoint

__all__ = ["side_by_side"]


def side_by_side(
    model: Model,
    contrast: Contrast,
    cells: Sequence[Cell],
    *,
    donor: Checkpoint,
    into: Checkpoint,
    of: Sequence[Measure] = MARGINS,
) -> Sweep:
    """Metrics of one adapter's model under patches from another's, both in every batch.

    Args:
        model: the weights, with the adapters of both attached (``also=`` at loading).
        contrast: questions that no direction in the grid was fitted on.
        cells: with live patches (:func:`erosion.live_patch`) and any other edits, which act on ``into``.
        donor: from which live patches take their source.
        into: which is patched and measured.
        of: as :func:`erosion.sweep`.

    Raises:
        BadInput: no cell, a dose, or checkpoints on other weights than the model's.
        BadModel: an adapter that was not attached, or that is not linear in its scale.

    Time: a pass over (cells + 2) copies of each batch. Memory: as a batch of the model's ``batch_tokens``.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> triad = organism.triad("insecure-lora")
    >>> few = organism.contrast().only(organism.contrast().questions[:6])
    >>> with er.load(triad.tuned, also=[triad.aligned]) as model:
    ...     cells = er.grid(lambda layer: er.live_patch(at=er.Site(layer)), layer=range(4))
    ...     found = er.side_by_side(model, few, cells, donor=triad.aligned, into=triad.tuned)
    >>> found.effects("harm margin").shape
    (4, 6)
    """
    if not cells or any(cell.dose is not None for cell in cells):
        raise BadInput("Side by side takes cells of edits, at least one and none of them a dose.")
    refuse_seen((edit for cell in cells for edit in cell.edits), contrast.questions)
    scales = _scales(model, donor, into)
    exchanges = contrast.exchanges
    rendered = model.render(exchanges)
    canaries = [(), *(watched(model, cell.edits) for cell in cells)]  # into, untouched, then the cells
    nothing: tuple[Array, float] = (np.empty(0), np.nan)
    found: list[list[tuple[Array, float]]] = [[nothing] * len(rendered) for _ in canaries]

    def work(batch: Batch) -> None:
        most = max(1, model.batch_tokens // batch.ids.numel() - 1)
        for start in range(0, len(canaries), most):
            pack = [(), *canaries[start : start + most]]  # the donor first
            by_copy = {path: [first, *[other] * (len(pack) - 1)] for path, (first, other) in scales.items()}
            with model.adapters.by_copy(by_copy, rows=len(batch.index)), packed_as(model, pack, donor=0):
                copies = batch_likelihoods(model, batch)
            for number, rows in enumerate(copies[1:], start=start):
                for i, row in zip(batch.index, rows, strict=True):
                    found[number][i] = row

    model.for_each_batch(rendered, work, name=f"{into} beside {donor}")
    for copy in canaries:
        for canary in copy:
            canary.prove()
    return measured_cells(cells, (rendered, exchanges), found, of=of, model=f"{into} beside {donor}")


def _scales(model: Model, donor: Checkpoint, into: Checkpoint) -> dict[Path, tuple[float, float]]:
    """Folder of an adapter -> its scale in the donor, and in the patched model."""
    pair = find(donor), find(into)
    for found in pair:
        if found.weights != model.found.weights:
            raise BadInput(
                f"{found} stands on other weights than {model.found}: read the donor by itself (read_tokens)."
            )
    scales: dict[Path, list[float]] = {}
    for place, found in enumerate(pair):
        if found.adapter is not None:
            scales.setdefault(found.adapter, [0.0, 0.0])[place] = found.scale
    missing: Any = next((path for path in scales if path not in model.adapters.names), None)
    if missing is not None:
        raise BadModel(f"The adapter {missing} was not loaded with this model: name it when loading.")
    return {path: (first, other) for path, (first, other) in scales.items()}
