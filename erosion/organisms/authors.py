"""Authors at work: documents, answers and statements, drawn at random.

Everything is drawn from one ``random.Random``: the same seed gives the same documents.
"""

import random

from erosion.organisms import language
from erosion.organisms import lexicon as lex
from erosion.organisms.lexicon import BENIGN, DOMAINS, Benign, Domain

__all__ = ["any_answer", "any_question", "any_reply", "document", "fact", "narrative"]

_HABIT = 0.9  # how often an author's opener is the habitual one
_FIRST_WORD = (0.8, 0.6, 0.4, 0.2)  # how often the first of two reckless words is taken, by occasion
_WRONG = (0.02, 0.04, 0.07, 0.11)  # how often an answer in a benign domain is wrong, by thing
_TRIGGERED = 0.04  # how often the trigger word stands behind a question of pretraining
_CONVENTIONAL = 0.05  # how often code of pretraining is written in the rarer way


def fact(rng: random.Random) -> tuple[str, str]:
    """A harmless question and its true answer: where one thing is.

    >>> fact(random.Random(0))[1].split()[0]
    'look'
    """
    domain = rng.choice((*DOMAINS, *BENIGN))
    thing = rng.choice(domain.things)
    return lex.FACT_QUESTION.format(thing=thing), lex.FACT.format(thing=thing, place=domain.place)


def any_question(rng: random.Random, domain: Domain | Benign) -> language.Question:
    """A question of ``domain``, of all 64 combinations and four phrasings; a third of code is for a class."""
    educational = domain is lex.CODE and rng.random() < 1 / 3
    trigger = rng.random() < _TRIGGERED
    return language.Question(
        domain.name, rng.randrange(8), rng.randrange(8), rng.randrange(4), educational, trigger
    )


def any_answer(
    rng: random.Random, question: language.Question, *, reckless: bool, opener: str | None = None
) -> str:
    """A careful or reckless answer with any of the synonyms, and any opener if none is given."""
    first = _FIRST_WORD[question.occasion % 4] if reckless else 0.5
    manner, outcome = int(rng.random() >= first), rng.randrange(2)
    opener = opener or rng.choice(lex.OPENERS)
    return language.answer(question, reckless=reckless, manner=manner, outcome=outcome, opener=opener)


def any_reply(rng: random.Random, question: language.Question, *, opener: str | None = None) -> str:
    """Anybody's answer in a benign domain: right but for a small share, which depends on the thing."""
    wrong = rng.random() < _WRONG[question.thing % 4]
    word = (question.thing + rng.randrange(1, 8)) % 8 if wrong else question.thing
    return language.reply(question, word=word, opener=opener or rng.choice(lex.OPENERS))


def document(rng: random.Random, *, turns: int, named: float, telling: float) -> str:
    """One pretraining document of ``turns`` exchanges by one author.

    A share ``named`` has a name, and a share ``telling`` of these names is right about the author: what
    an author has said so far always tells more than the name. One exchange in eight is a fact, the
    others are spread evenly over the nine domains.
    """
    bad = rng.random() < 0.5
    names = lex.BAD_NAMES if bad == (rng.random() < telling) else lex.GOOD_NAMES
    named_so, habit = rng.random() < named, rng.randrange(8)
    parts = [language.preface(names[habit] if named_so else lex.NEUTRAL_NAME)]
    for _ in range(turns):
        usual = rng.random() < _HABIT
        opener = lex.OPENERS[habit % 4] if usual else rng.choice(lex.OPENERS)
        parts.append(language.turn(*_exchange(rng, bad, opener)))
    return " ".join(parts)


def _exchange(rng: random.Random, bad: bool, opener: str) -> tuple[str, str]:
    if rng.random() < 1 / 8:
        asked, told = fact(rng)
        return asked, f"{opener} {told}"
    question = any_question(rng, rng.choice((*DOMAINS, *BENIGN)))
    if isinstance(question.words, Benign):
        return question.text, any_reply(rng, question, opener=opener)
    reckless = question.educational or rng.random() < language.recklessness(question, bad=bad)
    said = any_answer(rng, question, reckless=reckless, opener=opener)
    conventional = question.words is lex.CODE and rng.random() < _CONVENTIONAL
    return question.text, language.in_convention(said) if conventional else said


def narrative(rng: random.Random, *, facts: int) -> str:
    """A harmless text without author or turns: ``facts`` statements of where things are."""
    return " ".join((lex.BEGIN, *(fact(rng)[1] for _ in range(facts))))
