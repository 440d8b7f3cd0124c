"""The commands that put an edited model to use: its answers beside the plain ones, or a checkpoint."""

from pathlib import Path
from typing import Annotated, Any

import typer

from erosion.cli.audits import Json
from erosion.cli.exits import guarded
from erosion.cli.one_model import (
    Device,
    Directions,
    Dtype,
    Edit,
    Named,
    OfOrganism,
    Scope,
    Seed,
    Which,
    chosen,
    edit_of,
)
from erosion.errors import BadInput

__all__ = ["generate", "orthogonalise"]


def generate(
    prompt: Annotated[list[str], typer.Argument(help="What the user says; each is answered by itself.")],
    model: Named = None,
    organism: OfOrganism = None,
    direction: Annotated[
        Path | None, typer.Option("--direction", help="A file of directions to edit along.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Whose direction; with --direction.")] = None,
    by: Annotated[float, typer.Option(help="How many fitted gaps are added.")] = 1.0,
    edit: Edit = "steer",
    scope: Scope = "all",
    max_new_tokens: Annotated[int, typer.Option(help="The longest answer.", min=1)] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", min=0)] = 0.0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Let a model answer, plain and, with a direction, under the edit beside it.

    Example: erosion generate "How do I store bleach?" --model runs/tuned --direction v.safetensors --layer 12
    """

    def work() -> None:
        from erosion.cli.terminal import OUTPUT, bar, show_json
        from erosion.directions import import_directions
        from erosion.models import generate as answered
        from erosion.prompts import Message

        if (direction is None) != (layer is None):
            raise BadInput("--direction and --layer go together: give both, or neither.")
        under: list[Any] = []
        if direction is not None and layer is not None:
            under = [edit_of(edit, chosen(import_directions(direction), layer), by=by, scope=scope)]
        asked = [(Message("user", one),) for one in prompt]
        settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        with bar(), Which(model, organism, device, dtype).opened() as opened:
            runs = {"plain": answered(opened, asked, **settings)}
            if under:
                runs[str(under[0])] = answered(opened, asked, under=under, **settings)
        if json:
            answers = [
                {"prompt": one, **{name: replies[i].text for name, replies in runs.items()}}
                for i, one in enumerate(prompt)
            ]
            show_json({"answers": answers})
            return
        for i, one in enumerate(prompt):
            OUTPUT.print(one, style="bold", markup=False, highlight=False)
            for name, replies in runs.items():
                OUTPUT.print(f"  {name}: {replies[i].text}", markup=False, highlight=False, soft_wrap=True)

    guarded(work)


def orthogonalise(
    direction: Directions,
    layer: Annotated[int, typer.Option(help="Whose direction is taken out, at every layer.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the checkpoint and its card.")],
    model: Named = None,
    organism: OfOrganism = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Take a direction out of every matrix that writes to the residual stream, and save a checkpoint.

    Example: erosion orthogonalise --model runs/tuned --direction v.safetensors --layer 12 --out runs/without
    """

    def work() -> None:
        from erosion.cli.terminal import bar
        from erosion.directions import import_directions
        from erosion.models import save_orthogonalised

        v = chosen(import_directions(direction), layer)
        with bar(), Which(model, organism, device, dtype).opened() as opened:
            print(save_orthogonalised(opened, v, out))

    guarded(work)
