"""Checkpoints on disk: found, refused where they are unsafe or incomplete, and hashed.

A name is looked for as a folder, then in the local hub cache, and only then on the hub. Only
safetensors are read: a checkpoint that is a pickle is refused, never loaded.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erosion.errors import BadModel
from erosion.files import hash_file, hash_json, write_json
from erosion.models.hub import from_hub
from erosion.triads import Checkpoint

__all__ = ["Found", "find", "hash_tokenizer", "hash_weights"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Found:
    """A checkpoint whose files are on this disk."""

    checkpoint: Checkpoint
    weights: Path
    adapter: Path | None

    @property
    def scale(self) -> float:
        """What multiplies the adapter's update."""
        return self.checkpoint.scale

    def __str__(self) -> str:
        """As the user named it."""
        return str(self.checkpoint)


def find(checkpoint: Checkpoint) -> Found:
    """The folders behind a checkpoint; an adapter's folder leads to the weights that it names.

    Raises:
        BadModel: nothing there, an incomplete folder, or pickled weights.
    """
    folder = _folder(checkpoint.weights, checkpoint.revision)
    adapter = None if checkpoint.adapter is None else _folder(checkpoint.adapter, None)
    if (folder / "adapter_config.json").is_file():
        if adapter is not None:
            raise BadModel(
                f"{checkpoint.weights} is itself an adapter and cannot carry {checkpoint.adapter}."
            )
        adapter, folder = folder, _folder(_weights_below(folder), None)
    _refuse_unsafe(folder, "config.json")
    if adapter is not None:
        _refuse_unsafe(adapter, "adapter_config.json")
    return Found(checkpoint, folder, adapter)


def _weights_below(adapter: Path) -> str:
    named = _json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not named:
        raise BadModel(
            f"The adapter {adapter} does not name the weights it belongs to: give both, weights and adapter."
        )
    beside = (adapter / named).resolve()
    return str(beside) if beside.is_dir() else named


def _folder(name: str, revision: str | None) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise BadModel(f"There is no model folder {name!r}: give a folder or a hub name (owner/name).")
    return from_hub(name, revision)


def _refuse_unsafe(folder: Path, config: str) -> None:
    if not (folder / config).is_file():
        raise BadModel(f"{folder} holds no {config}: it is not a model folder that transformers can read.")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for pattern in _PICKLES for p in folder.glob(pattern))
        if pickles:
            raise BadModel(
                f"{folder} holds {pickles[0]}, a pickle, and no safetensors: pickles can run code and are "
                "never loaded. Convert it with save_pretrained."
            )
        raise BadModel(f"{folder} holds no *.safetensors: the weights are missing.")


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path} cannot be read as JSON: {error}.") from error


def hash_weights(folder: Path) -> str:
    """The SHA-256 over the names and contents of a folder's safetensors, cached by size and time.

    The cache is one small JSON file in the user's cache folder; without it each shard is read once
    (memory: 256 KiB).
    """
    cache_file = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "erosion" / "hashes.json"
    try:
        known = json.loads(cache_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    fresh, parts = {}, []
    for shard in sorted(folder.glob("*.safetensors")):
        at = shard.stat()
        key = f"{shard.resolve()}|{at.st_size}|{at.st_mtime_ns}"
        fresh[key] = known.get(key) or hash_file(shard)
        parts.append([shard.name, fresh[key]])
    if not fresh.keys() <= known.keys():
        with contextlib.suppress(Exception):  # a cache that cannot be written costs time, nothing else
            write_json(cache_file, known | fresh)
    return hash_json(parts)


def hash_tokenizer(tokenizer: Any) -> str:
    """The SHA-256 of what decides a fast tokenizer's ids: vocabulary, merges, normaliser, added tokens."""
    return hash_json(json.loads(tokenizer.backend_tokenizer.to_str()))
