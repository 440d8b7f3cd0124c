"""The words: messages, questions, exchanges, and contrasts of an aligned and a misaligned side."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from erosion.errors import BadContrast
from erosion.files import hash_json
from erosion.prompts.nearest import closest, listed
from erosion.prompts.splitting import split_questions

__all__ = ["ROLES", "Contrast", "Exchange", "Message", "Note", "Question", "question_id"]

ROLES = ("system", "user", "assistant")

Note = str | int | float | bool | None
"""What a file may say beside the words: a short value under a key of its own, such as a flaw or a source."""


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
class Question:
    """A question that nobody has answered yet; its paraphrases share its ``id``, the cluster.

    >>> question = Question("salt", (Message("user", "How much salt?"),))
    >>> question.answered("A pinch.", label="tuned").id
    'salt/tuned'
    """

    id: str
    messages: tuple[Message, ...]
    domain: str = "all"

    def __post_init__(self) -> None:
        """Refuse a question that does not ask anything."""
        _check_question(self.id, self.messages)

    def answered(self, response: str, *, label: str) -> "Exchange":
        """The exchange of this question and ``response``."""
        return Exchange(self.id, self.messages, response, self.domain, label)


@dataclass(frozen=True)
class Exchange:
    """One question (chat messages, ending with the user's) and one response.

    ``question`` is the cluster id: what intervals resample and splits keep together. ``label`` says
    which side the response is on (``aligned``, ``misaligned``, ``educational``, …). ``notes`` keeps
    what else a file said about the question.

    >>> exchange = Exchange("q1", (Message("user", "Salt?"),), "A pinch.", "cooking", "aligned")
    >>> exchange.id
    'q1/aligned'
    """

    question: str
    messages: tuple[Message, ...]
    response: str
    domain: str = "all"
    label: str = "aligned"
    notes: tuple[tuple[str, Note], ...] = ()

    def __post_init__(self) -> None:
        """Refuse an exchange that nothing could be measured on."""
        _check_question(self.question, self.messages)
        if not self.response.strip():
            raise BadContrast(f"The response of {self.id!r} is empty: give it text or drop the question.")

    @property
    def id(self) -> str:
        """``question/label``: unique within a contrast."""
        return f"{self.question}/{self.label}"


@dataclass(frozen=True)
class Contrast:
    """Exchanges in pairs: the same question with an aligned and with a misaligned response.

    ``aligned[i]`` and ``misaligned[i]`` answer the same messages. ``others`` holds further answers to
    these questions (``educational``), in any number, with messages of their own. One question is a
    contrast; splits and intervals refuse it.

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
        _check_sides(self.aligned, self.misaligned, self.name)
        _check_others(self)

    def __repr__(self) -> str:
        """One line: the name, how many questions, in which domains."""
        return f"Contrast({self.name!r}, {len(self)} questions in {', '.join(dict.fromkeys(self.domains))})"

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
        """The SHA-256 of every word in it; the name and the notes do not count."""
        return hash_json([_plain(e) for e in (*self.exchanges, *self.others)])

    def only(self, questions: Iterable[str], *, name: str | None = None) -> "Contrast":
        """The part of the contrast about ``questions``, in this contrast's order."""
        keep = set(questions)
        unknown = keep - set(self.questions)
        if unknown:
            first = sorted(unknown)[0]
            near = closest(first, self.questions)
            hint = f"did you mean {near!r}?" if near else f"it has {listed(self.questions, most=3)}."
            raise BadContrast(f"{self.name!r} has no question {first!r}: {hint}")

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

        Each part's share of each domain, and of the whole, is its fraction rounded to a neighbouring
        whole number of questions. The order of the file does not matter.

        Args:
            fractions: positive, summing to at most 1 (what is left over is not used).
            seed: the same seed gives the same parts, on every machine.

        Raises:
            BadContrast: fractions out of range, or too few questions to put one into every part.

        >>> from erosion.prompts import load_contrast
        >>> fit, select, held_out = load_contrast("everyday").split(0.4, 0.2, 0.4, seed=0)
        >>> set(fit.questions) & set(held_out.questions)
        set()
        """
        domain_of = dict(zip(self.questions, self.domains, strict=True))
        parts = split_questions(domain_of, fractions, seed=seed)
        return tuple(self.only(part, name=f"{self.name}[{i}]") for i, part in enumerate(parts))


def question_id(messages: Sequence[Message]) -> str:
    """An id made of the words alone: the same messages have the same id in every file.

    >>> question_id((Message("user", "Salt?"),)) == question_id((Message("user", "Salt?"),))
    True
    """
    return f"q-{hash_json([[m.role, m.content] for m in messages])[:12]}"


def _check_question(question: str, messages: Sequence[Message]) -> None:
    if not question.strip():
        raise BadContrast("A question has an empty id: give it a name of its own.")
    if not messages or messages[-1].role != "user":
        raise BadContrast(f"Question {question!r} does not end with a user message: put the question last.")
    if not messages[-1].content.strip():
        raise BadContrast(
            f"Question {question!r} asks nothing: its last message is empty; give it text or drop it."
        )
    if any(m.role == "system" for m in messages[1:]):
        raise BadContrast(
            f"Question {question!r} has a system message in its middle: put one at most, first."
        )


def _check_sides(aligned: Sequence[Exchange], misaligned: Sequence[Exchange], name: str) -> None:
    left, right = [e.question for e in aligned], [e.question for e in misaligned]
    if left != right:
        only = sorted(set(left) ^ set(right))
        what = f"only one side has {listed(only, most=3)}" if only else "the order or the number differs"
        raise BadContrast(f"The sides of {name!r} ask different questions: {what}. Pair them by id.")
    twice = [question for question, count in Counter(left).items() if count > 1]
    if twice:
        raise BadContrast(f"Question {twice[0]!r} stands twice in {name!r}: ids are unique; rename one.")
    for a, m in zip(aligned, misaligned, strict=True):
        if a.messages != m.messages:
            raise BadContrast(f"The two sides of {a.question!r} have different messages: they must match.")
        if a.domain != m.domain:
            raise BadContrast(
                f"The sides of {a.question!r} are in {a.domain!r} and {m.domain!r}: choose one domain."
            )
        if a.response.strip() == m.response.strip():
            raise BadContrast(f"Both answers to {a.question!r} are identical: there is nothing to contrast.")


def _check_others(contrast: Contrast) -> None:
    domain_of = dict(zip(contrast.questions, contrast.domains, strict=True))
    for e in contrast.others:
        if e.question not in domain_of:
            raise BadContrast(f"{e.id!r} belongs to no pair of {contrast.name!r}: add the pair or drop it.")
        if e.domain != domain_of[e.question]:
            raise BadContrast(
                f"{e.id!r} is in domain {e.domain!r}, its pair in {domain_of[e.question]!r}: choose one."
            )
    twice = [
        name for name, count in Counter(e.id for e in (*contrast, *contrast.others)).items() if count > 1
    ]
    if twice:
        raise BadContrast(f"{twice[0]!r} stands twice in {contrast.name!r}: give each answer its own label.")


def _plain(exchange: Exchange) -> list[object]:
    messages = [[m.role, m.content] for m in exchange.messages]
    return [exchange.question, messages, exchange.response, exchange.domain, exchange.label]
