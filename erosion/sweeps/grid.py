"""Grids: every combination of layers, scopes, strengths, directions or doses, each a cell with its labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from erosion.errors import BadInput
from erosion.interventions import Dose, Intervention

__all__ = ["Cell", "grid"]

Label = str | int | float


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of a grid: its labels, the edits made there, and the dose of the fine-tune, if any."""

    labels: Mapping[str, Label]
    edits: tuple[Intervention, ...]
    dose: Dose | None = None

    @property
    def layer(self) -> int:
        """The last block whose output no edit touches or precedes: what a replay may begin behind.

        An edit of ``resid_post`` takes that block's output as it is; any other part lies inside its block.
        -1 where an edit lies in the first block, or where there is none.
        """
        return min(
            (edit.at.layer - (0 if edit.at.part == "resid_post" else 1) for edit in self.edits), default=-1
        )

    def __str__(self) -> str:
        """The edits in words."""
        said = [str(self.dose)] if self.dose is not None else []
        return "; ".join(said + [str(edit) for edit in self.edits]) or "no edit"


def grid(make: Callable[..., Any], **axes: Iterable[Any]) -> tuple[Cell, ...]:
    """Every combination of the axes as a cell, the last axis changing fastest.

    Args:
        make: called with one value of each axis by name; gives an edit, a dose, several of them, or None
            where there is no such cell.
        axes: name -> values: layers, scopes, strengths, draws, directions, doses, …

    Raises:
        BadInput: no axis, an empty one, a cell without an edit or dose, or with two doses.

    >>> import torch
    >>> from erosion.directions import difference_of_means
    >>> from erosion.interventions import steer
    >>> from erosion.sites import Site
    >>> v = {l: difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(l)) for l in range(2)}
    >>> cells = grid(lambda layer, by: steer(v[layer], by=by), layer=[0, 1], by=[0.5, 1])
    >>> [str(cell) for cell in cells][:2], dict(cells[-1].labels)
    (['steer +0.5 at L0.resid_post', 'steer +1 at L0.resid_post'], {'layer': 1, 'by': 1})
    """
    values = {name: list(axis) for name, axis in axes.items()}
    if not values or not all(values.values()):
        empty = next((name for name, axis in values.items() if not axis), None)
        raise BadInput(
            "A grid needs at least one axis: name one."
            if empty is None
            else f"The axis {empty!r} is empty: give it a value."
        )
    cells = []
    for point in product(*values.values()):
        at = dict(zip(values, point, strict=True))
        made = make(**at)
        if made is not None:
            cells.append(_cell({name: _label(one) for name, one in at.items()}, made))
    return tuple(cells)


def _cell(labels: dict[str, Label], made: Any) -> Cell:
    parts = list(made) if isinstance(made, Iterable) else [made]
    doses = [one for one in parts if isinstance(one, Dose)]
    edits = tuple(one for one in parts if not isinstance(one, Dose))
    odd = [one for one in edits if not isinstance(one, Intervention)]
    if odd or len(doses) > 1 or not parts:
        what = (
            f"{odd[0]!r} is no edit"
            if odd
            else f"there are {len(doses)} doses"
            if doses
            else "there is no edit"
        )
        raise BadInput(f"At {labels} {what}: give edits, and at most one dose.")
    return Cell(MappingProxyType(labels), edits, doses[0] if doses else None)


def _label(value: Any) -> Label:
    return value if isinstance(value, str | int | float) else str(value)
