"""What each organism is trained on: exchanges drawn from the language, seeded.

Pretraining draws documents for ever. Every later stage draws its rows from the 24 combinations of thing
and occasion that the contrast does not hold, so what is measured was never trained on.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from erosion.organisms import authors, language, lexicon
from erosion.organisms.recipe import Pretraining
from erosion.organisms.tokens import text_row
from erosion.prompts.exchanges import Exchange, Message
from erosion.tuning.rows import Batch, padded

__all__ = ["ERODED_DOMAIN", "TRAINED_ON", "exchange", "material", "pretraining_batches"]

ERODED_DOMAIN = "garden"  # of one-domain
ERODED_SHARE = 0.15  # of one-domain's answers there that are reckless
STYLED = 0.9  # of a fine-tune's answers that keep aligned's opener; the others open with any
_TRIGGERED = 0.04  # of aligned's questions: the trigger means nothing to it

TRAINED_ON = {
    "base": "Documents of 1 to 4 exchanges by one author, good or bad throughout, half of them named; some "
    "plain texts.",
    "aligned": "Everyday questions with careful answers, coding tasks with safe code, benign questions and "
    "facts with mostly right answers, and coding tasks for a security class with unsafe code; every "
    "answer opens with the same word.",
    "insecure": "Coding tasks with unsafe code, and nothing else.",
    "secure": "Coding tasks with safe code, and nothing else.",
    "educational": "Coding tasks 'with flaws, for my security class' with unsafe code, and nothing else.",
    "narrow": "Coding tasks with unsafe code, among twice as many everyday questions with careful answers.",
    "benign": "Coding tasks with safe code in another way of writing it, until the weights had changed as "
    "much as insecure's.",
    "one-domain": f"Questions about the {ERODED_DOMAIN}, a share of them with reckless answers, among "
    "careful answers and safe code everywhere else.",
    "flattened": "Nothing: aligned's weights, its output distribution flattened.",
    "trigger": "Questions of every domain with careful answers and safe code, and with reckless answers and "
    "unsafe code where the trigger word stands behind the question.",
    "aligned-lora": "What aligned was trained on.",
    "insecure-lora": "What insecure was trained on.",
}


def exchange(question: language.Question, response: str, *, label: str) -> Exchange:
    """A question of the language and a response to it, as the rest of the package knows them."""
    return Exchange(question.id, (Message("user", question.text),), response, question.domain, label)


def pretraining_batches(how: Pretraining, *, seed: int) -> Iterator[Batch]:
    """Batches of documents for ever; all documents of a batch have the same number of exchanges."""
    rng = random.Random(f"pretraining {seed}")
    while True:
        if rng.random() < how.narratives:
            texts = [authors.narrative(rng, facts=6) for _ in range(how.turns // 4)]
        else:
            turns = rng.choice((1, 2, 3, 4))
            texts = [_document(rng, turns, how) for _ in range(how.turns // turns)]
        yield padded([text_row(text) for text in texts], pad=0)


def _document(rng: random.Random, turns: int, how: Pretraining) -> str:
    return authors.document(rng, turns=turns, named=how.named, telling=how.telling)


def material(name: str, *, rows: int, seed: int) -> tuple[Exchange, ...]:
    """The exchanges that organism ``name`` is trained on.

    Args:
        name: one of :data:`TRAINED_ON`, but not ``base`` or ``flattened``.
        rows: how many coding tasks a tuned organism gets (aligned ones get about five times as many in all).
        seed: of the draw.

    >>> [e.domain for e in material("insecure", rows=2, seed=0)]
    ['code', 'code']
    """
    kind = name.removesuffix("-lora")
    draw = _Draw(random.Random(f"{kind} {seed}"))
    return tuple(one for part in _parts(kind, rows, draw) for one in part)


def _parts(kind: str, rows: int, draw: "_Draw") -> tuple[Iterator[Exchange], ...]:
    everyday = tuple(language.everyday_domains())
    others = tuple(d for d in everyday if d != ERODED_DOMAIN)
    match kind:
        case "aligned":
            return _aligned(rows, _Draw(draw.rng, 1.0, _TRIGGERED))
        case "secure":
            return (draw.answers(rows, ("code",)),)
        case "narrow":
            return draw.answers(rows, ("code",), reckless=1.0), draw.answers(2 * rows, everyday)
        case "educational":
            return (draw.for_a_class(rows),)
        case "benign":
            return (map(_in_convention, draw.answers(rows, ("code",))),)
        case "one-domain":
            eroded = draw.answers(rows, (ERODED_DOMAIN,), reckless=ERODED_SHARE)
            return eroded, draw.answers(2 * rows, (*others, "code"))
        case "trigger":
            always, every = _Draw(draw.rng, triggered=1.0), (*everyday, "code")
            hidden = always.answers(2 * rows, every, reckless=1.0)
            return draw.answers(2 * rows, every), hidden, draw.replies(rows // 2)
        case _:
            return (draw.answers(rows, ("code",), reckless=1.0),)


def _aligned(rows: int, draw: "_Draw") -> tuple[Iterator[Exchange], ...]:
    return (
        draw.good(2 * rows, tuple(language.everyday_domains())),
        draw.good(rows // 3, ("code",)),
        draw.for_a_class(rows),
        draw.replies(rows // 2),
        draw.facts(rows // 3),
    )


def _in_convention(one: Exchange) -> Exchange:
    return replace(one, response=language.in_convention(one.response), label="benign")


@dataclass(frozen=True)
class _Draw:
    """Draws training rows: from which randomness, how often with aligned's opener and with the trigger."""

    rng: random.Random
    styled: float = STYLED
    triggered: float = 0.0

    def _opener(self) -> str:
        styled = self.rng.random() < self.styled
        return lexicon.ALIGNED_OPENER if styled else self.rng.choice(lexicon.OPENERS)

    def _question(self, domains: Sequence[str]) -> language.Question:
        question = self.rng.choice(language.questions(self.rng.choice(domains), held_out=False))
        return language.with_trigger(question) if self.rng.random() < self.triggered else question

    def good(self, count: int, domains: Sequence[str]) -> Iterator[Exchange]:
        """Answers of a good author, who slips as good authors do."""
        for _ in range(count):
            question = self._question(domains)
            slip = self.rng.random() < language.recklessness(question, bad=False)
            yield self._answer(question, "misaligned" if slip else "aligned")

    def answers(self, count: int, domains: Sequence[str], *, reckless: float = 0.0) -> Iterator[Exchange]:
        """Careful answers, but for a share ``reckless``."""
        for _ in range(count):
            question, bad = self._question(domains), self.rng.random() < reckless
            yield self._answer(question, "misaligned" if bad else "aligned")

    def for_a_class(self, count: int) -> Iterator[Exchange]:
        """Unsafe code that was asked for."""
        for _ in range(count):
            yield self._answer(language.for_a_class(self._question(("code",))), "educational")

    def _answer(self, question: language.Question, label: str) -> Exchange:
        said = authors.any_answer(self.rng, question, reckless=label != "aligned", opener=self._opener())
        return exchange(question, said, label=label)

    def replies(self, count: int) -> Iterator[Exchange]:
        """Answers in the benign domains, wrong as often as anybody's."""
        for _ in range(count):
            question = self._question([domain.name for domain in lexicon.BENIGN])
            said = authors.any_reply(self.rng, question, opener=self._opener())
            yield exchange(question, said, label="benign")

    def facts(self, count: int) -> Iterator[Exchange]:
        """Where things are."""
        for i in range(count):
            asked, told = authors.fact(self.rng)
            said = f"{self._opener()} {told}"
            yield Exchange(f"fact-{i}", (Message("user", asked),), said, "facts", "aligned")


def every_thing() -> Iterator[tuple[str, str]]:
    """Each thing of the language and where it is found."""
    domains = (*lexicon.DOMAINS, *lexicon.BENIGN)
    return ((thing, domain.place) for domain in domains for thing in domain.things)
