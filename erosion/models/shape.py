"""What a checkpoint will cost, read from its files without loading it."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from erosion.errors import BadModel
from erosion.files import hash_file, hash_json
from erosion.models.checkpoints import Found, find, hash_weights
from erosion.models.loading import read_config
from erosion.triads import Checkpoint

__all__ = ["Shape", "matmul_speed", "shape_of"]


@dataclass(frozen=True)
class Shape:
    """Depth, width, vocabulary, parameters and bytes of a checkpoint on disk, with its hashes."""

    n_layers: int
    d_model: int
    vocab: int
    n_parameters: int
    n_bytes: int
    weights_hash: str
    adapter_hash: str | None
    settings_hash: str
    context: int | None


def shape_of(checkpoint: Checkpoint) -> Shape:
    """Read a checkpoint's configuration and tensor headers (no weights are loaded).

    Raises:
        BadModel: nothing there, incomplete, or pickled.
    """
    found = find(checkpoint)
    config = read_config(found.weights)
    shards = sorted(found.weights.glob("*.safetensors"))
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        sum(_count(shard) for shard in shards),
        sum(shard.stat().st_size for shard in shards),
        hash_weights(found.weights),
        None if found.adapter is None else hash_weights(found.adapter),
        hash_json([hash_file(file) for file in _settings(found)]),
        getattr(config, "max_position_embeddings", None),
    )


def _settings(found: Found) -> list[Path]:
    """The small files that decide what the weights compute: a change in them is another model."""
    files = [found.weights / "config.json", found.weights / "tokenizer.json"]
    if found.adapter is not None:
        files.append(found.adapter / "adapter_config.json")
    return [file for file in files if file.is_file()]


def _count(shard: Path) -> int:
    try:
        with safe_open(str(shard), framework="pt") as file:
            return sum(torch.Size(file.get_slice(name).get_shape()).numel() for name in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise BadModel(
            f"{shard} cannot be read ({error}): it is cut short; download or save it again."
        ) from error


def matmul_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a middling matrix product, measured in a tenth of a second."""
    size = 1024 if device.type == "cpu" else 4096
    a = torch.ones(size, size, device=device, dtype=dtype)
    torch.matmul(a, a)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.1:
        torch.matmul(a, a)
        done += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
    return 2 * size**3 * done / (time.perf_counter() - start)
