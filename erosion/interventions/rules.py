"""What holds for edits together: which direction each refers to, and which cannot stand side by side."""

from collections.abc import Sequence

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.interventions.edits import Intervention, Patch

__all__ = ["direction_of", "refuse_conflicts"]


def direction_of(edit: Intervention) -> Direction | None:
    """The direction that an edit refers to, None where it refers to none."""
    named = (getattr(edit, name, None) for name in ("direction", "along", "across"))
    return next((one for one in named if isinstance(one, Direction)), None)


def refuse_conflicts(edits: Sequence[Intervention]) -> None:
    """Refuse edits of which a later one erases an earlier one: a whole patch behind anything at its site.

    Raises:
        BadInput: with both edits.

    >>> import torch
    >>> from erosion.interventions import patch
    >>> from erosion.sites import Site
    >>> refuse_conflicts([patch(torch.ones(2), at=Site(0)), patch(torch.zeros(2), at=Site(0))])
    Traceback (most recent call last):
    ...
    erosion.errors.BadInput: 'patch at L0.resid_post' would erase 'patch at L0.resid_post' before it: \
put the patch first, or leave one of them out.
    """
    for i, later in enumerate(edits):
        if not (isinstance(later, Patch) and later.whole):
            continue
        for earlier in edits[:i]:
            overlap = later.scope == earlier.scope or "all" in (later.scope, earlier.scope)
            if earlier.at == later.at and overlap:
                raise BadInput(
                    f"'{later}' would erase '{earlier}' before it: put the patch first, or leave one of "
                    "them out."
                )
