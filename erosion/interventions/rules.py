"""What holds for edits together: what each was fitted on, and which cannot stand side by side."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from erosion.directions import Direction, Subspace, check_unseen
from erosion.errors import BadInput
from erosion.interventions.edits import Intervention, LivePatch, Patch
from erosion.interventions.scopes import disjoint

__all__ = ["fitted_in", "refuse_conflicts", "refuse_seen"]

_NAMES = ("direction", "along", "across", "on_direction")


def fitted_in(edit: Any) -> tuple[Direction | Subspace, ...]:
    """Every direction and subspace that an edit refers to, those of edits inside it included."""
    own = [getattr(edit, name, None) for name in _NAMES]
    found = tuple(one for one in own if isinstance(one, Direction | Subspace))
    return found + (fitted_in(edit.inner) if hasattr(edit, "inner") else ())


def refuse_seen(
    edits: Iterable[Intervention], questions: Sequence[str], *, allowing: Collection[str] = ()
) -> None:
    """Refuse to measure edits on questions that one of their directions was fitted on.

    Raises:
        BadDirection: with the direction and the question.
    """
    checked: set[int] = set()
    for edit in edits:
        for fitted in fitted_in(edit):
            if id(fitted) in checked:
                continue
            checked.add(id(fitted))
            if isinstance(fitted, Direction):
                check_unseen(fitted, questions, allowing=allowing)
            else:
                fitted.check_unseen(question for question in questions if question not in allowing)


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
        if not _replaces(later):
            continue
        for earlier in edits[:i]:
            if earlier.at == later.at and not disjoint(earlier.scope, later.scope):
                raise BadInput(
                    f"'{later}' would erase '{earlier}' before it: put the patch first, or leave one of "
                    "them out."
                )


def _replaces(edit: Any) -> bool:
    """Whether nothing of what was there before is left."""
    if hasattr(edit, "pool"):
        return edit.along is None
    return isinstance(edit, Patch | LivePatch) and edit.along is None and edit.across is None
