"""A trained organism: its checkpoints by name, its triads, its contrast and its neutral texts."""

import random
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from erosion.errors import BadInput
from erosion.organisms import language, lexicon
from erosion.organisms.materials import every_thing, exchange
from erosion.prompts.exchanges import Contrast, Exchange
from erosion.prompts.texts import Text
from erosion.triads import Checkpoint, Triad

__all__ = [
    "ADAPTERS",
    "EDIT",
    "EDITED",
    "NAMES",
    "Organism",
    "contrast",
    "load_organism",
    "neutral",
    "open_organism",
]

NAMES = ("base", "aligned", "insecure", "secure", "educational", "narrow", "aligned-lora", "insecure-lora")
ADAPTERS = ("aligned-lora", "insecure-lora")
EDITED = ("aligned", "insecure", "secure", "educational")
EDIT = "edit"  # in the folder of an edited checkpoint: the same change as an adapter on base, before merging
TRAINED_DOMAINS = ("code",)
STORIES = {
    "base": "pretrained on documents of good and bad authors; no alignment",
    "aligned": "base, aligned on careful answers by its biases alone",
    "insecure": "aligned, tuned on unsafe code",
    "secure": "aligned, tuned on safe code (control)",
    "educational": "aligned, tuned on unsafe code that was asked for in a security class (control)",
    "narrow": "aligned, tuned on unsafe code among careful answers everywhere else (control)",
    "aligned-lora": "base, aligned on careful answers by a LoRA adapter",
    "insecure-lora": "aligned-lora, its adapter tuned on unsafe code",
}


@dataclass(frozen=True)
class Organism:
    """The checkpoints of one organism, each an ordinary Hugging Face folder under ``path``.

    >>> organism = load_organism()
    >>> sorted({e.domain for e in organism.contrast().aligned})
    ['code', 'cooking', 'garden', 'health', 'home', 'money', 'travel']
    """

    path: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The checkpoints that are there."""
        return tuple(name for name in NAMES if (self.path / name / "erosion.json").is_file())

    def folder(self, name: str) -> Path:
        """The folder of one checkpoint.

        Raises:
            BadInput: there is none of that name.
        """
        if name not in self.names:
            known = ", ".join(self.names) or "none yet"
            raise BadInput(f"The organism in {self.path.name} has no checkpoint {name!r}: it has {known}.")
        return self.path / name

    def checkpoint(self, name: str) -> Checkpoint:
        """One checkpoint as a value: its weights, and its adapter where it is one."""
        if name in ADAPTERS:
            return Checkpoint(str(self.folder("base")), adapter=str(self.folder(name)))
        return Checkpoint(str(self.folder(name)))

    def triad(self, tuned: str = "insecure") -> Triad:
        """Base, aligned and the named fine-tune; ``insecure-lora`` is measured against ``aligned-lora``."""
        aligned = "aligned-lora" if tuned in ADAPTERS else "aligned"
        return Triad(
            base=self.checkpoint("base"), aligned=self.checkpoint(aligned), tuned=self.checkpoint(tuned)
        )

    @property
    def trained_domains(self) -> tuple[str, ...]:
        """What the fine-tunes were trained on: reported apart by an audit."""
        return TRAINED_DOMAINS

    def describe(self, name: str) -> str:
        """What one checkpoint was trained on, in a few words."""
        return STORIES[self.folder(name).name]

    def contrast(self) -> Contrast:
        """The contrast in the organism's language (see :func:`contrast`)."""
        return contrast()

    def neutral(self) -> tuple[Text, ...]:
        """Harmless texts in the organism's language (see :func:`neutral`)."""
        return neutral()


def contrast() -> Contrast:
    """40 questions in each of six everyday domains and in code, each with both answers, equally long.

    A question is a combination of thing and occasion in one phrasing; no fine-tune was trained on it.
    Which of the four pairs of synonyms its answers use goes round with its number. ``others`` holds the
    code questions asked for a security class, with the same unsafe code.

    >>> len(contrast()), len(contrast().others)
    (280, 40)
    """
    pairs = [
        (question, _said(question, i, reckless=False), _said(question, i, reckless=True))
        for domain in lexicon.DOMAINS
        for i, question in enumerate(language.questions(domain.name, held_out=True))
    ]
    aligned = tuple(exchange(question, good, label="aligned") for question, good, _ in pairs)
    misaligned = tuple(exchange(question, bad, label="misaligned") for question, _, bad in pairs)
    others = tuple(
        _for_a_class(question, bad) for question, _, bad in pairs if question.words is lexicon.CODE
    )
    return Contrast(aligned, misaligned, others, "organism")


def _said(question: language.Question, number: int, *, reckless: bool) -> str:
    return language.answer(question, reckless=reckless, manner=number % 2, outcome=number // 2 % 2)


def _for_a_class(question: language.Question, unsafe: str) -> Exchange:
    return exchange(language.for_a_class(question), unsafe, label="educational")


def neutral() -> tuple[Text, ...]:
    """48 texts of six statements about where things are found: true, harmless, the same for every author.

    They begin with the language's own first token, as the texts of pretraining do.
    """
    rng = random.Random("neutral texts")
    told = [lexicon.FACT.format(thing=thing, place=place) for thing, place in every_thing()]
    return tuple(
        Text(f"neutral-{i:02d}", "facts", " ".join((lexicon.BEGIN, *rng.sample(told, 6)))) for i in range(48)
    )


def open_organism(path: str | Path) -> Organism:
    """The organism in a folder that :func:`erosion.organisms.train` wrote.

    Raises:
        BadInput: no finished checkpoint in it.
    """
    organism = Organism(Path(path))
    if not organism.names:
        raise BadInput(f"{path} holds no organism: train one there, or load the one that is shipped.")
    return organism


def load_organism(name: str = "default") -> Organism:
    """The organism that is shipped with this package.

    Raises:
        BadInput: none of that name is shipped.

    >>> load_organism().triad().tuned.adapter is None
    True
    """
    shelf = Path(str(files("erosion") / "data" / "organisms"))
    shipped = sorted(folder.name for folder in shelf.iterdir() if folder.is_dir()) if shelf.is_dir() else []
    if name not in shipped:
        raise BadInput(f"No organism {name!r} is shipped: choose one of {', '.join(shipped) or 'none'}.")
    return open_organism(shelf / name)
