"""Where a model sits: device, device map, dtype and revision, as one value."""

from dataclasses import dataclass

import torch

from erosion.errors import BadModel

__all__ = ["Placement"]

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Placement:
    """Where the weights go and in which precision.

    ``device="auto"`` is the first GPU, else Apple's, else the CPU; ``device_map`` (``"auto"`` or a
    mapping) shards over several and excludes ``device``; ``dtype="auto"`` is the checkpoint's own.

    Raises:
        BadModel: an unknown dtype, or a device that is not there.

    >>> Placement(device="cpu", dtype="float32").torch_dtype
    torch.float32
    """

    device: str = "auto"
    device_map: str | None = None
    dtype: str = "auto"
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what torch would refuse later and less clearly."""
        if self.dtype != "auto" and self.dtype not in _DTYPES:
            raise BadModel(f"There is no dtype {self.dtype!r}: choose auto, {', '.join(_DTYPES)}.")
        if self.device != "auto":
            try:
                torch.device(self.device)
            except RuntimeError as error:
                raise BadModel(
                    f"There is no device {self.device!r}: choose auto, cpu, cuda, cuda:1 or mps."
                ) from error
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise BadModel(f"Device {self.device} was asked for and there is no GPU here: use --device cpu.")

    @property
    def torch_dtype(self) -> torch.dtype | str:
        """What transformers takes: a torch dtype or ``"auto"``."""
        return _DTYPES.get(self.dtype, "auto")

    @property
    def torch_device(self) -> torch.device:
        """The device itself, ``auto`` resolved."""
        if self.device != "auto":
            return torch.device(self.device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
