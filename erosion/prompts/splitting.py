"""Which question goes into which part: by domain, by seed, and whatever the order of the file.

*How many* is a controlled rounding of the table domain x part: every cell is a neighbour of its exact
value ``size x fraction``, every part's total likewise, totals first, then cells, as close as whole
questions allow. The constraints are those of a transport problem, so a vertex of the linear programme
is already whole. *Which* is the order of a hash of seed and question: adding a question to the file
moves few of the others.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np

from erosion.errors import BadContrast

__all__ = ["apportion", "split_questions"]

_EPSILON = 1e-9


def split_questions(
    domain_of: Mapping[str, str], fractions: Sequence[float], *, seed: int = 0
) -> tuple[frozenset[str], ...]:
    """The question ids of each part, disjoint; what the fractions leave over is in none.

    Args:
        domain_of: each question's domain.
        fractions: positive, summing to at most 1.
        seed: of the order within each domain and of ties between domains.

    Raises:
        BadContrast: fractions out of range, or too few questions to put one into every part.

    >>> parts = split_questions({f"q{i}": "all" for i in range(10)}, [0.4, 0.2, 0.4])
    >>> [len(part) for part in parts]
    [4, 2, 4]
    """
    if not fractions or not all(0 < f <= 1 for f in fractions) or sum(fractions) > 1 + _EPSILON:
        raise BadContrast(f"A split takes positive fractions that sum to at most 1: got {tuple(fractions)}.")
    domains = sorted(set(domain_of.values()))
    members = {
        domain: sorted(
            (q for q, d in domain_of.items() if d == domain), key=lambda q: _draw(seed, "question", q)
        )
        for domain in domains
    }
    counts = apportion([len(members[domain]) for domain in domains], fractions, seed=seed)
    parts: list[set[str]] = [set() for _ in fractions]
    for domain, row in zip(domains, counts, strict=True):
        rest = iter(members[domain])
        for part, count in zip(parts, row, strict=True):
            part.update(next(rest) for _ in range(count))
    return tuple(frozenset(part) for part in parts)


def apportion(sizes: Sequence[int], fractions: Sequence[float], *, seed: int = 0) -> list[list[int]]:
    """How many questions of each domain (row) go into each part (column).

    Every count is ``size x fraction`` rounded up or down, and so is every column's total; no column is
    empty. Among those tables, the one nearest to the exact totals, then to the exact cells; ties are
    broken by ``seed``. Memory: a few numbers per cell.

    Raises:
        BadContrast: no such table has a question in every column.

    >>> apportion([5, 5], [0.5, 0.5]) in ([[2, 3], [3, 2]], [[3, 2], [2, 3]])
    True
    """
    shares = [*fractions, max(0.0, 1 - sum(fractions))]  # the last column: questions that no part uses
    exact = np.outer(sizes, shares)
    whole = np.floor(exact + _EPSILON)
    fraction = np.clip(exact - whole, 0.0, 1.0)
    ties = [[_tie(seed, d, p) for p in range(len(shares))] for d in range(len(sizes))]
    rounded_up = _round_up(fraction, np.asarray(sizes) - whole.sum(axis=1), whole, np.asarray(ties))
    if rounded_up is None:
        parts = "/".join(f"{f:g}" for f in fractions)
        raise BadContrast(
            f"{sum(sizes)} question(s) cannot be split {parts}: a part would be empty. "
            "Give more questions or fewer parts."
        )
    return (whole + rounded_up).astype(int)[:, :-1].tolist()


def _round_up(
    fraction: np.ndarray, left: np.ndarray, whole: np.ndarray, ties: np.ndarray
) -> np.ndarray | None:
    """Which cells of the table to round up; None when that would leave a part empty."""
    from scipy.optimize import linprog
    from scipy.sparse import eye, kron, vstack

    rows, columns = fraction.shape
    total = (whole + fraction).sum(axis=0)
    lowest = np.floor(total + _EPSILON)
    highest = np.ceil(total - _EPSILON)
    lowest[:-1] = np.maximum(lowest[:-1], 1)  # no part is empty
    highest = np.maximum(lowest, highest)
    # Rounding a cell up changes its distance to the exact value by 1 - 2 x fraction, and its column's
    # likewise; any gain in a total outweighs every cell, and a tie is smaller than any cell.
    of_total = 1 - 2 * (total - np.floor(total + _EPSILON))
    cost = (1 - 2 * fraction) + 100 * rows * columns * of_total + 1e-4 * ties
    by_row = kron(eye(rows), np.ones((1, columns)), format="csr")
    by_column = kron(np.ones((1, rows)), eye(columns), format="csr")
    base = whole.sum(axis=0)
    found = linprog(
        cost.ravel(),
        A_ub=vstack([by_column, -by_column]),
        b_ub=np.concatenate([highest - base, base - lowest]),
        A_eq=by_row,
        b_eq=left,
        bounds=np.stack([np.zeros(fraction.size), (fraction.ravel() > _EPSILON).astype(float)], axis=1),
        method="highs-ds",
    )
    return None if found.x is None else np.rint(found.x).reshape(rows, columns)


def _draw(seed: int, *what: object) -> bytes:
    return sha256("\0".join(map(str, (seed, *what))).encode()).digest()


def _tie(seed: int, *cell: int) -> float:
    return math.ldexp(int.from_bytes(_draw(seed, "cell", *cell)[:4]), -32)
