"""Where a patch from another model is put, as cells of a sweep: layers, spans, positions, components.

Every patch puts in what the donor computed on the same tokens. The whole residual at all positions restores
the donor by construction and is the ceiling; the part along v is what the direction claims, the rest is what
it leaves over, and random directions are what any direction would carry.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.experiments.causal_cells import controls_of
from erosion.interventions import Scope, patch, positions
from erosion.sites import Site
from erosion.sweeps import Cell
from erosion.token_activations import TokenActivations

__all__ = ["PARTS", "SPANS", "Places", "donor_sites", "patching_cells"]

PARTS = ("whole", "along", "across")
SPANS = ("user", "response")
CONTROL = "covariance-matched"  # an isotropic direction carries next to nothing of a difference
WRITES = ("attn_out", "mlp_out")


@dataclass(frozen=True)
class Places:
    """Single positions that every exchange has, from the end of the prompt and the start of the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    @classmethod
    def shared(cls, donor: TokenActivations, *, most: int = 6) -> "Places":
        """The last ``most / 2`` of every prompt and the first ``most`` of every response."""
        prompts = min(start for start, _ in donor.responses)
        answers = min(stop - start for start, stop in donor.responses)
        return cls(tuple(range(-min(most // 2, prompts), 0)), tuple(range(min(most, answers))))

    def scopes(self) -> dict[str, Scope]:
        """Name -> scope: ``prompt -1`` is the last token before the response, ``response 0`` its first."""
        found: dict[str, Scope] = {f"prompt {i}": positions(i) for i in self.prompt}
        return found | {f"response {i}": positions(i, within="response") for i in self.response}


def donor_sites(layer: int, *, n_heads: int) -> tuple[Site, ...]:
    """Where a donor is read for the patches of one layer: the residual, both writes, and every head."""
    heads = (Site(layer, "z", head) for head in range(n_heads))
    return (Site(layer), *(Site(layer, part) for part in WRITES), *heads)


def patching_cells(
    donor: TokenActivations,
    direction: Direction,
    *,
    aligned: Activations,
    draws: int,
    seed: int = 0,
) -> tuple[Cell, ...]:
    """Every patch of one layer.

    Args:
        donor: read at :func:`donor_sites` of the direction's layer, on the very exchanges to be patched.
        direction: the answer direction v at that layer.
        aligned: the aligned model's activations on the fit split, from whose covariance controls are drawn.
        draws: random directions of the activations' covariance, along which the same is put in.
        seed: of the controls.

    Returns:
        Cells labelled by ``at`` (``resid_post``, ``attn_out``, ``mlp_out``, ``head 3``), ``part`` (``whole``,
        ``along``, ``across``), ``direction``, ``scope`` and ``draw``.
    """
    site, found = direction.site, []

    def add(where: Site, part: str, scope: Scope = "all", kind: str = "v", draw: int = 0) -> None:
        at = where.part if where.head is None else f"head {where.head}"
        labels = {"at": at, "part": part, "direction": kind, "scope": str(scope), "draw": draw}
        v = direction if kind == "v" else control(draw)
        only = {} if part == "whole" else {part: v.stamped(site=where)}
        found.append(Cell(labels, (patch(donor.at(where), at=where, scope=scope, **only),)))

    control = controls_of(direction, aligned, draws=draws, seed=seed)[CONTROL]
    for part in PARTS:
        add(site, part)
    for scope, part in _somewhere(donor):
        add(site, part, scope)
    for name in WRITES:
        for part in PARTS[:2]:
            add(Site(site.layer, name), part)
    for one in donor.sites:
        if one.head is not None:
            add(one, "whole")
    for draw in range(draws):
        add(site, "along", "all", CONTROL, draw)
    return tuple(found)


def _somewhere(donor: TokenActivations) -> Iterator[tuple[Scope, str]]:
    """Spans and single positions, whole and along v."""
    scopes: Sequence[Scope] = (*SPANS, *Places.shared(donor).scopes().values())
    for scope in scopes:
        for part in PARTS[:2]:
            yield scope, part
