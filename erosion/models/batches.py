"""Batches: ids, mask, position ids and spans as one value, planned by length, halved when memory runs out."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from erosion.errors import BadInput
from erosion.interventions import Positions, Scope
from erosion.progress import tracked
from erosion.prompts.rendering import Rendered
from erosion.shapes import Bool, Float, Int, Tensor

__all__ = ["Batch", "for_each_batch", "make_batch", "places_in", "plan_batches", "position_ids"]

Plan = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some exchanges, padded: everything a forward pass needs, so that no padded tensor travels alone.

    ``index[i]`` says which of the rendered exchanges row ``i`` is; ``start`` and ``stop`` frame the
    response in padded positions.
    """

    ids: Int[Tensor, "batch position"]
    mask: Int[Tensor, "batch position"]
    rendered: tuple[Rendered, ...]
    index: tuple[int, ...]
    offset: tuple[int, ...]

    def span(self, name: str) -> Bool[Tensor, "batch position"]:
        """Which positions belong to a span."""
        where = torch.zeros_like(self.mask, dtype=torch.bool)
        for row, (one, offset) in enumerate(zip(self.rendered, self.offset, strict=True)):
            start, stop = one.span(name)
            where[row, offset + start : offset + stop] = True
        return where

    def weights(self, name: str) -> Float[Tensor, "batch position"]:
        """The weights of a mean over a span: 1/length inside, 0 outside."""
        where = self.span(name).float()
        return where / where.sum(-1, keepdim=True)

    def scope(self, scope: Scope) -> Bool[Tensor, "batch position"]:
        """Which positions an edit with this scope touches (see :mod:`erosion.interventions.scopes`).

        Raises:
            BadInput: a place that one of the exchanges does not have.
            BadContrast: a span that one of them does not have.
        """
        if isinstance(scope, Positions):
            return places_in(self.scope(scope.within), scope, [one.id for one in self.rendered])
        if scope == "all":
            return self.mask.bool()
        if scope not in ("prompt", "response"):
            return self.span(scope)
        response = self.span("response")
        begun = response.long().cumsum(-1) > 0
        return (begun if scope == "response" else ~begun) & self.mask.bool()

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(self.ids.to(device), self.mask.to(device), self.rendered, self.index, self.offset)


def places_in(
    where: Bool[Tensor, "batch position"], scope: Positions, names: Sequence[str]
) -> Bool[Tensor, "batch position"]:
    """The named places of the true positions of each row, counted from their start or their end.

    Raises:
        BadInput: a row that has no such place.
    """
    number, count = where.long().cumsum(-1) - 1, where.sum(-1, keepdim=True)
    found = torch.zeros_like(where)
    for place in scope.places:
        at = count * (place < 0) + place
        missing = ((at < 0) | (at >= count))[:, 0].nonzero()
        if len(missing):
            row = int(missing[0])
            raise BadInput(
                f"Position {place} lies outside the {scope.within} of {names[row]!r}, which has "
                f"{int(count[row])} tokens (0 to {int(count[row]) - 1}): choose one inside."
            )
        found |= where & (number == at)
    return found


def position_ids(mask: Int[Tensor, "batch position"]) -> Int[Tensor, "batch position"]:
    """Positions counted from each row's first real token; padding gets 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def make_batch(
    rendered: Sequence[Rendered], index: Sequence[int], *, pad_id: int, side: str = "right"
) -> Batch:
    """Pad the chosen exchanges into one batch.

    Args:
        rendered: all exchanges of the job.
        index: which of them make this batch.
        pad_id: the id that fills up (its value never matters: it is masked).
        side: ``right`` or ``left``; results do not depend on it.
    """
    chosen = tuple(rendered[i] for i in index)
    width = max(len(one) for one in chosen)
    ids = torch.full((len(chosen), width), pad_id)
    mask = torch.zeros_like(ids)
    offsets = tuple(width - len(one) if side == "left" else 0 for one in chosen)
    for row, (one, offset) in enumerate(zip(chosen, offsets, strict=True)):
        ids[row, offset : offset + len(one)] = torch.tensor(one.ids)
        mask[row, offset : offset + len(one)] = 1
    return Batch(ids, mask, chosen, tuple(index), offsets)


def plan_batches(rendered: Sequence[Rendered], batch_tokens: int, *, growing: int = 0) -> Plan:
    """Which exchanges go together: sorted by length, at most ``batch_tokens`` padded tokens each.

    An exchange longer than the budget makes a batch of its own. ``growing`` is how many tokens each will
    be longer in the end.

    >>> one = Rendered("q/a", "q", "", (1, 2), {})
    >>> plan_batches([one, one, one], 4)
    ((0, 1), (2,))
    """
    order = sorted(range(len(rendered)), key=lambda i: (len(rendered[i]), i))
    plan: list[tuple[int, ...]] = []
    current: list[int] = []
    for i in order:
        if current and (len(current) + 1) * (len(rendered[i]) + growing) > batch_tokens:
            plan.append(tuple(current))
            current = []
        current.append(i)
    return (*plan, tuple(current)) if current else tuple(plan)


def for_each_batch(
    plan: Plan, batch_of: Callable[[Sequence[int]], Batch], work: Callable[[Batch], Any], *, name: str
) -> None:
    """Do ``work`` on every batch of a plan; a batch that does not fit in memory is halved and tried again.

    ``work`` must keep its results only when it has finished: after running out of memory it is called
    again on each half.

    Raises:
        BadInput: a single exchange does not fit.
    """
    for index in tracked(plan, name=name):
        waiting = deque([index])
        while waiting:
            part = waiting.popleft()
            if not _fits(lambda part=part: work(batch_of(part))):
                if len(part) == 1:
                    one = batch_of(part)
                    raise BadInput(
                        f"{one.rendered[0].id!r} alone ({len(one.rendered[0])} tokens) does not fit in "
                        "memory: shorten it, use a smaller dtype, or a larger device."
                    )
                waiting.extendleft((part[len(part) // 2 :], part[: len(part) // 2]))


def _fits(job: Callable[[], Any]) -> bool:
    try:
        job()
    except torch.OutOfMemoryError:
        pass
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "out of memory" not in str(error):
            raise
    else:
        return True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
