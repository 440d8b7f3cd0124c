"""The run folder: steps that are done once, results that are never half-written, one process at a time.

Every step is a file in ``steps/`` whose name carries the hash of the step's inputs, so a killed run goes on
where it stopped, a finished step is never repeated, and a changed input is never mistaken for a cached one.
``steps/`` may be deleted at any time: it costs time and no number.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from erosion.errors import BadRun
from erosion.files import hash_json, write_atomically, write_json

__all__ = ["RunFolder", "read_manifest"]

SCHEMA = 1
T = TypeVar("T")


class RunFolder:
    """One audit's folder, opened for work.

    ``timings`` collects seconds by step; they go into the manifest and never into ``results/``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.timings: dict[str, float] = {}

    @property
    def results(self) -> Path:
        """Where the numbers go."""
        return self.path / "results"

    def log(self, line: str) -> None:
        """Add a line to ``log.txt``, with the time."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}\n")

    def step(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[], T],
        *,
        save: Callable[[T, Path], Any],
        load: Callable[[Path], T],
        suffix: str = "json",
    ) -> T:
        """What ``make`` gives, from the cache when this very step was done before.

        The value is always the one read back from the file, so that a resumed run and an uninterrupted
        one see the same bits.
        """
        path = self.path / "steps" / f"{name}-{hash_json([name, inputs])[:16]}.{suffix}"
        if not path.is_file():
            start = time.perf_counter()
            self.log(f"{name}: begun")
            save(make(), path)
            self.timings[name] = round(time.perf_counter() - start, 3)
            self.log(f"{name}: done in {self.timings[name]:.1f} s")
        return load(path)

    def json_step(self, name: str, inputs: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """A step whose value is plain JSON."""
        return self.step(name, inputs, make, save=lambda value, path: write_json(path, value), load=_read)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest with the timings, earlier sittings' included."""
        earlier = {}
        if (self.path / "manifest.json").is_file():
            earlier = read_manifest(self.path).get("timings", {})
        write_json(self.path / "manifest.json", {**manifest, "timings": {**earlier, **self.timings}})


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def opened(path: str | Path, identity: str, described: str) -> Iterator[RunFolder]:
    """A run folder for the audit with this identity, new or resumed, locked until the block ends.

    Raises:
        BadRun: the folder belongs to another audit, holds something else, or is in use.
    """
    path = Path(path)
    if path.is_file():
        raise BadRun(f"{path} is a file: choose a folder for --out.")
    ours = (path / "manifest.json").is_file() or (path / ".lock").is_file()
    if path.is_dir() and any(path.iterdir()) and not ours:
        raise BadRun(f"{path} is not empty and holds no audit: choose another --out.")
    write_atomically(path / ".gitignore", b"steps/\n.lock\n")
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadRun(
            f"{path} is being written by another process: wait for it, or choose another --out."
        ) from error
    try:
        _claim(path, identity, described)
        yield RunFolder(path)
    finally:
        lock.release()


def _claim(path: Path, identity: str, described: str) -> None:
    """Refuse a folder with another audit's results; take over one that never came so far.

    Its steps know their inputs and may stay; its directions do not, and go.
    """
    if not (path / "manifest.json").is_file():
        return
    other = read_manifest(path)
    if other.get("identity") == identity:
        return
    if any((path / "results").glob("*.json")):
        raise BadRun(
            f"{path} belongs to another audit ({other.get('described', 'unknown')}), this one is "
            f"{described}: choose another --out, or delete it."
        )
    shutil.rmtree(path / "directions", ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        BadRun: no run there, broken, or of a newer version.
    """
    file = Path(path) / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadRun(f"There is no run at {path}: run erosion audit or erosion demo first.") from error
    except (OSError, ValueError) as error:
        raise BadRun(f"{file} cannot be read ({error}): run the audit again.") from error
    if manifest.get("schema", 0) > SCHEMA:
        raise BadRun(
            f"{path} has schema {manifest['schema']} and this version reads {SCHEMA}: update erosion."
        )
    return manifest
