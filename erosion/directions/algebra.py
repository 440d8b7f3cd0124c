"""Several directions made into one, or into a subspace; and one direction put to use at another site.

Notable: all arithmetic is that of displacements (scale x vector), as in ``v + w``; directions combine at one
site only, so one from elsewhere is first :func:`moved`, in so many words; and what is made has seen every
question that its parts have.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from einops import rearrange

from erosion.directions.direction import Direction
from erosion.directions.passport import all_seen, merged, names_of
from erosion.directions.subspaces import Subspace
from erosion.errors import BadDirection
from erosion.linalg import in_double, project_onto_span
from erosion.shapes import Float, Tensor
from erosion.sites import Site

__all__ = ["average", "moved", "orthogonalised", "span_of"]

Fitted = TypeVar("Fitted", Direction, Subspace)

# Of a float32 unit vector, what is shorter than this is the rounding of its entries.
_ROUNDING = 1e-6


def orthogonalised(v: Direction, *, against: Direction | Sequence[Direction] | Subspace) -> Direction:
    """``v`` without its part in the span of others: what it holds that they do not.

    d' = d - P d, with d the displacement of ``v`` and P the projection onto the span of ``against``: one
    direction, several (they need be neither orthogonal nor independent), or a subspace. The vector is the
    unit of d' and the scale its length, so steering ``by=1`` adds d' itself. The side that was positive
    along ``v`` stays so.

    Raises:
        BadDirection: nothing to take out, another site or width, or nothing left.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[3.0, 4.0]] * 2), torch.zeros(2, 2), at=Site(1))
    >>> w = difference_of_means(torch.tensor([[2.0, 0.0]] * 2), torch.zeros(2, 2), at=Site(1))
    >>> left = orthogonalised(v, against=w)
    >>> left.vector, round(left.scale, 4), left.passport.fit
    (tensor([0., 1.]), 4.0, 'difference_of_means without difference_of_means')
    """
    others, rows, seen = _span(v, against)
    exact = in_double(v.vector)
    left = exact - project_onto_span(exact, rows)
    length = float(torch.linalg.vector_norm(left))
    if length <= _ROUNDING:
        raise BadDirection(
            f"Nothing of {v.passport.fit} at {v.site} is left without {others} ({length:.1e} of its "
            f"length): take out fewer."
        )
    return replace(v, vector=(left / length).float()).stamped(
        fit=f"{v.passport.fit} without {others}",
        scale=v.scale * length,
        questions=all_seen([v.passport.questions, seen]),
        held_out=None,
    )


def average(directions: Iterable[Direction]) -> Direction:
    """The mean of the displacements of several directions at one site, such as one for each domain.

    d = (d_1 + ... + d_n) / n; the vector is its unit and the scale its length. Directions that agree give a
    mean as long as they are; **those that disagree give a shorter one**: n of one length, whose mean cosine
    with one another is c, give sqrt((1 + (n - 1) c) / n) of it. The passport keeps the facts on which all
    agree, and names every part. The average of one direction is that direction.

    Raises:
        BadDirection: none at all, other sites or widths, or parts that cancel.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[4.0, 0.0]] * 2), torch.zeros(2, 2), at=Site(1))
    >>> w = difference_of_means(torch.tensor([[0.0, 4.0]] * 2), torch.zeros(2, 2), at=Site(1))
    >>> mean = average([v, w])
    >>> round(mean.scale, 4), mean.passport.fit
    (2.8284, 'average(difference_of_means, difference_of_means)')
    """
    parts = _at_one_site(directions, what="average")
    if len(parts) == 1:
        return parts[0]
    mean = torch.stack([in_double(part.vector) * part.scale for part in parts]).mean(0)
    length = float(torch.linalg.vector_norm(mean))
    if length <= 1e-9 * max(part.scale for part in parts):
        raise BadDirection(
            f"The {len(parts)} directions at {parts[0].site} cancel: their mean is zero and points nowhere."
        )
    passports = [part.passport for part in parts]
    fit = f"average({', '.join(names_of(passports))})"
    return Direction((mean / length).float(), merged(passports, fit=fit, scale=length))


def span_of(directions: Iterable[Direction]) -> Subspace:
    """The subspace that several directions at one site span, to be ablated or patched as a whole.

    Orthonormal rows, float64, by Gram and Schmidt in the order given: the first k rows span the first k
    directions, and the first row is the first direction. Scales play no part.

    Raises:
        BadDirection: none at all, other sites or widths, or a direction that lies in the span of those
            before it, by its place and name.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.tensor([[4.0, 0.0, 0.0]] * 2), torch.zeros(2, 3), at=Site(1))
    >>> w = difference_of_means(torch.tensor([[4.0, 3.0, 0.0]] * 2), torch.zeros(2, 3), at=Site(1))
    >>> span_of([v, w]).basis.round(decimals=3).abs()
    tensor([[1., 0., 0.],
            [0., 1., 0.]], dtype=torch.float64)
    """
    parts = _at_one_site(directions, what="span a subspace")
    rows = torch.stack([in_double(part.vector) for part in parts])
    frame, lengths = torch.linalg.qr(rearrange(rows, "k d_model -> d_model k"))
    new = lengths.diagonal()
    inside = [i for i in range(len(parts)) if i >= len(new) or abs(float(new[i])) <= _ROUNDING]
    if inside:
        i = inside[0]
        raise BadDirection(
            f"Direction {i + 1} of {len(parts)} at {parts[i].site} ({parts[i].passport.fit}) lies in the "
            f"span of those before it: leave it out."
        )
    basis = rearrange(frame * new.sign(), "d_model k -> k d_model").contiguous()
    return Subspace(basis, parts[0].site, all_seen(part.passport.questions for part in parts))


def moved(v: Fitted, *, to: Site) -> Fitted:
    """The same vector for use at another site of the same width, such as every site that writes.

    Nothing is fitted anew: vector, scale, fit and questions stay, and the passport keeps in ``fitted_at``
    where it comes from. What was measured at the old site alone (``held_out``, ``residual_norm``) is no
    longer claimed. Whether the new site has that width is checked against the model, when it is used.

    Args:
        v: a direction, or a subspace (which keeps its rows and questions).
        to: the other site.

    Raises:
        BadDirection: from a head's own values to the residual stream's width or back.

    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1)).stamped(questions=("q1",))
    >>> moved(v, to=Site(2, "attn_out"))
    Direction(L2.attn_out, difference_of_means at L1.resid_post, scale 5.66, 2 wide)
    """
    if (v.site.head is None) != (to.head is None):
        raise BadDirection(
            f"What was fitted at {v.site} can not be used at {to}: one head's values are narrower than the "
            f"residual stream. Choose {'z of a head' if to.head is None else 'a site without a head'}."
        )
    if to == v.site:
        return v
    if isinstance(v, Subspace):
        return replace(v, site=to)
    origin = v.passport.fitted_at or str(v.site)
    return v.stamped(
        site=to, fitted_at=None if origin == str(to) else origin, held_out=None, residual_norm=None
    )


def _span(
    v: Direction, against: Direction | Sequence[Direction] | Subspace
) -> tuple[str, Float[Tensor, "k d_model"], tuple[str, ...] | None]:
    """What the others are called, rows that span them, and the questions that they have seen."""
    if isinstance(against, Subspace):
        _require_together(v, against.site, against.basis.shape[-1])
        return f"a subspace of {against.k}", in_double(against.basis), against.questions
    others = _at_one_site([against] if isinstance(against, Direction) else against, what="take out")
    _require_together(v, others[0].site, len(others[0].vector))
    passports = [other.passport for other in others]
    rows = torch.stack([in_double(other.vector) for other in others])
    return " and ".join(names_of(passports)), rows, all_seen(one.questions for one in passports)


def _at_one_site(directions: Iterable[Direction], *, what: str) -> tuple[Direction, ...]:
    parts = tuple(directions)
    if not parts:
        raise BadDirection(f"There is no direction to {what}: give at least one.")
    for part in parts:
        _require_together(parts[0], part.site, len(part.vector))
    return parts


def _require_together(v: Direction, site: Site, width: int) -> None:
    if site != v.site:
        raise BadDirection(
            f"Directions at {v.site} and {site} can not be combined: fit both at one site, or say "
            f"moved(v, to=...) first."
        )
    if width != len(v.vector):
        raise BadDirection(
            f"Directions at {v.site} are {len(v.vector)} and {width} wide: use those of one model."
        )
