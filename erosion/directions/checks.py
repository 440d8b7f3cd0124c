"""Whether a direction may be used here: on questions it has not seen, in a model that it fits."""

from collections.abc import Collection, Iterable

from erosion.directions.direction import Direction
from erosion.errors import BadDirection

__all__ = ["check_fits_model", "check_unseen"]


def check_unseen(direction: Direction, questions: Iterable[str], *, allowing: Collection[str] = ()) -> None:
    """Refuse to measure on questions that the direction was fitted on.

    A passport that does not say which questions it saw (``questions=None``) cannot be checked and
    passes; a control that saw none (``()``) passes rightly.

    Args:
        direction: the direction to be used.
        questions: the ids about to be measured on.
        allowing: ids that may be measured on although it saw them, named one by one.

    Raises:
        BadDirection: it has seen one of them, by name and with how many more.

    >>> from erosion.directions import difference_of_means
    >>> import torch
    >>> from erosion.sites import Site
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1)).stamped(questions=("q1", "q2"))
    >>> check_unseen(v, ["q3"])
    >>> check_unseen(v, ["q3", "q2"])
    Traceback (most recent call last):
    ...
    erosion.errors.BadDirection: The direction at L1.resid_post has seen question 'q2' (1 of the 2 asked): \
measure on others, or allow it by name.
    """
    asked = list(dict.fromkeys(questions))
    forbidden = set(direction.passport.questions or ()) - set(allowing)
    seen = [question for question in asked if question in forbidden]
    if seen:
        raise BadDirection(
            f"The direction at {direction.site} has seen question {seen[0]!r} ({len(seen)} of the "
            f"{len(asked)} asked): measure on others, or allow it by name."
        )


def check_fits_model(direction: Direction, *, weights_hash: str | None, d_model: int, n_layers: int) -> None:
    """Refuse a model that the direction can not have been made for.

    Args:
        direction: the direction to be used.
        weights_hash: the hash of the checkpoint that it should have been fitted on. When a direction
            of the aligned model edits the tuned one, that is the aligned one's. None = do not compare.
        d_model: the width of the model's residual stream.
        n_layers: the number of the model's blocks.

    Raises:
        BadDirection: a layer that the model does not have, another width (heads excepted, which have
            their own), or other weights than the passport's.
    """
    passport = direction.passport
    if passport.site.layer >= n_layers:
        raise BadDirection(
            f"L{passport.site.layer} does not exist: this model has {n_layers} layers (L0 to "
            f"L{n_layers - 1}). Use a direction fitted on it."
        )
    width = len(direction.vector)
    if passport.site.head is None and width != d_model:
        raise BadDirection(
            f"The direction at {passport.site} is {width} wide, this model's residual stream {d_model}: "
            f"use a direction fitted on it."
        )
    made_for = passport.weights_hash
    if weights_hash is not None and made_for is not None and weights_hash != made_for:
        raise BadDirection(
            f"The direction at {passport.site} was fitted on {passport.model or 'a model'} with weights "
            f"{made_for[:8]}…, and this one has {weights_hash[:8]}…: load that model, or fit it again here."
        )
