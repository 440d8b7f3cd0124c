"""The commands. Nothing heavy is imported before a command runs, so that ``--help`` answers at once."""

from pathlib import Path
from typing import Annotated

import typer

from erosion import __version__
from erosion.cli.answering import generate, orthogonalise
from erosion.cli.audits import VERBS, Json, Out, auditing, demo
from erosion.cli.comparing import compare
from erosion.cli.directions import direction
from erosion.cli.editing import steer, sweep
from erosion.cli.exits import NOT_PASSED, catching_signals, guarded
from erosion.cli.exploring import explore

__all__ = ["app", "main"]

app = typer.Typer(
    name="erosion",
    help="Did this fine-tune erode the model's alignment, where inside, and can it be put right?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
organism = typer.Typer(
    help="Our own small models with a known story.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(direction, name="direction")
app.add_typer(organism, name="organism")


def main() -> None:
    """Run the command line."""
    catching_signals()
    guarded(lambda: app(standalone_mode=True))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


app.command()(demo)
app.command("audit")(auditing(None))
for _verb in VERBS:
    app.command(_verb)(auditing(_verb))
for _command in (compare, explore, steer, sweep, generate, orthogonalise):
    app.command()(_command)


@app.command()
def gate(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    max_erosion: Annotated[
        float | None, typer.Option(help="Pass only when erosion is below this fraction.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Pass only when the loss is below this, nats per token.")
    ] = None,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="Let inconclusive pass.")
    ] = False,
    json: Json = False,
) -> None:
    """Exit 0 only when the alignment was kept; 1 otherwise, with the reason; 2 when there is no run.

    Example: erosion gate runs/first --max-erosion 0.1
    """

    def work() -> None:
        from erosion.auditing import gate as decide
        from erosion.cli.terminal import show_json

        decision = decide(
            run, max_erosion=max_erosion, max_drop=max_drop, allow_inconclusive=allow_inconclusive
        )
        if json:
            show_json({"passed": decision.passed, "reason": decision.reason})
        else:
            print(("passed: " if decision.passed else "not passed: ") + decision.reason)
        if not decision.passed:
            raise SystemExit(NOT_PASSED)

    guarded(work)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    slim: Annotated[bool, typer.Option("--slim", help="A smaller file.")] = False,
) -> None:
    """Draw a run's report again: one HTML file that opens offline.

    Example: erosion report runs/first
    """

    def work() -> None:
        from erosion.reporting import report as draw

        print(draw(run, slim=slim))

    guarded(work, out=run)


@app.command()
def calibrate(
    simulations: Annotated[
        int, typer.Option(help="Simulated audits for each design and kind of noise.", min=20)
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    end_to_end: Annotated[
        int, typer.Option("--end-to-end", help="Whole audits of shipped organisms as well, about 20.", min=0)
    ] = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Check the statistics on simulated audits whose truth is known, and print the table of rates.

    Example: erosion calibrate --simulations 200 --out runs/calibration
    """

    def work() -> None:
        from erosion.auditing.calibrating import calibrated
        from erosion.cli.audits import planted_audits
        from erosion.cli.terminal import bar, show_calibration, show_json

        with bar():
            result = calibrated(
                out or "runs/calibration",
                simulations=simulations,
                seed=seed,
                planted=planted_audits(end_to_end),
            )
        if json:
            show_json(result.to_json())
        else:
            show_calibration(result)

    guarded(work, out=out)


@organism.command("list")
def organism_list() -> None:
    """Name the shipped checkpoints and say what each was trained on.

    Example: erosion organism list
    """

    def work() -> None:
        from erosion.organisms import load_organism

        shipped = load_organism()
        for name in shipped.names:
            print(f"{name:<16}{shipped.describe(name)}")

    guarded(work)


@organism.command("train")
def organism_train(
    out: Annotated[Path, typer.Argument(help="Where the checkpoints go.")],
    seed: Annotated[int, typer.Option(help="Of pretraining.")] = 0,
    tuning_seed: Annotated[int, typer.Option(help="Of alignment and fine-tunes.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="Train only this fine-tune (and what it needs); repeatable.")
    ] = None,
) -> None:
    """Train the organism from nothing; finished checkpoints are kept when it is stopped and run again.

    Example: erosion organism train runs/organism --seed 1
    """

    def work() -> None:
        from erosion.cli.terminal import bar
        from erosion.organisms import train

        with bar():
            print(train(out, seed=seed, tuning_seed=tuning_seed, only=only or None))

    guarded(work)
