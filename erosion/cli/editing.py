"""The commands that measure edits of one model: one edit beside its controls, or a grid of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Random,
    Scope,
    Seed,
    Which,
    Words,
    chosen,
    edit_of,
    unseen,
)

if TYPE_CHECKING:
    from erosion.directions import Direction
    from erosion.sites import Site

__all__ = ["steer", "sweep"]


def steer(
    direction: Directions,
    layer: Annotated[int, typer.Option(help="Whose direction, and where it is added.")],
    by: Annotated[float, typer.Option(help="How many fitted gaps; negative is away from aligned.")] = 1.0,
    model: Named = None,
    organism: OfOrganism = None,
    contrast: Words = None,
    edit: Edit = "steer",
    scope: Scope = "all",
    random: Random = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure margins under one edit, on questions the direction has not seen, beside random directions.

    Example: erosion steer --organism insecure --direction runs/directions.safetensors --layer 1 --by 2
    """

    def work() -> None:
        from erosion.cli.terminal import bar, show_json, show_table
        from erosion.directions import import_directions, random_direction
        from erosion.sweeps import Cell
        from erosion.sweeps import sweep as measured

        which = Which(model, organism, device, dtype)
        v = chosen(import_directions(direction), layer)
        words = unseen(which.words(contrast), {v.site: v})
        cells = [Cell({"direction": "v"}, (edit_of(edit, v, by=by, scope=scope),))]
        for draw in range(random):
            control = random_direction(like=v, seed=seed, draw=draw)
            cells.append(Cell({"direction": f"random {draw}"}, (edit_of(edit, control, by=by, scope=scope),)))
        with bar(), which.opened() as opened:
            found = measured(opened, words, cells)
        rows = [
            (str(cell["direction"]), said, metric, str(found.change(i, metric)))
            for i, (cell, said) in enumerate(zip(found.cells, found.said, strict=True))
            for metric in found.units
        ]
        if json:
            show_json(_as_json(found))
        else:
            show_table(("direction", "edit", "metric", "change"), rows, left=4)

    guarded(work)


def _as_json(found: Any) -> dict[str, Any]:
    return {
        "model": found.model,
        "questions": len(set(found.questions)),
        "cells": [
            {**cell, "edit": said, "change": {m: found.change(i, m).to_json() for m in found.units}}
            for i, (cell, said) in enumerate(zip(found.cells, found.said, strict=True))
        ],
    }


def sweep(
    direction: Directions,
    out: Annotated[
        Path, typer.Option("--out", help="A folder: sweep.json, and what resumes a stopped sweep.")
    ],
    layer: Annotated[
        list[int] | None, typer.Option(help="Layers; repeatable; all of the file if not given.")
    ] = None,
    by: Annotated[list[float] | None, typer.Option(help="Strengths, for steering; repeatable.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Scopes, such as prompt or prompt[-1]; repeatable.")
    ] = None,
    edit: Annotated[list[str] | None, typer.Option(help="steer, ablate; repeatable.")] = None,
    random: Random = 0,
    screen: Annotated[
        int | None,
        typer.Option(help="Screen by attribution patching, and measure only so many cells.", min=1),
    ] = None,
    model: Named = None,
    organism: OfOrganism = None,
    contrast: Words = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure margins over a grid of layers, strengths, scopes and edits; a stopped sweep resumes.

    Example: erosion sweep --organism insecure --direction runs/v.safetensors --by 1 --by 4 --out runs/sweep
    """

    def work() -> None:
        from erosion.cli.terminal import OUTPUT, bar, show_json, show_table
        from erosion.directions import import_directions
        from erosion.sweeps import attribution
        from erosion.sweeps import sweep as measured

        which, found = Which(model, organism, device, dtype), import_directions(direction)
        along = {v.site: v for v in ([chosen(found, one) for one in layer] if layer else found.values())}
        words = unseen(which.words(contrast), along)
        cells = _grid(along, edit or ["steer"], by or [1.0], scope or ["all"], random, seed)
        with bar(), which.opened() as opened:
            screened = attribution(opened, words, cells) if screen is not None else None
            kept = screened.top(screen) if screened is not None and screen is not None else cells
            result = measured(opened, words, kept, keep=out / "steps")
        path = result.save(out / "sweep.json")
        if json:
            show_json(_as_json(result))
            return
        rows = [
            (said, *(str(result.change(i, metric)) for metric in result.units))
            for i, said in enumerate(result.said)
        ]
        show_table(("edit", *result.units), rows, left=1)
        if screened is not None:
            OUTPUT.print(_screened(screened, result), highlight=False)
        OUTPUT.print(f"Sweep: {path}", soft_wrap=True, highlight=False, markup=False)

    guarded(work, out=out)


def _screened(screened: Any, result: Any) -> str:
    """How many cells were screened and measured, and how far the screen is right among those measured."""
    from erosion.sweeps import screen_error

    said = (
        f"Screened {len(screened.cells)} cells by attribution patching, measured the {len(result)} largest."
    )
    return said if len(result) < 50 else f"{said} Among these, {screen_error(screened, result)}."


def _grid(
    along: Mapping["Site", "Direction"],
    edits: list[str],
    by: list[float],
    scopes: list[str],
    random: int,
    seed: int,
) -> tuple[Any, ...]:
    from erosion.directions import random_direction
    from erosion.sweeps import grid

    def make(layer: "Site", edit: str, by: float, scope: str, draw: int) -> Any:
        if edit == "ablate" and by != strengths[0]:
            return None  # an ablation has no strength: once is enough
        v = along[layer] if draw < 0 else random_direction(like=along[layer], seed=seed, draw=draw)
        return edit_of(edit, v, by=by, scope=scope)

    strengths = by
    draws = range(-1, random)  # -1 is the direction itself
    return grid(make, layer=list(along), edit=edits, by=by, scope=scopes, draw=draws)
