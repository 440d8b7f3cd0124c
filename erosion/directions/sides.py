"""The two sides of a contrast as activations, checked once for fits and scores alike."""

from erosion.errors import BadDirection
from erosion.linalg import in_double
from erosion.shapes import Float, Tensor

__all__ = ["checked", "paired"]

Side = Float[Tensor, "exchange d_side"]


def checked(aligned: Tensor, misaligned: Tensor, *, at_least: int) -> tuple[Tensor, Tensor]:
    """Both sides as float64 ``[exchange, d_model]``, or the reason why they can not be compared.

    Raises:
        BadDirection: not a matrix of floats, too few exchanges, NaN or infinity, different widths.
    """
    for name, side in (("aligned", aligned), ("misaligned", misaligned)):
        if side.ndim != 2 or not side.is_floating_point():
            raise BadDirection(
                f"The {name} side is {side.dtype} {list(side.shape)}: give floats [exchange, d_model], "
                f"with the span reduced to one vector an exchange."
            )
        if len(side) < at_least:
            raise BadDirection(
                f"The {name} side has {len(side)} exchange(s) and at least {at_least} are needed: read more."
            )
        if not bool(side.isfinite().all()):
            raise BadDirection(
                f"The {name} side holds NaN or infinity: load the model in bfloat16 or float32."
            )
    if aligned.shape[-1] != misaligned.shape[-1]:
        raise BadDirection(
            f"The sides are {aligned.shape[-1]} and {misaligned.shape[-1]} wide: read both at one site."
        )
    exact = in_double(aligned.detach())
    return exact, in_double(misaligned.detach()).to(exact.device)


def paired(aligned: Tensor, misaligned: Tensor, *, what: str) -> None:
    """Refuse sides whose rows do not pair up.

    Raises:
        BadDirection: the sides are of different length.
    """
    if len(aligned) != len(misaligned):
        raise BadDirection(
            f"{what} needs pairs: got {len(aligned)} aligned and {len(misaligned)} misaligned exchanges. "
            f"Give the same questions in the same order on both sides."
        )
