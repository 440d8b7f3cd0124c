"""Where in the model: a layer and a part. The only place that spells a hook name.

Layers count from 0, and ``resid_post`` of layer *l* is that block's **output**, before any final norm
(``hidden_states[l + 1]`` of transformers, except the last, which transformers gives after the norm).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from erosion.errors import BadInput

__all__ = ["PARTS", "Site", "parse_site", "residuals"]

_HOOKS = {
    "resid_pre": "blocks.{layer}.hook_in",
    "resid_mid": "blocks.{layer}.hook_resid_mid",
    "resid_post": "blocks.{layer}.hook_out",
    "attn_out": "blocks.{layer}.attn.hook_out",
    "mlp_out": "blocks.{layer}.mlp.hook_out",
    "z": "blocks.{layer}.attn.o.hook_in",
}
PARTS = tuple(_HOOKS)


@dataclass(frozen=True, order=True)
class Site:
    """One place where a tensor can be read or edited.

    ``resid_pre``, ``resid_mid`` and ``resid_post`` are the residual stream before, inside and after
    block ``layer``; ``attn_out`` and ``mlp_out`` what its two halves write; ``z`` (with ``head``) one
    attention head's mixed values before the output projection.

    Raises:
        BadInput: a negative layer, an unknown part, a head without ``z`` or ``z`` without a head.

    >>> Site(3)
    L3.resid_post
    >>> Site(3).hook
    'blocks.3.hook_out'
    """

    layer: int
    part: str = "resid_post"
    head: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        if self.part not in _HOOKS:
            raise BadInput(f"There is no part {self.part!r}: choose one of {', '.join(PARTS)}.")
        if self.layer < 0:
            raise BadInput(f"Layer {self.layer} does not exist: layers count from 0.")
        if self.head is not None and self.head < 0:
            raise BadInput(f"Head {self.head} does not exist: heads count from 0.")
        if (self.part == "z") != (self.head is not None):
            raise BadInput(
                f"A head goes with part z and only with it: got part {self.part!r}, head {self.head}."
            )

    def __repr__(self) -> str:
        """``L3.resid_post``, or ``L3.z.5`` for a head; :func:`parse_site` reads it back."""
        return f"L{self.layer}.{self.part}" + ("" if self.head is None else f".{self.head}")

    __str__ = __repr__

    @property
    def hook(self) -> str:
        """The TransformerLens hook point that carries this site."""
        return _HOOKS[self.part].format(layer=self.layer)

    @property
    def residual(self) -> bool:
        """Whether this is the residual stream itself, not a write to it."""
        return self.part.startswith("resid")


def parse_site(text: str) -> Site:
    """Read ``"L3"``, ``"3"``, ``"L3.mlp_out"`` or ``"L3.z.5"``.

    >>> parse_site("L3.z.5")
    L3.z.5
    """
    match = re.fullmatch(r"[Ll]?(\d+)(?:\.([a-z_]+))?(?:\.(\d+))?", text.strip())
    if match is None:
        raise BadInput(f"{text!r} is not a site: write L3, L3.mlp_out or L3.z.5 (layers count from 0).")
    layer, part, head = match.groups()
    return Site(int(layer), part or "resid_post", None if head is None else int(head))


def residuals(layers: Iterable[int]) -> tuple[Site, ...]:
    """``resid_post`` of each layer, in order.

    >>> residuals(range(2))
    (L0.resid_post, L1.resid_post)
    """
    return tuple(Site(layer) for layer in layers)
