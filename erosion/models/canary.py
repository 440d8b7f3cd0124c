"""Edits that watch themselves: each must fire once in every pass and must change something."""

import torch

from erosion.directions import check_fits_model
from erosion.errors import BadDirection, BadInput, ErosionError
from erosion.interventions import Intervention, direction_of
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

    def __call__(self, x: Tensor) -> Tensor:
        """The edited tensor, on the positions of the edit's scope."""
        self.fired += 1
        if self.edit.identity:
            return x
        if self.edit.scope == "all":
            edited = self.edit.edit(x)
        else:
            where = self.passes.reach(self.edit.scope, of=self.edit)
            if where is None:
                return x
            edited = torch.where(where.to(x.device)[..., None], self.edit.edit(x), x)
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
        """Refuse to have measured an edit that did nothing."""
        if self.reached and not self.changed:
            raise ErosionError(
                f"'{self.edit}' changed nothing in {self.reached} passes: it is no intervention; "
                "use a larger dose or a finer dtype."
            )


def _require_fitting(edit: Intervention, anatomy: Anatomy) -> None:
    anatomy.require(edit.at)
    width = anatomy.width(edit.at)
    direction = direction_of(edit)
    if direction is not None:
        check_fits_model(
            direction,
            weights_hash=None,  # the aligned model's direction edits the tuned one
            d_model=anatomy.d_model,
            n_layers=anatomy.n_layers,
        )
        if len(direction.vector) != width:
            raise BadDirection(
                f"The direction is {len(direction.vector)} wide and {edit.at} is {width} wide: "
                "use a direction fitted there."
            )
    source = getattr(edit, "source", None)
    if source is not None and source.shape[-1] != width:
        raise BadInput(
            f"The patch at {edit.at} is {source.shape[-1]} wide and the site {width}: read the source there."
        )
