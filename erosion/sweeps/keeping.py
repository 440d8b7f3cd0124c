"""What a long sweep has finished, one small file for each pass, found again by all that decides it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erosion import __version__
from erosion.errors import BadRun
from erosion.files import hash_json, write_json
from erosion.interventions.fingerprints import fingerprint
from erosion.models import Batch, Model
from erosion.sweeps.grid import Cell

__all__ = ["Kept"]


class Kept:
    """Finished passes of a sweep in a folder; with None, nothing is kept."""

    def __init__(self, folder: str | Path | None, model: Model) -> None:
        self.folder = None if folder is None else Path(folder)
        self._known: dict[int, str] = {}
        p = model.provenance
        self._decided = [
            p.weights_hash,
            p.adapter_hash,
            model.found.scale,
            model.rendering.hash,
            p.dtype,
            p.kernel,
            str(p.device),
            model.batch_tokens,
            __version__,
            torch.__version__,
        ]

    def get(self, batch: Batch, pack: Sequence[Cell]) -> list[Any] | None:
        """What was measured in these cells on this batch before, if it was.

        Raises:
            BadRun: a file that cannot be read.
        """
        path = self._path(batch, pack)
        if path is None or not path.is_file():
            return None
        try:
            copies = json.loads(path.read_text(encoding="utf-8"))["copies"]
            tokens = [stop - start for start, stop in (one.span("response") for one in batch.rendered)]
            if [[len(row) for row, _ in rows] for rows in copies] != [tokens] * len(pack):
                raise ValueError("it does not hold every token of each exchange in each cell")
            return [
                [
                    (np.array(tokens, dtype=float), np.nan if end is None else float(end))
                    for tokens, end in rows
                ]
                for rows in copies
            ]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BadRun(f"{path} cannot be read ({error}): delete it, and it is measured again.") from error

    def put(self, batch: Batch, pack: Sequence[Cell], copies: Sequence[Any]) -> None:
        """Keep what was measured; what is not finite is no result, and will be refused in words."""
        path = self._path(batch, pack)
        if path is None or not all(np.isfinite(tokens).all() for rows in copies for tokens, _ in rows):
            return
        plain = [
            [[tokens.tolist(), None if np.isnan(end) else end] for tokens, end in rows] for rows in copies
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"schema": 1, "copies": plain})

    def _path(self, batch: Batch, pack: Sequence[Cell]) -> Path | None:
        if self.folder is None:
            return None
        cells = [[fingerprint(cell.edits, self._known), fingerprint(cell.dose, self._known)] for cell in pack]
        words = [[list(one.ids), sorted(one.spans.items())] for one in batch.rendered]
        return self.folder / f"{hash_json([self._decided, words, list(batch.offset), cells])[:32]}.json"
