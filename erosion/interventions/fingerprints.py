"""A hash of all that an edit does, so that a long job knows which of its cells it has measured before."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from erosion.files import hash_bytes, hash_json

__all__ = ["fingerprint"]


def fingerprint(value: Any, known: dict[int, str] | None = None) -> str:
    """A hash of an edit (or of any value made of dataclasses, tensors and plain values), the same anywhere.

    ``known`` remembers what large parts hashed to, for many edits that share them.

    >>> from erosion.interventions import zero_ablate
    >>> from erosion.sites import Site
    >>> fingerprint(zero_ablate(at=Site(1))) == fingerprint(zero_ablate(at=Site(1)))
    True
    """
    known = {} if known is None else known
    if isinstance(value, Mapping) or is_dataclass(value) or isinstance(value, torch.Tensor):
        if id(value) not in known:
            known[id(value)] = _hashed(value, known)
        return known[id(value)]
    if isinstance(value, list | tuple):
        return hash_json([fingerprint(one, known) for one in value])
    return hash_json(repr(value))


def _hashed(value: Any, known: dict[int, str]) -> str:
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        return hash_json([str(plain.dtype), list(plain.shape), hash_bytes(content)])
    if isinstance(value, Mapping):
        return hash_json([[str(key), fingerprint(one, known)] for key, one in value.items()])
    parts = {field.name: fingerprint(getattr(value, field.name), known) for field in fields(value)}
    return hash_json([type(value).__name__, parts])
