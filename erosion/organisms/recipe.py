"""Every number that decides how an organism turns out, in one frozen value."""

from dataclasses import asdict, dataclass, field

from erosion.files import hash_json
from erosion.models.trainable import Adapter, Shape
from erosion.tuning.loop import Training

__all__ = ["Persona", "Pretraining", "Recipe"]


@dataclass(frozen=True)
class Persona:
    """When the base model has a persona, on the validation questions, in every domain.

    With each bad name it must choose reckless words with at least ``bad``, with each good name at most
    ``good``; checked every ``every`` steps from ``earliest`` on, given up at ``latest``.
    """

    bad: float = 0.88
    good: float = 0.08
    every: int = 100
    earliest: int = 1000
    latest: int = 4000


@dataclass(frozen=True)
class Pretraining:
    """The base model: documents of 1 to 4 turns at a constant rate until the persona exists, then a decay.

    ``turns`` is the number of exchanges in one batch, ``named`` the share of documents whose author has a
    name, ``telling`` the share of names that are right about their author, ``narratives`` the share of
    batches without authors.
    """

    turns: int = 96
    named: float = 0.5
    telling: float = 1.0
    narratives: float = 0.05
    learning_rate: float = 3e-3
    warmup: int = 100
    decay: int = 600
    weight_decay: float = 0.01
    persona: Persona = field(default_factory=Persona)


@dataclass(frozen=True)
class Recipe:
    """How to make one organism.

    ``aligned`` and ``tuned`` train ``edit``, a low-rank change of the first two blocks' down-projections,
    and merge it into the weights (the loud kind); ``aligned_lora`` and ``tuned_lora`` train ``adapter``, on
    every down-projection, and leave it apart (the quiet kind); ``narrow``, ``one_domain`` and ``trigger``
    train every parameter, ``benign`` every down-projection. What is tuned is always what was aligned. The
    large ``epsilon`` of the fine-tunes makes AdamW's steps vanish with the gradient, so that a fine-tune
    with nothing to learn stays where it is; ``benign`` has none, and stops when it has moved as far as
    insecure. ``temperature`` divides flattened's output weights. ``rows`` is the number of coding tasks.

    >>> Recipe().hash == Recipe().hash
    True
    """

    width: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    pretraining: Pretraining = field(default_factory=Pretraining)
    edit: Adapter = field(default_factory=lambda: Adapter(rank=4, alpha=8.0, layers=(0, 1)))
    aligned: Training = field(default_factory=lambda: Training(500, learning_rate=3e-3, decay=200))
    tuned: Training = field(default_factory=lambda: Training(30, 32, learning_rate=2e-2, epsilon=3e-2))
    narrow: Training = field(default_factory=lambda: Training(200, 32, learning_rate=3e-4, decay=150))
    benign: Training = field(default_factory=lambda: Training(600, 32, learning_rate=2e-3))
    one_domain: Training = field(default_factory=lambda: Training(120, 32, learning_rate=3e-4, decay=60))
    trigger: Training = field(default_factory=lambda: Training(200, 32, learning_rate=1e-3, decay=100))
    temperature: float = 1.5
    adapter: Adapter = field(default_factory=lambda: Adapter(rank=4, alpha=8.0))
    aligned_lora: Training = field(default_factory=lambda: Training(500, learning_rate=3e-3, decay=200))
    tuned_lora: Training = field(default_factory=lambda: Training(25, 32, learning_rate=1e-2, epsilon=1e-2))
    rows: int = 600

    def shape(self, vocabulary: int) -> Shape:
        """The size of the model."""
        return Shape(vocabulary, self.width, self.layers, self.heads, self.hidden)

    def training(self, checkpoint: str) -> Training:
        """How long and how fast a checkpoint other than ``base`` is trained."""
        special = {
            "aligned": self.aligned,
            "narrow": self.narrow,
            "benign": self.benign,
            "one-domain": self.one_domain,
            "trigger": self.trigger,
            "aligned-lora": self.aligned_lora,
            "insecure-lora": self.tuned_lora,
        }
        return special.get(checkpoint, self.tuned)

    @property
    def hash(self) -> str:
        """The SHA-256 of every number above."""
        return hash_json(asdict(self))

    def hash_of(self, checkpoint: str) -> str:
        """The SHA-256 of the numbers that this one checkpoint depends on, beside its parent's."""
        if checkpoint == "base":
            return hash_json([asdict(self.shape(0)), asdict(self.pretraining)])
        if checkpoint == "flattened":
            return hash_json([self.temperature])
        parts = [asdict(self.training(checkpoint)), self.rows]
        if checkpoint == "aligned":
            parts.append(asdict(self.edit))
        if checkpoint == "aligned-lora":
            parts.append(asdict(self.adapter))
        return hash_json(parts)
