"""Which exchanges a set of gradients belongs to, and how it lies in a file (safetensors, JSON header)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors

from erosion.errors import BadRun
from erosion.files import write_atomically
from erosion.models import Model
from erosion.prompts import Contrast, Exchange
from erosion.shapes import Array, Float, Tensor

__all__ = ["Rows", "chosen", "facts_of", "load_tensors", "rows_of", "save_tensors"]

_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Rows:
    """The exchanges behind a set of gradients, one entry each; ``losses`` are nats per response token."""

    questions: tuple[str, ...]
    labels: tuple[str, ...]
    domains: tuple[str, ...]
    losses: Float[Array, " exchange"]

    def __len__(self) -> int:
        """The number of exchanges."""
        return len(self.questions)


def rows_of(exchanges: Sequence[Exchange], losses: Float[Array, " exchange"]) -> Rows:
    """The exchanges with their losses."""
    return Rows(
        tuple(e.question for e in exchanges),
        tuple(e.label for e in exchanges),
        tuple(e.domain for e in exchanges),
        losses,
    )


def chosen(exchanges: Contrast | Sequence[Exchange]) -> tuple[Exchange, ...]:
    """Every answer of a contrast (aligned, misaligned, then others), or the exchanges as given."""
    if isinstance(exchanges, Contrast):
        return exchanges.exchanges + exchanges.others
    return tuple(exchanges)


def facts_of(model: Model) -> dict[str, Any]:
    """What the gradients were read from."""
    p = model.provenance
    return {
        "model": p.model,
        "weights_hash": p.weights_hash,
        "adapter_hash": p.adapter_hash,
        "template_hash": model.rendering.hash,
        "dtype": p.dtype,
        "attention_kernel": p.kernel,
    }


def save_tensors(
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], rows: Rows, **facts: Any
) -> Path:
    """Write tensors and what they belong to, atomically."""
    header = {
        "schema": _SCHEMA,
        "questions": rows.questions,
        "labels": rows.labels,
        "domains": rows.domains,
        "losses": [None if np.isnan(one) else one for one in rows.losses.tolist()],
        "order": list(tensors),
        **facts,
    }
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return write_atomically(path, as_safetensors(plain, {kind: json.dumps(header)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Rows, dict[str, Any]]:
    """Read what :func:`save_tensors` wrote, bit for bit.

    Raises:
        BadRun: not such a file, or one of a newer version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()[kind])
            if header["schema"] > _SCHEMA:
                raise BadRun(
                    f"{path} has schema {header['schema']} and this version reads {_SCHEMA}: update erosion."
                )
            tensors = {name: file.get_tensor(name) for name in header["order"]}
            losses = np.array([np.nan if one is None else one for one in header["losses"]], dtype=float)
            questions, labels, domains = (tuple(header[key]) for key in ("questions", "labels", "domains"))
            return tensors, Rows(questions, labels, domains, losses), header
    except BadRun:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadRun(f"{path} holds no {kind} that can be read ({error}): read them again.") from error
