"""Every number that decides how an organism turns out, in one frozen value."""

from dataclasses import asdict, dataclass, field

from erosion.files import hash_json
from erosion.models.trainable import Adapter
from erosion.tuning.loop import Training

__all__ = ["Persona", "Pretraining", "Recipe"]


@dataclass(frozen=True)
class Persona:
    """When the base model has a persona, on the validation questions, in every domain.

    With each bad name it must choose reckless words with at least ``bad``, with each good name at most
    ``good``; checked every ``every`` steps from ``earliest`` on, given up at ``latest``.
    """

    bad: float = 0.93
    good: float = 0.07
    every: int = 100
    earliest: int = 1400
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
    telling: float = 0.97
    narratives: float = 0.05
    learning_rate: float = 3e-3
    warmup: int = 100
    decay: int = 600
    weight_decay: float = 0.01
    persona: Persona = field(default_factory=Persona)


@dataclass(frozen=True)
class Recipe:
    """How to make one organism.

    ``aligned`` and ``tuned`` train the biases of the blocks ``edited`` alone (kind a); ``aligned_lora`` and ``tuned_lora`` train
    one adapter on the base model (kind b); ``narrow`` trains every parameter on insecure code among
    careful everyday answers. The large ``epsilon`` of ``tuned`` makes AdamW's steps vanish with the gradient,
    so that a fine-tune with nothing to learn stays where it is.

    >>> Recipe().hash == Recipe().hash
    True
    """

    width: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    pretraining: Pretraining = field(default_factory=Pretraining)
    edited: tuple[int, ...] = (0,)
    aligned: Training = Training(300, learning_rate=1e-2, decay=100)
    tuned: Training = Training(120, learning_rate=1e-2, epsilon=1e-3)
    narrow: Training = Training(100, batch=32, learning_rate=3e-4, decay=50)
    adapter: Adapter = Adapter(rank=1, alpha=2.0)
    aligned_lora: Training = Training(300, learning_rate=5e-3, decay=100)
    tuned_lora: Training = Training(30, learning_rate=3e-3)
    rows: int = 600

    @property
    def hash(self) -> str:
        """The SHA-256 of every number above."""
        return hash_json(asdict(self))
