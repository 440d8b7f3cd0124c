"""Directions on disk: one safetensors file, tensors by site, passports in its header.

The header holds JSON under the single key ``erosion`` (one key, so that equal directions give equal
bytes): ``{"schema": 1, "directions": {"L3.resid_post": {passport}, …}}``. Vectors and numbers come
back bit for bit. Pickles are neither written nor read.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from erosion.directions.direction import Direction
from erosion.directions.passport import Passport, from_plain, to_plain
from erosion.errors import BadDirection, BadInput
from erosion.files import write_atomically
from erosion.shapes import Tensor
from erosion.sites import Site

__all__ = [
    "KEY",
    "SCHEMA",
    "filed",
    "from_header",
    "load_directions",
    "read_tensors",
    "save",
    "to_header",
]

SCHEMA = 1
KEY = "erosion"
# How a pickle begins: torch.save's archive, or a protocol's mark (2 to 5).
_ZIPPED, _PICKLED, _PROTOCOLS = b"PK\x03\x04", b"\x80", b"\x02\x03\x04\x05"


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
    by_site = filed(directions)
    header = to_header(by_site)
    vectors = {str(site): direction.vector.clone() for site, direction in by_site.items()}
    return write_atomically(path, safetensors.torch.save(vectors, metadata={KEY: header}))


def load_directions(path: str | Path) -> dict[Site, Direction]:
    """Read what :func:`save` wrote, in the order in which it was given.

    Raises:
        BadDirection: the file is missing, truncated, a pickle, not ours, newer than this version, or
            its tensors and passports do not match.
    """
    path = Path(path)
    vectors, metadata = read_tensors(path)
    if KEY not in metadata:
        raise BadDirection(f"{path} holds no passports: it was not written by erosion's save.")
    odd = [name for name, vector in vectors.items() if vector.ndim != 1 or vector.dtype != torch.float32]
    if odd:
        found = vectors[odd[0]]
        raise BadDirection(
            f"{path} is damaged: {odd[0]} is {found.dtype} {list(found.shape)}, not float32 with one axis."
        )
    passports = from_header(metadata[KEY], path, names=vectors)
    try:
        return {site: Direction(vectors[str(site)], passport) for site, passport in passports.items()}
    except BadInput as error:
        raise BadDirection(f"{path}: {error}") from error


def filed(directions: Mapping[Site, Direction] | Direction) -> dict[Site, Direction]:
    """One direction, or one per site, by site.

    Raises:
        BadDirection: there is none, or one stands under another site's name.
    """
    by_site = {directions.site: directions} if isinstance(directions, Direction) else dict(directions)
    if not by_site:
        raise BadDirection("There is no direction to save: fit at least one.")
    for site, direction in by_site.items():
        if site != direction.site:
            raise BadDirection(
                f"The direction filed under {site} was fitted at {direction.site}: file it there."
            )
    return by_site


def to_header(by_site: Mapping[Site, Direction]) -> str:
    """Every passport, by site, as one line of JSON.

    Raises:
        BadDirection: a passport that is not plain JSON.
    """
    passports = {str(site): to_plain(direction.passport) for site, direction in by_site.items()}
    try:
        return json.dumps({"schema": SCHEMA, "directions": passports}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadDirection(
            f"A passport is not plain JSON ({error}): use None where a number is missing."
        ) from error


def from_header(header: Any, path: Path, *, names: Collection[str]) -> dict[Site, Passport]:
    """Read :func:`to_header`'s line, for the tensors at the sites of these names.

    Raises:
        BadDirection: no such JSON, of a newer version, or other sites than those.
    """
    try:
        content = json.loads(header)
        schema, plain = int(content["schema"]), dict(content["directions"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadDirection(f"The passports of {path} cannot be read ({error}): save it again.") from error
    if schema > SCHEMA:
        raise BadDirection(
            f"{path} has schema {schema}, newer than this version's {SCHEMA}: update erosion to read it."
        )
    odd = sorted(set(plain) ^ set(names))
    if odd:
        raise BadDirection(
            f"{path} is damaged: {odd[0]} has a tensor or a passport but not both. Save it again."
        )
    try:
        passports = {name: from_plain(one) for name, one in plain.items()}
    except BadInput as error:
        raise BadDirection(f"{path}: {error}") from error
    misfiled = [name for name, passport in passports.items() if str(passport.site) != name]
    if misfiled:
        raise BadDirection(
            f"{path} is damaged: the passport under {misfiled[0]} is for another site. Save it again."
        )
    return {passport.site: passport for passport in passports.values()}


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata.

    Raises:
        BadDirection: the file is missing, truncated, or something else; a pickle is named as such, unread.
    """
    if not path.is_file():
        raise BadDirection(f"There is no file {path}: give one that holds directions.")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        with path.open("rb") as stream:
            start = stream.read(4)
        if start == _ZIPPED or (start[:1] == _PICKLED and start[1:2] in _PROTOCOLS):
            raise BadDirection(
                f"{path} is a pickle, and pickles are never read (opening one runs what it holds): save its "
                f"tensors as safetensors where it was made."
            ) from error
        reason = str(error).splitlines()[0]
        raise BadDirection(f"{path} is not a whole safetensors file ({reason}): copy it again.") from error
