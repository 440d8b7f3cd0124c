"""What a wrapped model consists of: its blocks, widths and heads, and which sites it has."""

from dataclasses import dataclass
from typing import Any

from erosion.errors import BadInput
from erosion.sites import Site

__all__ = ["Anatomy"]


@dataclass(frozen=True)
class Anatomy:
    """Depth, widths and hook points of one wrapped model."""

    architecture: str
    n_layers: int
    d_model: int
    n_heads: int
    d_head: int
    points: frozenset[str]

    @classmethod
    def of(cls, hf: Any, bridge: Any) -> "Anatomy":
        """The anatomy of a model and the bridge around it."""
        return cls(
            type(hf).__name__,
            len(bridge.blocks),
            hf.config.get_text_config().hidden_size,
            bridge.cfg.n_heads,
            bridge.cfg.d_head,
            frozenset(bridge.hook_dict),
        )

    def width(self, site: Site) -> int:
        """The length of one activation vector at a site."""
        return self.d_model if site.head is None else self.d_head

    def require(self, site: Site) -> None:
        """Refuse a site that this model does not have.

        Raises:
            BadInput: the layer, part or head is not there.
        """
        if site.layer >= self.n_layers:
            raise BadInput(
                f"L{site.layer} does not exist: this model has {self.n_layers} layers "
                f"(L0 to L{self.n_layers - 1})."
            )
        if site.hook not in self.points:
            raise BadInput(
                f"{site} does not exist in {self.architecture}: its blocks have no {site.part}; "
                "choose another part."
            )
        if site.head is not None and site.head >= self.n_heads:
            raise BadInput(
                f"Head {site.head} does not exist: this model has {self.n_heads} heads "
                f"(0 to {self.n_heads - 1})."
            )
