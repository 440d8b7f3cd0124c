"""How a checkpoint's files name and lay out what a model holds in memory.

On loading, transformers renames parameters and joins experts into one tensor; on disk they keep the names and
shapes that every other program knows. Here both ways are gone: a model's state as its kind of checkpoint
stores it, and one parameter of another checkpoint put together from its pieces, without a second model.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.core_model_loading import revert_weight_conversion

from erosion.errors import BadModel
from erosion.models.checkpoints import Found
from erosion.models.quiet import first_line
from erosion.shapes import Tensor

__all__ = ["as_stored", "reader"]


def as_stored(hf: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors under the names and in the shapes in which its kind of checkpoint stores them."""
    return revert_weight_conversion(hf, dict(state))


def reader(hf: Any, parameters: Mapping[str, Tensor], other: Found) -> Callable[[str], Tensor]:
    """Plain name -> that parameter in another checkpoint, read from its files when asked.

    Raises (the function that is returned):
        BadModel: the checkpoint has no such parameter, one of another shape, or one that is not finite.

    Memory: one parameter; where experts are joined, an index of its size as well.
    """
    where = _places(other.weights)

    def tensor(name: str) -> Tensor:
        try:
            with safe_open(str(where[name]), framework="pt") as file:
                return file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise BadModel(
                f"{name} of {other} cannot be read ({first_line(error)}): save or download it again."
            ) from error

    def read(name: str) -> Tensor:
        shape = parameters[name].shape
        found = _assembled(hf, name, shape, tensor, where, other)
        if found.shape != shape:
            raise BadModel(
                f"{name} is {tuple(found.shape)} in {other} and {tuple(shape)} here: a dose needs "
                "checkpoints of one shape."
            )
        if found.numel() and not torch.isfinite(torch.stack(torch.aminmax(found))).all():
            raise BadModel(f"{other} holds NaN or infinite weights in {name}: train or download it again.")
        return found

    return read


def _assembled(
    hf: Any,
    name: str,
    shape: torch.Size,
    tensor: Callable[[str], Tensor],
    where: Mapping[str, Path],
    other: Found,
) -> Tensor:
    """One parameter: as it stands in the files, under another name there, or joined from its pieces."""
    for plain in (name, name.removeprefix(f"{hf.base_model_prefix}.")):
        if plain in where:
            return tensor(plain)
    asked = torch.empty(shape, device="meta")
    stored = as_stored(hf, {name: asked})
    missing = [piece for piece in stored if piece not in where]
    if missing:
        raise BadModel(f"{other} has no {missing[0]}: a dose needs checkpoints of one architecture.")
    if all(piece is asked for piece in stored.values()):
        return tensor(next(iter(stored)))
    kind = torch.int32 if asked.numel() < 2**31 else torch.int64
    index = torch.arange(asked.numel(), dtype=kind).reshape(shape)  # where each number of a piece belongs
    whole: Tensor | None = None
    for piece, places in as_stored(hf, {name: index}).items():
        values = tensor(piece)
        if values.shape != places.shape:
            return values  # of another shape: refused by the caller
        whole = values.new_empty(asked.numel()) if whole is None else whole
        whole[places.flatten()] = values.flatten()
    assert whole is not None
    return whole.reshape(shape)


def _places(folder: Path) -> dict[str, Path]:
    """Name -> the file that holds it: by the index where there is one, else by looking."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / shard for name, shard in named.items()}
    whole = folder / "model.safetensors"
    places: dict[str, Path] = {}
    for shard in [whole] if whole.is_file() else sorted(folder.glob("*.safetensors")):
        with safe_open(str(shard), framework="pt") as file:
            places |= dict.fromkeys(file.keys(), shard)
    return places
