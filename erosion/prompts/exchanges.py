"""The words: messages, exchanges, and contrasts of an aligned and a misaligned side."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from erosion.errors import BadContrast
from erosion.files import hash_json

__all__ = ["ROLES", "Contrast", "Exchange", "Message"]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn of a chat: who speaks (``system``, ``user`` or ``assistant``) and what is said."""

    role: str
    content: str

    def __post_init__(self) -> None:
        """Refuse a role that no chat template knows."""
        if self.role not in ROLES:
            raise BadContrast(f"Unknown role {self.role!r}: a message is from {', '.join(ROLES)}.")


@dataclass(frozen=True)
class Exchange:
    """One question (chat messages, ending with the user's) and one response.

    ``question`` is the cluster id: what intervals resample and splits keep together. ``label`` says
    which side the response is on (``aligned``, ``misaligned``, ``educational``, …).

    >>> exchange = Exchange("q1", (Message("user", "Salt?"),), "A pinch.", "cooking", "aligned")
    >>> exchange.id
    'q1/aligned'
    """

    question: str
    messages: tuple[Message, ...]
    response: str
    domain: str = "all"
    label: str = "aligned"

    def __post_init__(self) -> None:
        """Refuse an exchange that nothing could be measured on."""
        if not self.messages or self.messages[-1].role != "user":
            raise BadContrast(f"Question {self.question!r} does not end with a user message: put the question last.")
        if not self.response.strip():
            raise BadContrast(f"The response of {self.id!r} is empty: give it text or drop the question.")

    @property
    def id(self) -> str:
        """``question/label``: unique within a contrast."""
        return f"{self.question}/{self.label}"


@dataclass(frozen=True)
class Contrast:
    """Exchanges in pairs: the same question with an aligned and with a misaligned response.

    ``aligned[i]`` and ``misaligned[i]`` answer the same messages. ``others`` holds further labels
    (``educational``), in any number, with messages of their own.

    Raises:
        BadContrast: no pair at all, sides of different questions, a question twice, two identical answers.
    """

    aligned: tuple[Exchange, ...]
    misaligned: tuple[Exchange, ...]
    others: tuple[Exchange, ...] = ()
    name: str = field(default="contrast", compare=False)

    def __post_init__(self) -> None:
        """Refuse sides that do not pair up."""
        if not self.aligned and not self.misaligned:
            raise BadContrast(f"Contrast {self.name!r} is empty: it needs at least one question.")
        left, right = [e.question for e in self.aligned], [e.question for e in self.misaligned]
        if left != right:
            only = sorted(set(left) ^ set(right))[:3]
            what = f"only one side has {', '.join(map(repr, only))}" if only else "the order differs"
            raise BadContrast(f"The sides of {self.name!r} ask different questions: {what}. Pair them by id.")
        twice = [question for question, count in Counter(left).items() if count > 1]
        if twice:
            raise BadContrast(f"Question {twice[0]!r} stands twice in {self.name!r}: ids are unique; rename one.")
        for a, m in zip(self.aligned, self.misaligned, strict=True):
            if a.messages != m.messages:
                raise BadContrast(f"The two sides of {a.question!r} have different messages: they must match.")
            if a.response == m.response:
                raise BadContrast(f"Both answers to {a.question!r} are identical: there is nothing to contrast.")

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.aligned)

    def __iter__(self) -> Iterator[Exchange]:
        """Every aligned exchange, then every misaligned one."""
        yield from self.aligned
        yield from self.misaligned

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every aligned exchange, then every misaligned one: the order in which activations are read."""
        return self.aligned + self.misaligned

    @property
    def questions(self) -> tuple[str, ...]:
        """The question ids, in order."""
        return tuple(e.question for e in self.aligned)

    @property
    def domains(self) -> tuple[str, ...]:
        """Each question's domain, in the order of :attr:`questions`."""
        return tuple(e.domain for e in self.aligned)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of every word in it; the name does not count."""
        return hash_json([_plain(e) for e in (*self.exchanges, *self.others)])

    def only(self, questions: Iterable[str], *, name: str | None = None) -> "Contrast":
        """The part of the contrast about ``questions``, in this contrast's order."""
        keep = set(questions)
        unknown = keep - set(self.questions)
        if unknown:
            raise BadContrast(f"{self.name!r} has no question {sorted(unknown)[0]!r}.")

        def chosen(side: Sequence[Exchange]) -> tuple[Exchange, ...]:
            return tuple(e for e in side if e.question in keep)

        return Contrast(chosen(self.aligned), chosen(self.misaligned), chosen(self.others), name or self.name)

    def of_domain(self, *domains: str) -> "Contrast":
        """The part of the contrast in the named domains."""
        missing = set(domains) - set(self.domains)
        if missing:
            known = ", ".join(sorted(set(self.domains)))
            raise BadContrast(f"{self.name!r} has no domain {sorted(missing)[0]!r}: it has {known}.")
        return self.only(e.question for e in self.aligned if e.domain in domains)

    def swapped(self) -> "Contrast":
        """The two sides exchanged: every fitted direction flips its sign."""
        return replace(self, aligned=self.misaligned, misaligned=self.aligned)

    def split(self, *fractions: float, seed: int = 0) -> tuple["Contrast", ...]:
        """Parts with the given fractions of each domain's questions; a question is never in two.

        Args:
            fractions: positive, summing to at most 1 (what is left over is not used).
            seed: of the shuffle within each domain; the same seed gives the same parts.

        Raises:
            BadContrast: fractions out of range, or a part that would be empty.

        >>> from erosion.prompts import load_contrast
        >>> fit, select, held_out = load_contrast("everyday").split(0.4, 0.2, 0.4, seed=0)
        >>> set(fit.questions) & set(held_out.questions)
        set()
        """
        if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise BadContrast(f"A split takes positive fractions that sum to at most 1: got {fractions}.")
        generator = np.random.default_rng(seed)
        parts: list[set[str]] = [set() for _ in fractions]
        edges = np.concatenate([[0.0], np.cumsum(fractions)])
        for domain in sorted(set(self.domains)):
            ids = [q for q, d in zip(self.questions, self.domains, strict=True) if d == domain]
            shuffled = [ids[i] for i in generator.permutation(len(ids))]
            offset = generator.random() if len(ids) < 2 * len(fractions) else 0.5
            cuts = np.floor(edges * len(ids) + offset).astype(int).clip(0, len(ids))
            cuts[0] = 0
            if sum(fractions) > 1 - 1e-9:
                cuts[-1] = len(ids)
            for part, start, stop in zip(parts, cuts[:-1], cuts[1:], strict=True):
                part.update(shuffled[start:stop])
        names = [f"{self.name}[{i}]" for i in range(len(fractions))]
        empty = [f for f, part in zip(fractions, parts, strict=True) if not part]
        if empty:
            raise BadContrast(
                f"{len(self)} question(s) cannot be split {'/'.join(f'{f:g}' for f in fractions)}: the part of "
                f"{empty[0]:g} would be empty. Give more questions or fewer parts."
            )
        return tuple(self.only(part, name=name) for part, name in zip(parts, names, strict=True))


def _plain(exchange: Exchange) -> list[object]:
    messages = [[m.role, m.content] for m in exchange.messages]
    return [exchange.question, messages, exchange.response, exchange.domain, exchange.label]
