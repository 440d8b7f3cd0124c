"""The edits along a direction at one layer, and their controls, as cells of a sweep.

=======================  =====================================================================
direction                what it controls for
=======================  =====================================================================
``v``                    the answer direction itself, on all tokens and on the prompt alone
``isotropic``            random directions: any edit of this size
``covariance-matched``   random directions that point where activations vary: an edit of this size
                         that the model notices
``shuffled labels``      the same fit to swapped labels, at v's scale: whatever such a fit finds
=======================  =====================================================================
"""

from collections.abc import Callable, Mapping

from erosion.activations import Activations
from erosion.directions import Direction, difference_of_means, random_direction, shuffled
from erosion.interventions import Intervention, ablate, clamp, rescoped, steer
from erosion.moments import Moments
from erosion.sweeps import Cell

__all__ = ["EDITS", "causal_cells", "controls_of"]

EDITS = ("steer", "clamp", "ablate")
_MATCHED = ("clamp", "ablate")  # what removes variance; steering adds the same length along any direction


def causal_cells(
    direction: Direction, *, aligned: Activations, draws: int, seed: int = 0
) -> tuple[Cell, ...]:
    """Steer, clamp and ablate at the direction's layer, with every control.

    Args:
        direction: the answer direction v at that layer.
        aligned: the aligned model's activations on the fit split, both sides: ``clamp`` puts the projection
            where their mean is, and the controls are drawn and fitted from them.
        draws: random directions of each kind, the same draws at every layer.
        seed: of all draws.

    Returns:
        Cells labelled by ``edit``, ``direction``, ``scope`` and ``draw``.
    """
    cells = [
        Cell({"edit": edit, "direction": kind, "scope": scope, "draw": draw}, (rescoped(made, scope),))
        for kind, draw, fitted in _directions(direction, aligned, draws, seed)
        for edit, made in edits_of(fitted, aligned).items()
        for scope in ("all", "prompt")
        if _wanted(kind, edit, scope)
    ]
    return tuple(cells)


def _wanted(kind: str, edit: str, scope: str) -> bool:
    if scope == "prompt":
        return kind == "v" or (kind == "isotropic" and edit == "clamp")
    return kind != "covariance-matched" or edit in _MATCHED


def _directions(
    v: Direction, aligned: Activations, draws: int, seed: int
) -> list[tuple[str, int, Direction]]:
    controls = controls_of(v, aligned, draws=draws, seed=seed)
    found = [("v", 0, v), ("shuffled labels", 0, _shuffled(v, aligned, seed))]
    for kind, draw in controls.items():
        found += [(kind, i, draw(i)) for i in range(draws)]
    return found


def controls_of(
    v: Direction, aligned: Activations, *, draws: int, seed: int
) -> Mapping[str, Callable[[int], Direction]]:
    """Kind of random direction -> its draws, at v's site and scale."""
    cloud = Moments.of(aligned[v.site])
    return {
        "isotropic": lambda draw: random_direction(like=v, seed=seed, draw=draw),
        "covariance-matched": lambda draw: random_direction(like=v, seed=seed, draw=draw, covariance=cloud),
    }


def _shuffled(v: Direction, aligned: Activations, seed: int) -> Direction:
    fit = shuffled(difference_of_means, seed=seed)
    made = fit(aligned.aligned[v.site], aligned.misaligned[v.site], at=v.site)
    return made.stamped(scale=v.scale, questions=v.passport.questions)


def edits_of(direction: Direction, aligned: Activations) -> dict[str, Intervention]:
    """Toward aligned by the fitted gap; to the aligned model's mean; and not at all along the direction."""
    return {
        "steer": steer(direction, by=1.0),
        "clamp": clamp(direction, to=float(direction.project(aligned[direction.site]).mean())),
        "ablate": ablate(direction),
    }
