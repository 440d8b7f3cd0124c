"""What a number was measured on."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from erosion.models.checkpoints import Found, hash_weights

__all__ = ["Provenance"]


@dataclass(frozen=True)
class Provenance:
    """What a number was measured on: which model, in which precision, by which kernel.

    ``wrap_error`` is how far wrapping moved the logits of a probe, relative to the largest.
    """

    model: str
    architecture: str
    weights_hash: str
    adapter_hash: str | None
    adapter_scale: float | None
    tokenizer_hash: str
    dtype: str
    kernel: str
    device: str
    n_layers: int
    d_model: int
    n_parameters: int
    wrap_error: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def of(self, found: Found) -> "Provenance":
        """The provenance of another checkpoint on the same weights."""
        return replace(
            self,
            model=str(found),
            adapter_hash=None if found.adapter is None else hash_weights(found.adapter),
            adapter_scale=None if found.adapter is None else found.scale,
        )
