"""A direction's passport: everything it was made from, in words that a file can hold."""

from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from typing import Any

from erosion import __version__
from erosion.errors import BadDirection
from erosion.sites import Site, parse_site

__all__ = ["ALIGNED_IS_POSITIVE", "MISALIGNED_IS_POSITIVE", "Passport", "from_plain", "issue", "to_plain"]

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
    is of the checkpoint that was read, ``adapter_hash`` of the adapter that was on.

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


def merged(left: Passport, right: Passport, *, scale: float) -> Passport:
    """The passport of a sum: facts on which both agree, every question either has seen, and no score."""
    agreed = {
        field.name: getattr(left, field.name)
        for field in fields(Passport)
        if getattr(left, field.name) == getattr(right, field.name)
    }
    seen = [p.questions for p in (left, right) if p.questions is not None]
    same_sign = left.sign == right.sign
    computed = {
        "fit": " + ".join(p.fit if same_sign else _signed(p) for p in (left, right)),
        "sign": left.sign if same_sign else None,
        "scale": scale,
        "questions": tuple(dict.fromkeys(question for ids in seen for question in ids)) if seen else None,
        "held_out": None,
    }
    return Passport(**{**agreed, **computed})


def _signed(passport: Passport) -> str:
    return f"-({passport.fit})" if passport.sign == MISALIGNED_IS_POSITIVE else passport.fit


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
