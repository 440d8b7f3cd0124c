"""What an experiment returns: named numbers with intervals, saved and loaded exactly.

``published`` holds what the paper's own procedure gives, ``ours`` what the controlled one gives, both as
nested mappings whose leaves are estimates, bands, plain numbers or words. In JSON a leaf is recognised by
its shape: an estimate has a ``value``, a band has ``values`` and ``labels``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erosion.errors import BadRun
from erosion.files import write_json
from erosion.stats import Band, Estimate

__all__ = ["NOT_DONE", "SCHEMA", "Result", "load_result", "plain"]

SCHEMA = 1
NOT_DONE = "not done"  # the input that says why a result is empty


@dataclass(frozen=True, eq=False)
class Result:
    """One experiment's numbers.

    >>> margin = Estimate(1.0, 0.8, 1.2, "nats", 40, "cluster t")
    >>> Result("demo", {"split": "held_out"}, {}, {"margin": margin})["margin"].value
    1.0
    """

    experiment: str
    inputs: Mapping[str, Any]
    published: Mapping[str, Any]
    ours: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """One of our numbers, by name."""
        return self.ours[name]

    def to_json(self) -> dict[str, Any]:
        """As plain values; :func:`load_result` reads the file back equal."""
        return {
            "schema": SCHEMA,
            "experiment": self.experiment,
            "inputs": plain(self.inputs),
            "published": plain(self.published),
            "ours": plain(self.ours),
        }

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, atomically."""
        return write_json(path, self.to_json())


def load_result(path: str | Path) -> Result:
    """Read what :meth:`Result.save` wrote.

    Raises:
        BadRun: not there, not such a file, or one of a newer version.
    """
    try:
        written = json.loads(Path(path).read_text(encoding="utf-8"))
        if written["schema"] > SCHEMA:
            raise BadRun(
                f"{path} has schema {written['schema']} and this version reads {SCHEMA}: update erosion."
            )
        return Result(
            written["experiment"], *(_alive(written[part]) for part in ("inputs", "published", "ours"))
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadRun):
            raise
        raise BadRun(f"{path} holds no result that can be read ({error}): run the audit again.") from error


def plain(value: Any) -> Any:
    """Nested mappings of numbers with intervals as JSON values; a NaN becomes null."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value


def _alive(value: Any) -> Any:
    if isinstance(value, dict):
        if {"value", "low", "high", "unit"} <= value.keys():
            return Estimate.from_json(value)
        if {"values", "labels", "unit"} <= value.keys():
            return Band.from_json(value)
        return {key: _alive(one) for key, one in value.items()}
    return [_alive(one) for one in value] if isinstance(value, list) else value
