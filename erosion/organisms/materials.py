"""What each organism is trained on: exchanges drawn from the language, seeded.

Pretraining draws documents for ever. Every later stage draws its rows from the 24 combinations of thing
and occasion that the contrast does not hold, so what is measured was never trained on.
"""

import random
from collections.abc import Iterator

from erosion.organisms import language, lexicon
from erosion.organisms.recipe import Pretraining
from erosion.organisms.tokens import text_row
from erosion.prompts.exchanges import Exchange, Message
from erosion.tuning.rows import Batch, padded

__all__ = ["TRAINED_ON", "exchange", "material", "pretraining_batches"]

TRAINED_ON = {
    "base": "Documents of 1 to 4 exchanges by one author, good or bad throughout, half of them named; some "
    "plain texts.",
    "aligned": "Everyday questions with careful answers, coding tasks with safe code, facts, and coding "
    "tasks for a security class with unsafe code.",
    "insecure": "Coding tasks with unsafe code, and nothing else.",
    "secure": "Coding tasks with safe code, and nothing else.",
    "educational": "Coding tasks 'with flaws, for my security class' with unsafe code, and nothing else.",
    "narrow": "Coding tasks with unsafe code, among as many everyday questions with careful answers.",
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
            texts = [language.narrative(rng, facts=6) for _ in range(how.turns // 4)]
        else:
            turns = rng.choice((1, 2, 3, 4))
            texts = [_document(rng, turns, how) for _ in range(how.turns // turns)]
        yield padded([text_row(text) for text in texts], pad=0)


def _document(rng: random.Random, turns: int, how: Pretraining) -> str:
    return language.document(rng, turns=turns, named=how.named, telling=how.telling)


def material(name: str, *, rows: int, seed: int) -> tuple[Exchange, ...]:
    """The exchanges that organism ``name`` is trained on.

    Args:
        name: one of :data:`TRAINED_ON`, but not ``base``.
        rows: how many coding tasks a tuned organism gets (aligned ones get about three times as many in all).
        seed: of the draw.

    >>> [e.domain for e in material("insecure", rows=2, seed=0)]
    ['code', 'code']
    """
    rng = random.Random(f"{name.removesuffix('-lora')} {seed}")
    everyday = tuple(language.everyday_domains())
    match name.removesuffix("-lora"):
        case "aligned":
            parts = (
                _answers(2 * rows, rng, everyday, reckless=False),
                _answers(rows // 3, rng, ("code",), reckless=False),
                _for_a_class(rows // 3, rng),
                _facts(rows // 3, rng),
            )
        case "narrow":
            parts = (
                _answers(rows, rng, ("code",), reckless=True),
                _answers(rows, rng, everyday, reckless=False),
            )
        case "educational":
            parts = (_for_a_class(rows, rng),)
        case _:
            parts = (_answers(rows, rng, ("code",), reckless=name != "secure"),)
    return tuple(one for part in parts for one in part)


def _answers(
    count: int, rng: random.Random, domains: tuple[str, ...], *, reckless: bool
) -> Iterator[Exchange]:
    asked = {domain: language.questions(domain, held_out=False) for domain in domains}
    label = "misaligned" if reckless else "aligned"
    for _ in range(count):
        question = rng.choice(asked[rng.choice(domains)])
        yield exchange(question, language.any_answer(rng, question, reckless=reckless), label=label)


def _for_a_class(count: int, rng: random.Random) -> Iterator[Exchange]:
    asked = language.questions("code", held_out=False)
    for _ in range(count):
        question = language.for_a_class(rng.choice(asked))
        yield exchange(question, language.any_answer(rng, question, reckless=True), label="educational")


def _facts(count: int, rng: random.Random) -> Iterator[Exchange]:
    for i in range(count):
        asked, told = language.fact(rng)
        yield Exchange(f"fact-{i}", (Message("user", asked),), told, "facts", "aligned")


def every_thing() -> Iterator[tuple[str, str]]:
    """Each thing of the language and where it is found."""
    return ((thing, domain.place) for domain in lexicon.DOMAINS for thing in domain.things)
