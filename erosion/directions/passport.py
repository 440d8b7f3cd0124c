"""A direction's passport: everything it was made from, in words that a file can hold."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from typing import Any

from erosion import __version__
from erosion.errors import BadDirection
from erosion.sites import Site, parse_site

__all__ = [
    "ALIGNED_IS_POSITIVE",
    "MISALIGNED_IS_POSITIVE",
    "Passport",
    "all_seen",
    "flipped",
    "from_plain",
    "issue",
    "merged",
    "names_of",
    "stamped",
    "to_plain",
]

ALIGNED_IS_POSITIVE = "aligned is positive"
MISALIGNED_IS_POSITIVE = "misaligned is positive"
_FLIPPED = {ALIGNED_IS_POSITIVE: MISALIGNED_IS_POSITIVE, MISALIGNED_IS_POSITIVE: ALIGNED_IS_POSITIVE}


@dataclass(frozen=True)
class Passport:
    """What a direction was made from; a field that nobody filled in is None, never a guess.

    ``scale`` is the fitted gap between the sides along the direction, in activation units, and
    ``residual_norm`` the mean length of the activations it was fitted on: tables print both.
    ``questions`` are the ids it has seen (``()`` = none, None = unknown); ``held_out`` is a score on
    others, as ``{"metric", "value", "low", "high", "unit", "n_questions", "control"}``. ``weights_hash``
    is of the checkpoint that was read, ``adapter_hash`` of the adapter that was on. ``fitted_at`` is the
    site whose activations it was fitted on, where that is another than ``site`` (see
    :func:`~erosion.directions.moved`).

    Raises:
        BadDirection: a scale that is negative or not finite.

    >>> Passport(site=Site(3), fit="difference_of_means", scale=2.5).sign
    'aligned is positive'
    """

    site: Site
    fit: str
    scale: float
    sign: str | None = ALIGNED_IS_POSITIVE
    span: str | None = None
    residual_norm: float | None = None
    model: str | None = None
    weights_hash: str | None = None
    adapter_hash: str | None = None
    tokenizer_hash: str | None = None
    template_hash: str | None = None
    rendering: str | None = None
    contrast_hash: str | None = None
    questions: tuple[str, ...] | None = None
    held_out: dict[str, Any] | None = None
    erosion_version: str | None = None
    transformer_lens_version: str | None = None
    dtype: str | None = None
    attention_kernel: str | None = None
    fitted_at: str | None = None

    def __post_init__(self) -> None:
        """Refuse a scale that no edit could use."""
        if not 0 <= self.scale < float("inf"):
            raise BadDirection(f"A scale of {self.scale} is no length: give a finite number, 0 or more.")


def issue(fit: str, *, at: Site, scale: float, residual_norm: float | None = None) -> Passport:
    """A new passport, stamped with the versions that are running."""
    return Passport(
        site=at,
        fit=fit,
        scale=scale,
        residual_norm=residual_norm,
        erosion_version=__version__,
        transformer_lens_version=_version("transformer-lens"),
    )


@cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def stamped(passport: Passport, facts: dict[str, Any]) -> Passport:
    """``passport`` with ``facts`` filled in; a fact that passports do not hold is refused."""
    known = [field.name for field in fields(Passport)]
    for name in facts:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(known)}."
            raise BadDirection(f"A passport has no field {name!r}: {hint}")
    return replace(passport, **facts)


def flipped(passport: Passport) -> Passport:
    """The passport of the opposite direction: the other side is positive, and no score is claimed.

    Where no side is positive (a difference of two directions), the fit's name carries the minus sign.
    """
    if passport.sign is None:
        return replace(passport, fit=f"-({passport.fit})", held_out=None)
    return replace(passport, sign=_FLIPPED[passport.sign], held_out=None)


def merged(passports: Sequence[Passport], *, fit: str, scale: float) -> Passport:
    """The passport of what was made of several: facts on which all agree, every question, and no score."""
    agreed = {
        field.name: getattr(passports[0], field.name)
        for field in fields(Passport)
        if all(getattr(one, field.name) == getattr(passports[0], field.name) for one in passports)
    }
    computed = {
        "fit": fit,
        "sign": agreed.get("sign"),
        "scale": scale,
        "questions": all_seen(passport.questions for passport in passports),
        "held_out": None,
    }
    return Passport(**{**agreed, **computed})


def all_seen(parts: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """Every question that any of several fits has seen; None where none of them says.

    A part that does not say (None) adds nothing, so the result is then what is known: a use on those
    questions is still refused. Beside parts that saw none (``()``) it leaves the whole unknown.

    >>> all_seen([("q1", "q2"), ("q2", "q3")]), all_seen([("q1",), None]), all_seen([(), None])
    (('q1', 'q2', 'q3'), ('q1',), None)
    """
    told = list(parts)
    known = tuple(dict.fromkeys(question for one in told for question in one or ()))
    return None if not known and None in told else known


def names_of(passports: Sequence[Passport]) -> list[str]:
    """How each was fitted, for the name of what they make: with its sign and site where those differ."""
    signed = len({passport.sign for passport in passports}) > 1
    placed = len({passport.fitted_at for passport in passports}) > 1
    return [_named(passport, signed=signed, placed=placed) for passport in passports]


def _named(passport: Passport, *, signed: bool, placed: bool) -> str:
    at = f" at {passport.fitted_at or passport.site}" if placed else ""
    return (
        f"-({passport.fit}{at})" if signed and passport.sign == MISALIGNED_IS_POSITIVE else passport.fit + at
    )


def to_plain(passport: Passport) -> dict[str, Any]:
    """The passport as plain JSON values; :func:`from_plain` reads it back equal.

    >>> plain = to_plain(Passport(site=Site(3), fit="difference_of_means", scale=2.5))
    >>> plain["site"], from_plain(plain).site
    ('L3.resid_post', L3.resid_post)
    """
    return {**asdict(passport), "site": str(passport.site)}


def from_plain(plain: Any) -> Passport:
    """Read :func:`to_plain`'s values; fields that are missing are None.

    Raises:
        BadDirection: a field of the wrong kind, or one that this version does not know.
    """
    try:
        facts = {"sign": None, **plain, "site": parse_site(plain["site"]), "scale": float(plain["scale"])}
        if facts.get("questions") is not None:
            facts["questions"] = tuple(facts["questions"])
        for name, value in facts.items():
            if not isinstance(value, _KINDS.get(name, str | None)):
                raise TypeError(f"{name} is {value!r}")
        return Passport(**facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadDirection(f"A passport cannot be read ({error}): save the direction again.") from error


_KINDS = {
    "site": Site,
    "fit": str,
    "scale": float,
    "residual_norm": float | None,
    "questions": tuple | None,
    "held_out": dict | None,
}
