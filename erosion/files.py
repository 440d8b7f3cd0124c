"""Files that are either whole or absent, and hashes that say what was read.

Every write goes to a temporary name in the same folder, is flushed to disk, and is renamed over the
target, so a kill, a full disk or a power cut never leaves half a file. Nothing here pickles.
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from erosion.errors import BadInput

__all__ = ["hash_bytes", "hash_file", "hash_json", "to_json", "write_atomically", "write_json"]


@contextlib.contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_atomically(path: str | Path, content: bytes | Iterable[bytes]) -> Path:
    """Write ``content`` so that ``path`` holds all of it or what it held before.

    Args:
        path: the target; its folder is made when missing.
        content: bytes, or an iterable of chunks (memory: one chunk).

    Raises:
        BadInput: the disk is full, or the folder can not be written.

    >>> import tempfile
    >>> path = write_atomically(Path(tempfile.mkdtemp()) / "a.txt", b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    path = Path(path)
    try:
        with _atomic(path) as temporary, temporary.open("wb") as out:
            for chunk in (content,) if isinstance(content, bytes) else content:
                out.write(chunk)
    except OSError as error:
        raise BadInput(_why_not_written(path, error)) from error
    return path


def _why_not_written(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left to write {path}: free some disk or choose another --out; nothing is half-done."
    return f"Cannot write {path}: {error.strerror or error}. Choose a folder that can be written."


def to_json(value: Any) -> str:
    """``value`` as stable JSON: sorted keys, two spaces, UTF-8, and no NaN or infinity.

    >>> print(to_json({"b": 1, "a": [1.5, None]}))
    {
      "a": [
        1.5,
        null
      ],
      "b": 1
    }
    """
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as stable JSON, atomically (see :func:`to_json`, :func:`write_atomically`)."""
    return write_atomically(path, (to_json(value) + "\n").encode())


def hash_bytes(content: bytes) -> str:
    """The SHA-256 of ``content``, in hexadecimal.

    >>> hash_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def hash_json(value: Any) -> str:
    """The SHA-256 of ``value``'s stable JSON: equal values, equal hash.

    >>> hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
    True
    """
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, read in pieces (memory: 256 KiB)."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
