"""What the commands about one model share: which model, which questions, which direction, which edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from erosion.errors import BadInput

if TYPE_CHECKING:
    from erosion.directions import Direction
    from erosion.interventions import Intervention
    from erosion.models import Model
    from erosion.prompts import Contrast
    from erosion.sites import Site

__all__ = [
    "Device",
    "Directions",
    "Dtype",
    "Edit",
    "Named",
    "OfOrganism",
    "Random",
    "Scope",
    "Seed",
    "Which",
    "Words",
    "chosen",
    "edit_of",
    "unseen",
]

Named = Annotated[str | None, typer.Option("--model", help="Hub name, folder, or LoRA adapter folder.")]
OfOrganism = Annotated[
    str | None,
    typer.Option("--organism", help="In place of --model: this checkpoint of the shipped organism."),
]
Directions = Annotated[
    Path, typer.Option("--direction", help="A file of directions (erosion direction fit, or import).")
]
Edit = Annotated[str, typer.Option("--edit", help="steer or ablate.")]
Scope = Annotated[str, typer.Option(help="all, prompt, response, user, …, or places: prompt[-1].")]
Words = Annotated[
    str | None,
    typer.Option("--contrast", help="A built-in contrast or a JSONL file; the organism brings its own."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]
Random = Annotated[int, typer.Option("--random", help="Random directions beside it.", min=0)]
Seed = Annotated[int, typer.Option(help="Of the random directions or the sampling.", min=0)]


@dataclass(frozen=True)
class Which:
    """Which model the command is about, and on what it runs."""

    model: str | None
    organism: str | None
    device: str
    dtype: str

    def opened(self) -> "Model":
        """The model, loaded."""
        from erosion.models import Placement, load
        from erosion.organisms import load_organism

        if (self.model is None) == (self.organism is None):
            raise BadInput("Name one model: --model FOLDER, or --organism NAME.")
        if self.organism is not None:
            import torch

            torch.set_num_threads(1)  # matrices of 64 columns: threads cost more than they bring
            return load(
                load_organism().checkpoint(self.organism), placement=Placement(self.device, dtype="float32")
            )
        return load(str(self.model), placement=Placement(self.device, dtype=self.dtype))

    def words(self, contrast: str | None) -> "Contrast":
        """The questions that it is asked."""
        from erosion.organisms import load_organism
        from erosion.prompts import load_contrast

        if contrast is None and self.organism is not None:
            return load_organism().contrast()
        return load_contrast(contrast or "everyday")


def unseen(words: "Contrast", directions: Mapping["Site", "Direction"]) -> "Contrast":
    """The questions that none of the directions was fitted on.

    Raises:
        BadInput: they saw all of them.
    """
    seen = {question for v in directions.values() for question in v.passport.questions or ()}
    left = [question for question in words.questions if question not in seen]
    if not left:
        raise BadInput(
            f"The directions were fitted on all {len(words)} questions of {words.name}: give --contrast "
            "another."
        )
    return words.only(left, name=f"{words.name}, unseen")


def edit_of(name: str, v: "Direction", *, by: float, scope: str) -> "Intervention":
    """The named edit along a direction."""
    from erosion.interventions import ablate, parse_scope, steer

    if name not in ("steer", "ablate"):
        raise BadInput(f"There is no edit {name!r}: choose steer or ablate.")
    where = parse_scope(scope)
    return steer(v, by=by, scope=where) if name == "steer" else ablate(v, scope=where)


def chosen(directions: Mapping["Site", "Direction"], layer: int) -> "Direction":
    """The direction of one layer."""
    found = [v for site, v in directions.items() if site.layer == layer]
    if not found:
        layers = ", ".join(str(site.layer) for site in directions)
        raise BadInput(f"The file holds no direction of layer {layer}: it holds layers {layers}.")
    return found[0]
