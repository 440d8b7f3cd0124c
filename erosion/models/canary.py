"""Edits that watch themselves: each must fire once in every pass and must change something."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from erosion.directions import Direction, check_fits_model
from erosion.errors import BadDirection, BadInput, ErosionError
from erosion.interventions import Conditional, Intervention, LivePatch, fitted_in, laid_out, rows_of
from erosion.models.anatomy import Anatomy
from erosion.models.passes import Passes
from erosion.shapes import Tensor

__all__ = ["Canary"]


class Canary:
    """An edit as a hook that proves itself.

    Raises:
        BadInput: a site that the model does not have, a width that is not the site's.
        BadDirection: a direction that the model can not have been made for.
    """

    def __init__(self, edit: Intervention, anatomy: Anatomy, passes: Passes) -> None:
        _require_fitting(edit, anatomy)
        self.edit, self.passes = edit, passes
        self.fired, self.reached, self.changed = 0, 0, False

    def __call__(self, x: Tensor, donor: Tensor | None = None) -> Tensor:
        """The edited tensor, on the positions of the edit's scope; ``donor`` is what a live patch puts in."""
        self.fired += 1
        if self.edit.identity:
            return x
        where = None
        if self.edit.scope != "all":
            where = self.passes.reach(self.edit.scope, of=self.edit)
            if where is None:
                return x
        edit = self.edit.taking(donor) if isinstance(self.edit, LivePatch) else self.edit
        edited = laid_out(edit, self.passes.rows).edit(x)
        if where is not None:
            edited = torch.where(where.to(x.device)[..., None], edited, x)
        self.reached += 1
        self.changed = self.changed or not torch.equal(edited, x)
        return edited

    def begin(self) -> None:
        """A pass begins."""
        self.fired = 0

    def end(self) -> None:
        """Refuse a pass in which the edit was not there."""
        if self.fired != 1:
            raise ErosionError(
                f"'{self.edit}' fired {self.fired} times in a pass: the site is not on its path."
            )

    def prove(self) -> None:
        """Refuse to have measured an edit that did nothing, unless that is an answer."""
        if _may_rest(self.edit):
            return
        if self.reached and not self.changed:
            raise ErosionError(
                f"'{self.edit}' changed nothing in {self.reached} passes: it is no intervention; "
                "use a larger dose or a finer dtype."
            )


def _may_rest(edit: Any) -> bool:
    """Whether an edit that changes nothing is no fault: its condition is never met, or its donor agrees.

    Two models may compute the same at a site that the fine-tune did not reach; then the effect of the patch
    is exactly zero.
    """
    if isinstance(edit, Conditional | LivePatch) or isinstance(getattr(edit, "source", None), Mapping):
        return True
    return hasattr(edit, "inner") and _may_rest(edit.inner)


def _require_fitting(edit: Intervention, anatomy: Anatomy) -> None:
    anatomy.require(edit.at)
    width = anatomy.width(edit.at)
    for fitted in fitted_in(edit):
        if isinstance(fitted, Direction):
            check_fits_model(
                fitted,
                weights_hash=None,  # the aligned model's direction edits the tuned one
                d_model=anatomy.d_model,
                n_layers=anatomy.n_layers,
            )
        if (wide := rows_of(fitted).shape[-1]) != width:
            raise BadDirection(
                f"The direction is {wide} wide and {edit.at} is {width} wide: use a direction fitted there."
            )
        if fitted.site != edit.at:
            raise BadDirection(
                f"'{edit}' uses a direction of {fitted.site}: use one of its own site, or say that it is "
                "meant (erosion.repeated takes an edit elsewhere)."
            )
    for source in _sources(edit):
        if source.ndim and source.shape[-1] != width:
            raise BadInput(
                f"The patch at {edit.at} is {source.shape[-1]} wide and the site {width}: read the source "
                "there."
            )


def _sources(edit: Any) -> Iterator[Tensor]:
    """What an edit would put in, those of edits inside it included."""
    source = getattr(edit, "source", getattr(edit, "pool", None))
    if isinstance(source, Tensor):
        yield source
    elif source is not None:
        yield from source.values()
    if hasattr(edit, "inner"):
        yield from _sources(edit.inner)
