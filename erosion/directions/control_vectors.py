"""llama.cpp's control vectors as files: vectors by layer and a few strings, in GGUF.

The format that repeng began and llama.cpp reads with ``--control-vector``: architecture ``controlvector``,
one float32 tensor ``direction.N`` of one axis for each layer, little-endian. What the vectors mean is settled
in :mod:`erosion.directions.exchange`; the bytes are the ``gguf`` package's, which is an extra.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erosion.errors import BadDirection, BadInput
from erosion.files import write_atomically
from erosion.shapes import Tensor, Vector

__all__ = ["is_gguf", "read_control_vector", "write_control_vector"]

_ARCHITECTURE = "controlvector"
_MAGIC = b"GGUF"
_TENSOR = re.compile(r"direction\.(0|[1-9][0-9]{0,3})")


def write_control_vector(
    layers: Mapping[int, Tensor], path: str | Path, *, strings: Mapping[str, str]
) -> Path:
    """Write one tensor for each layer, and ``strings`` beside them, whole or not at all.

    Raises:
        BadInput: the gguf package is not there, or the file can not be written.
    """
    gguf = _package()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.gguf"
        writer = gguf.GGUFWriter(draft, _ARCHITECTURE)
        writer.add_uint32(f"{_ARCHITECTURE}.layer_count", len(layers))
        for key, value in strings.items():
            writer.add_string(key, value)
        for layer, vector in layers.items():
            writer.add_tensor(f"direction.{layer}", vector.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return write_atomically(path, draft.read_bytes())


def read_control_vector(path: Path) -> tuple[dict[int, Tensor], dict[str, str]]:
    """The vectors by layer, and every string that stands beside them.

    Raises:
        BadDirection: another GGUF file, big-endian, cut short, or with a tensor that is no float32 vector.
        BadInput: the gguf package is not there.
    """
    gguf = _package()
    with path.open("rb") as stream:
        version = stream.read(8)[4:]
    if int.from_bytes(version, "little") & 0xFFFF == 0:
        raise BadDirection(f"{path} is big-endian (or cut short): write it little-endian, as llama.cpp does.")
    try:
        reader = _whole(gguf)(path)
        strings = {
            key: field.contents()
            for key, field in reader.fields.items()
            if field.types == [gguf.GGUFValueType.STRING]
        }
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadDirection(f"{path} is not a whole GGUF file ({reason}): copy it again.") from error
    found = strings.get("general.architecture")
    if found != _ARCHITECTURE:
        raise BadDirection(
            f"{path} holds {found or 'no architecture'}, not a {_ARCHITECTURE}: give the vector, not a model."
        )
    return {_layer(path, tensor): _vector(path, tensor) for tensor in reader.tensors}, strings


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do, whatever it is called."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def _layer(path: Path, tensor: Any) -> int:
    match = _TENSOR.fullmatch(tensor.name)
    if match is None:
        raise BadDirection(f"{path} holds a tensor {tensor.name!r}: control vectors hold direction.N alone.")
    return int(match[1])


def _vector(path: Path, tensor: Any) -> Vector:
    if tensor.tensor_type.name != "F32" or len(tensor.shape) != 1:
        raise BadDirection(
            f"{tensor.name} of {path} is {tensor.tensor_type.name} {tensor.shape.tolist()}: control vectors "
            f"are F32 with one axis, never quantised. Write it so."
        )
    return torch.from_numpy(np.array(tensor.data, dtype=np.float32))


def _whole(gguf: Any) -> Any:
    """The package's reader, refusing what lies beyond the end of the file, where its own reads nothing on.

    A flipped byte can announce 2^60 entries: without this they would be counted one by one.
    """

    class Whole(gguf.GGUFReader):
        def _get(self, offset: int, dtype: Any, count: Any = 1, *more: Any, **named: Any) -> Any:
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("it ends too early")
            return super()._get(offset, dtype, count, *more, **named)

    return Whole


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise BadInput(
            "GGUF files are read and written by the gguf package, which is not installed: "
            "pip install 'alignment-erosion[exchange]'."
        ) from error
    return gguf
