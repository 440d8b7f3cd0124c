"""Directions on disk: one safetensors file, tensors by site, passports in its header.

The header holds JSON under the single key ``erosion`` (one key, so that equal directions give equal
bytes): ``{"schema": 1, "directions": {"L3.resid_post": {passport}, …}}``. Vectors and numbers come
back bit for bit. Pickles are neither written nor read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from erosion.directions.direction import Direction
from erosion.directions.passport import from_plain, to_plain
from erosion.errors import BadDirection, BadInput
from erosion.files import write_atomically
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = ["SCHEMA", "load_directions", "save"]

SCHEMA = 1
_KEY = "erosion"


def save(directions: Mapping[Site, Direction] | Direction, path: str | Path) -> Path:
    """Write one direction, or one per site, whole or not at all.

    Raises:
        BadDirection: nothing to save, a direction under another site's name, or a passport that is not
            plain JSON (NaN in a held-out score).
        BadInput: the file can not be written.

    >>> import tempfile, torch
    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> path = save(v, Path(tempfile.mkdtemp()) / "v.safetensors")
    >>> bool((load_directions(path)[Site(1)].vector == v.vector).all())
    True
    """
    by_site = {directions.site: directions} if isinstance(directions, Direction) else dict(directions)
    if not by_site:
        raise BadDirection("There is no direction to save: fit at least one.")
    for site, direction in by_site.items():
        if site != direction.site:
            raise BadDirection(
                f"The direction filed under {site} was fitted at {direction.site}: file it there."
            )
    passports = {str(site): to_plain(direction.passport) for site, direction in by_site.items()}
    try:
        header = json.dumps({"schema": SCHEMA, "directions": passports}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadDirection(
            f"A passport is not plain JSON ({error}): use None where a number is missing."
        ) from error
    vectors = {str(site): direction.vector.clone() for site, direction in by_site.items()}
    return write_atomically(path, safetensors.torch.save(vectors, metadata={_KEY: header}))


def load_directions(path: str | Path) -> dict[Site, Direction]:
    """Read what :func:`save` wrote, in the order in which it was given.

    Raises:
        BadDirection: the file is missing, truncated, a pickle, not ours, newer than this version, or
            its tensors and passports do not match.
    """
    path = Path(path)
    vectors, header = _read(path)
    if header is None:
        raise BadDirection(f"{path} holds no passports: it was not written by erosion's save.")
    passports = _passports(path, header)
    odd = [name for name, vector in vectors.items() if vector.ndim != 1 or vector.dtype != torch.float32]
    if odd:
        found = vectors[odd[0]]
        raise BadDirection(
            f"{path} is damaged: {odd[0]} is {found.dtype} {list(found.shape)}, not float32 with one axis."
        )
    if set(passports) != set(vectors):
        odd = sorted(set(passports) ^ set(vectors))[0]
        raise BadDirection(
            f"{path} is damaged: {odd} has a tensor or a passport but not both. Save it again."
        )
    try:
        loaded = [Direction(vectors[name], from_plain(plain)) for name, plain in passports.items()]
    except BadInput as error:
        raise BadDirection(f"{path}: {error}") from error
    misfiled = [
        name for name, direction in zip(passports, loaded, strict=True) if str(direction.site) != name
    ]
    if misfiled:
        raise BadDirection(
            f"{path} is damaged: the passport under {misfiled[0]} is for another site. Save it again."
        )
    return {direction.site: direction for direction in loaded}


def _read(path: Path) -> tuple[dict[str, Tensor], str | None]:
    if not path.is_file():
        raise BadDirection(f"There is no file {path}: give one that erosion's save has written.")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            header = (opened.metadata() or {}).get(_KEY)
            return {name: opened.get_tensor(name) for name in opened.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadDirection(
            f"{path} is not a whole safetensors file ({reason}): copy it again; pickles are never read."
        ) from error


def _passports(path: Path, header: str) -> dict[str, Any]:
    try:
        content = json.loads(header)
        schema, passports = int(content["schema"]), dict(content["directions"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadDirection(f"The passports of {path} cannot be read ({error}): save it again.") from error
    if schema > SCHEMA:
        raise BadDirection(
            f"{path} has schema {schema}, newer than this version's {SCHEMA}: update erosion to read it."
        )
    return passports
