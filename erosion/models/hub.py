"""Checkpoints by hub name: the local cache first, then the hub, and one line where neither has it."""

import contextlib
import json
import os
import socket
from pathlib import Path
from urllib.parse import urlparse

from erosion.errors import BadModel
from erosion.models.quiet import first_line, quiet
from erosion.progress import tracked

__all__ = ["from_hub"]

_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
_UNWANTED = ["*/*", "consolidated*"]


def from_hub(name: str, revision: str | None) -> Path:
    """The folder of a hub checkpoint, downloaded (safetensors only) where the cache does not hold all of it.

    Raises:
        BadModel: not in the cache and not to be fetched, within seconds where there is no network.
    """
    from huggingface_hub import snapshot_download

    def fetch(**how: object) -> Path:
        wanted = {"revision": revision, "allow_patterns": _WANTED, "ignore_patterns": _UNWANTED}
        return Path(snapshot_download(name, **wanted, **how))  # type: ignore[arg-type]

    with contextlib.suppress(Exception):  # not in the cache, or no name that the hub allows
        cached = fetch(local_files_only=True)
        if _is_complete(cached):
            return cached
    try:
        _require_network()
        with quiet():
            size = _size(name, revision)
            (folder,) = (fetch(etag_timeout=5) for _ in tracked([name], name=f"downloading {name} ({size})"))
    except Exception as error:  # whatever the network raises, the user needs one line
        raise BadModel(
            f"{name!r} is no local folder, not in the hub cache, and cannot be fetched "
            f"({first_line(error, longest=120)}): check the spelling, or download it where there is a "
            "network and give its folder."
        ) from error
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether a cached snapshot holds every file that it needs; other tools fetch parts of one."""
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        return False
    indices = [json.loads(index.read_text(encoding="utf-8")) for index in folder.glob("*.index.json")]
    shards = {shard for index in indices for shard in index["weight_map"].values()}
    return all((folder / shard).is_file() for shard in shards) and any(folder.glob("*.safetensors"))


def _size(name: str, revision: str | None) -> str:
    """What a download will take, asked before it starts."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    files = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10).siblings or []
    sizes = {file.rfilename: file.size or 0 for file in files}
    chosen = filter_repo_objects(sizes, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
    return f"{sum(sizes[file] for file in chosen) / 1e9:.1f} GB"


def _require_network() -> None:
    """Fail in seconds, not after a row of retries, where there is no network."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise OSError("HF_HUB_OFFLINE is set")
    address = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    if not (os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")):
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=3).close()
