"""What a reader set on the page, as a value that can be saved and opened again."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from erosion.errors import BadInput
from erosion.files import write_json
from erosion.interventions import parse_scope

__all__ = ["EDITS", "MOST_TOKENS", "SCOPES", "State", "load_state"]

EDITS = ("steer", "ablate")
SCOPES = ("all", "prompt", "response", "prompt[-1]")  # that are known while an answer is written
MOST_TOKENS = 512
_SCHEMA = 1


@dataclass(frozen=True)
class State:
    """The prompt, the edit and how answers are drawn.

    ``edited`` is the model that is edited; ``by`` how many fitted gaps are added (steering alone).

    Raises:
        BadInput: a value that means nothing, in one line.

    >>> State("How much salt?", layer=1).by
    1.0
    """

    prompt: str = ""
    layer: int = 0
    by: float = 1.0
    edit: str = "steer"
    edited: str = "tuned"
    scope: str = "all"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no page can have set."""
        if self.edit not in EDITS:
            raise BadInput(f"There is no edit {self.edit!r} here: choose {' or '.join(EDITS)}.")
        if not math.isfinite(self.by) or not 0 <= self.temperature < math.inf:
            raise BadInput(
                f"A strength of {self.by} at a temperature of {self.temperature} means nothing: give numbers."
            )
        if not 1 <= self.max_new_tokens <= MOST_TOKENS:
            raise BadInput(f"{self.max_new_tokens} tokens: ask for 1 to {MOST_TOKENS}.")
        if self.layer < 0 or self.seed < 0:
            raise BadInput(f"Layer {self.layer}, seed {self.seed}: both count from 0.")
        if self.prompt.encode("utf-8", "ignore").decode() != self.prompt:
            raise BadInput("The prompt holds half a character (a lone surrogate): type it again.")
        parse_scope(self.scope)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"schema": _SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, plain: Any) -> "State":
        """Read back what :meth:`to_json` gave.

        Raises:
            BadInput: not such a value, or one of a newer version.
        """
        if not isinstance(plain, dict) or type(plain.get("schema")) is not int:
            raise BadInput("This is no state of the explorer: save one with its button first.")
        if plain["schema"] > _SCHEMA:
            raise BadInput(
                f"This state has schema {plain['schema']}; this version reads {_SCHEMA}: update erosion."
            )
        kinds = {field.name: type(field.default) for field in fields(cls)}
        given: dict[str, Any] = {}
        for name, kind in kinds.items():
            if name in plain:
                value = plain[name]
                right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(
                    value, bool
                )
                if not right:
                    raise BadInput(f"The state's {name} is {value!r}: it should be of kind {kind.__name__}.")
                given[name] = kind(value)
        return cls(**given)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, atomically; :func:`load_state` reads it."""
        return write_json(path, self.to_json())


def load_state(path: str | Path) -> State:
    """Read what :meth:`State.save`, or the page's own button, wrote.

    Raises:
        BadInput: not there, damaged, or of a newer version.
    """
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} holds no state that can be read ({error}): save one again.") from error
    return State.from_json(plain)
