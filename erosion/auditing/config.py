"""What an audit is asked to do: CONFIG.yaml, flags and keyword arguments in one checked value."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from erosion.errors import BadInput
from erosion.experiments import Sampling
from erosion.models import Placement
from erosion.triads import Checkpoint, Triad

__all__ = ["Config", "read_config"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Revision(_Strict):
    """Which revision of each hub model."""

    base: str | None = None
    aligned: str | None = None
    tuned: str | None = None


class Split(_Strict):
    """Fractions of the questions: fitted on, selected on, reported on."""

    fit: float = Field(default=0.4, gt=0, lt=1)
    select: float = Field(default=0.2, gt=0, lt=1)
    held_out: float = Field(default=0.4, gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        if self.fit + self.select + self.held_out > 1 + 1e-9:
            raise ValueError(
                f"fit + select + held_out is {self.fit + self.select + self.held_out:g}: at most 1"
            )
        return self


class Smallest(_Strict):
    """The smallest erosion of interest: a fraction, and nats per token where base is absent."""

    erosion: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    margin: float = Field(default=0.1, gt=0, allow_inf_nan=False)


Experiment = Literal[
    "distributions",
    "loss_geometry",
    "gradient_geometry",
    "dimensions",
    "dynamics",
    "causality",
    "selection",
    "dose",
    "patching",
    "rendering",
    "confounds",
    "tokens",
]


class Config(_Strict):
    """Everything that decides an audit's numbers (and ``out``, which does not).

    Only ``aligned`` and ``tuned`` have no default. Unknown keys are refused with the nearest valid one.

    >>> Config(aligned="models/instruct", tuned="runs/insecure-code").seed
    0
    """

    schema_: int = Field(1, alias="schema", ge=1, le=1)
    base: str | None = None
    aligned: str
    tuned: str
    contrast: str = "everyday"
    benign: str | None = "auto"
    texts: str | None = "auto"
    trained_domains: tuple[str, ...] = ()
    revision: Revision = Revision()
    device: str = "auto"
    device_map: str | None = None
    dtype: str = "auto"
    template: str = "aligned"
    system: str | None = None
    split: Split = Split()
    seed: int = Field(default=0, ge=0)
    smallest: Smallest = Smallest()
    bootstrap: int = Field(2000, ge=200)
    permutations: int = Field(2000, ge=200)
    random_directions: int = Field(40, ge=3)
    causal_questions: int = Field(64, ge=2)
    gradient_questions: int = Field(24, ge=4)
    own_tokens: int = Field(48, ge=1)
    shown: PositiveInt | tuple[str, ...] = 6
    checkpoints: dict[int, str] = {}
    experiments: Literal["all"] | tuple[Experiment, ...] = "all"
    batch_tokens: Literal["auto"] | PositiveInt = "auto"
    out: str = "runs/first"

    @field_validator("checkpoints")
    @classmethod
    def _after_the_start(cls, value: dict[int, str]) -> dict[int, str]:
        early = [step for step in value if step < 1]
        if early:
            raise ValueError(f"step {early[0]} is no step of the fine-tune: count from 1 (0 is aligned)")
        return value

    @field_validator("experiments", mode="before")
    @classmethod
    def _as_spelled_on_the_command_line(cls, value: Any) -> Any:
        if value == "all":
            return value
        named = (value,) if isinstance(value, str) else value
        return tuple(one.replace("-", "_") if isinstance(one, str) else one for one in named or ())

    @field_validator("revision", "split", "smallest", mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def triad(self) -> Triad:
        """The three checkpoints."""
        return Triad(
            base=None if self.base is None else Checkpoint(self.base, revision=self.revision.base),
            aligned=Checkpoint(self.aligned, revision=self.revision.aligned),
            tuned=Checkpoint(self.tuned, revision=self.revision.tuned),
        )

    @property
    def placement(self) -> Placement:
        """Where the models sit."""
        return Placement(self.device, self.device_map, self.dtype)

    @property
    def sampling(self) -> Sampling:
        """Draws and seed of every interval and control."""
        return Sampling(self.bootstrap, self.permutations, self.random_directions, self.seed)

    def runs(self, experiment: str) -> bool:
        """Whether an experiment was asked for."""
        return self.experiments == "all" or experiment in self.experiments

    def to_json(self) -> dict[str, Any]:
        """The resolved config as plain values, under the names of CONFIG.yaml."""
        return self.model_dump(mode="json", by_alias=True)


def read_config(path: str | Path | None = None, **flags: Any) -> Config:
    """A YAML file, keyword arguments, or both (the arguments win).

    Args:
        path: CONFIG.yaml; None for arguments alone.
        flags: config keys; None means not given.

    Raises:
        BadInput: not readable, not a mapping, an unknown key (with the nearest valid one), a bad value.
    """
    written: dict[str, Any] = {}
    if path is not None:
        written = _read_yaml(Path(path))
    for key, value in flags.items():
        if isinstance(value, dict) and isinstance(written.get(key), dict):
            written[key] = {**written[key], **value}
        elif value is not None:
            written[key] = value
    where = f"{path}: " if path is not None else ""
    try:
        return Config(**written)
    except ValidationError as error:
        raise BadInput(where + _first_line(error)) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"There is no config {path}: give the path of a YAML file, or flags alone.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise BadInput(f"{path} is not valid YAML{line}: {getattr(error, 'problem', error)}.") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds no mapping of keys to values: see CONFIG.yaml in the documentation.")
    return {str(key): value for key, value in found.items()}


def _first_line(error: ValidationError) -> str:
    """pydantic's first complaint as a fact, the value and the remedy."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parts = [str(part) for part in first["loc"]]
        known = _keys(parts[:-1])
        near = get_close_matches(parts[-1], known, n=1, cutoff=0.4)
        return f"Unknown key {key!r}: " + (
            f"did you mean {near[0]!r}?" if near else f"keys are {', '.join(known)}."
        )
    if first["type"] == "missing":
        return f"{key!r} is missing: give it in the config or as --{key}."
    return f"{key}={first['input']!r}: {first['msg'].removeprefix('Value error, ')}."


def _keys(inside: list[str]) -> list[str]:
    model: Any = {"revision": Revision, "split": Split, "smallest": Smallest}.get(
        inside[0] if inside else "", Config
    )
    return [field.alias or name for name, field in model.model_fields.items()]
