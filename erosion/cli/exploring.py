"""The command that opens the explorer."""

from pathlib import Path
from typing import Annotated

import typer

from erosion.cli.exits import guarded
from erosion.cli.one_model import Device, Dtype
from erosion.errors import BadInput

__all__ = ["explore"]


def explore(
    run: Annotated[Path | None, typer.Argument(help="A finished run folder.")] = None,
    organism: Annotated[
        str | None, typer.Option(help="In place of a run: this fine-tune of the shipped organism.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The model before alignment.")] = None,
    aligned: Annotated[str | None, typer.Option(help="In place of a run: the aligned model.")] = None,
    tuned: Annotated[
        str | None, typer.Option(help="The fine-tune: weights or a LoRA adapter folder.")
    ] = None,
    contrast: Annotated[
        str | None, typer.Option(help="What directions are fitted on: a built-in contrast or JSONL.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="A saved state to open with.")] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Open a local page: type a prompt, steer with sliders, see all answers with coloured tokens.

    Example: erosion explore runs/first
    """

    def work() -> None:
        from erosion.exploring import explore as open_page
        from erosion.exploring import load_state
        from erosion.models import Placement
        from erosion.organisms import load_organism
        from erosion.triads import Triad

        given = [one for one in (run, organism, aligned) if one is not None]
        if len(given) != 1:
            raise BadInput("Name one: a run folder, --organism NAME, or --aligned and --tuned.")
        if aligned is None and (base or tuned or contrast):
            raise BadInput(
                "--base, --tuned and --contrast go with --aligned: a run or an organism has its own."
            )
        start = None if state is None else load_state(state)
        options = {"start": start, "port": port, "open_browser": browser}
        if run is not None:
            chosen = None if (device, dtype) == ("auto", "auto") else Placement(device, dtype=dtype)
            open_page(run, placement=chosen, **options)
        elif organism is not None:
            shipped = load_organism()
            here = Placement(device, dtype="float32")
            open_page(shipped.triad(organism), contrast=shipped.contrast(), placement=here, **options)
        else:
            if tuned is None:
                raise BadInput("--aligned needs --tuned beside it: the fine-tune's folder or hub name.")
            triad = Triad(base=base, aligned=str(aligned), tuned=tuned)
            open_page(triad, contrast=contrast, placement=Placement(device, dtype=dtype), **options)

    guarded(work)
