"""The passes of a sweep over one batch: clean once, then each cell from the block where its edits begin."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from erosion.errors import BadInput
from erosion.interventions import Dose
from erosion.models import Batch, Model, dosed
from erosion.models.packing import packed_as, watched
from erosion.models.replay import recording, replayed
from erosion.progress import tracked
from erosion.sweeps.grid import Cell
from erosion.sweeps.keeping import Kept

__all__ = ["Runner"]

ON_CPU = 4096  # tokens of a packed pass: beyond them nothing is won (benchmarks/sweeping.md)

Measured = Callable[[Batch], list[Any]]
"""What is measured in a pass: one value for each copy of the batch."""


class Runner:
    """Runs every cell of a grid on a batch; a proof on the first decides whether blocks are skipped."""

    def __init__(self, model: Model, cells: Sequence[Cell], kept: Kept) -> None:
        self.model, self.cells, self.kept = model, cells, kept
        self.canaries = [watched(model, cell.edits) for cell in cells]
        self.replays = True
        self._proved = False
        cuda = model.hf.device.type == "cuda"
        self._room = model.batch_tokens if cuda else min(model.batch_tokens, ON_CPU)

    def prove(self) -> None:
        """Refuse to have measured an edit that did nothing."""
        for canaries in self.canaries:
            for canary in canaries:
                canary.prove()

    def over(
        self, batch: Batch, measured: Measured, same: Callable[[Any, Any], bool]
    ) -> tuple[Any, list[tuple[int, Any]]]:
        """What is measured of a batch: clean, and (cell, value) for every cell, finished ones from before.

        ``same`` says whether two clean values are equal: where a replay without edits is not, blocks are
        never skipped.
        """
        clean, outputs = self._recorded(batch, measured, same)
        found: list[tuple[int, Any]] = []
        for layer, dose, pack in tracked(list(self._packs(batch)), name="cells"):
            cells = [self.cells[i] for i in pack]
            made = self.kept.get(batch, cells)
            if made is None:
                canaries = [self.canaries[i] for i in pack]
                skipping = nullcontext() if layer < 0 else replayed(self.model, layer, outputs[layer])
                with _dosed(self.model, dose), skipping, packed_as(self.model, canaries):
                    made = self._measured(batch, measured, cells)
                self.kept.put(batch, cells, made)
            found += zip(pack, made, strict=True)
        return clean, found

    def _measured(self, batch: Batch, measured: Measured, cells: Sequence[Cell]) -> list[Any]:
        """A packed pass; where it fails, later ones are half as large (a halved batch alone would be packed
        twice as often)."""
        try:
            return measured(batch)
        except BadInput as error:
            among = "" if len(cells) == 1 else f" or one of {len(cells) - 1} cells after it"
            raise type(error)(f"{error} This was under '{cells[0]}'{among}.") from error
        except RuntimeError:
            self._room //= 2
            raise

    def _recorded(
        self, batch: Batch, measured: Measured, same: Callable[[Any, Any], bool]
    ) -> tuple[Any, dict[int, Any]]:
        """A clean pass with the outputs of the blocks behind which a cell's own pass begins."""
        layers = {cell.layer for cell in self.cells if cell.dose is None and cell.layer >= 0}
        with recording(self.model, sorted(layers) if self.replays else []) as outputs:
            (clean,) = measured(batch)
        if outputs and not self._proved:
            layer = max(outputs)
            with replayed(self.model, layer, outputs[layer]):
                (again,) = measured(batch)
            self._proved, self.replays = True, same(clean, again)
        return clean, outputs if self.replays else {}

    def _packs(self, batch: Batch) -> Iterator[tuple[int, Dose | None, list[int]]]:
        """Cells that begin behind one block on the same weights, as many as there is room for."""
        groups: dict[tuple[int, Dose | None], list[int]] = {}
        for i, cell in enumerate(self.cells):
            layer = cell.layer if self.replays and cell.dose is None else -1
            groups.setdefault((layer, cell.dose), []).append(i)
        most = max(1, self._room // batch.ids.numel())
        for (layer, dose), members in groups.items():
            for start in range(0, len(members), most):
                yield layer, dose, members[start : start + most]


def _dosed(model: Model, dose: Dose | None) -> AbstractContextManager[Any]:
    if dose is None:
        return nullcontext()
    return dosed(model, dose.aligned, dose.tuned, dose=dose.share, only=dose.only)
