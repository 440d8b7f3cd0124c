"""The commands. Nothing heavy is imported before a command runs, so that ``--help`` answers at once."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from erosion import __version__
from erosion.cli.exits import NOT_PASSED, catching_signals, guarded
from erosion.errors import BadInput

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
app.add_typer(organism, name="organism")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of a table.")]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder.")]


def main() -> None:
    """Run the command line."""
    catching_signals()
    guarded(lambda: app(standalone_mode=True))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    tuned: Annotated[
        str, typer.Option(help="Which fine-tune of the shipped organism to audit.")
    ] = "insecure",
    out: Out = None,
    json: Json = False,
) -> None:
    """Audit the shipped organism, offline, and write a report.

    Example: erosion demo --tuned secure --out runs/secure
    """
    out = out or Path("runs") / f"demo-{tuned}"

    def work() -> None:
        import torch

        from erosion.organisms import load_organism

        torch.set_num_threads(
            1
        )  # matrices of 64 columns: threads cost more than they bring, most of all shared
        shipped = load_organism()
        _audit(
            {"triad": shipped.triad(tuned), "contrast": shipped.contrast()},
            {"trained_domains": list(shipped.trained_domains), "dtype": "float32", "out": str(out)},
            dry_run=False,
            json=json,
        )

    guarded(work, out=out)


@app.command()
def audit(
    config: Annotated[Path | None, typer.Argument(help="CONFIG.yaml; flags win over it.")] = None,
    base: Annotated[str | None, typer.Option(help="The model before alignment: hub name or folder.")] = None,
    aligned: Annotated[str | None, typer.Option(help="The aligned model.")] = None,
    tuned: Annotated[
        str | None, typer.Option(help="The fine-tune: weights or a LoRA adapter folder.")
    ] = None,
    contrast: Annotated[str | None, typer.Option(help="A built-in contrast or a JSONL file.")] = None,
    trained_domain: Annotated[
        list[str] | None, typer.Option(help="A domain that the fine-tune was trained on; repeatable.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="aligned, plain, or the path of a .jinja file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16, float16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split and of every draw.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key of the config, as key=value; repeatable.")
    ] = None,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do and take, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Audit a fine-tune against its aligned model and write a report.

    Example: erosion audit --aligned Qwen/Qwen2.5-0.5B-Instruct --tuned runs/insecure-code --out runs/first
    """

    def work() -> None:
        options: dict[str, Any] = {
            "base": base,
            "aligned": aligned,
            "tuned": tuned,
            "contrast": contrast,
            "trained_domains": trained_domain or None,
            "template": template,
            "device": device,
            "dtype": dtype,
            "seed": seed,
            "out": None if out is None else str(out),
            **_pairs(set_ or []),
        }
        _audit({}, {"config": config, **options}, dry_run=dry_run, json=json)

    guarded(work, out=out)


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


def _audit(what: dict[str, Any], options: dict[str, Any], *, dry_run: bool, json: bool) -> None:
    from erosion.auditing import audit as compute
    from erosion.auditing import prepare
    from erosion.cli.terminal import OUTPUT, bar, show_json, show_plan, show_verdict
    from erosion.reporting import report as draw

    with bar():
        prepared = prepare(**what, **dict(options))
    show_plan(prepared.plan)
    if dry_run:
        return
    with bar():
        run = compute(prepared=prepared)
        page = draw(run)
    if json:
        show_json({"run": str(run.path), "report": str(page), "verdict": run.summary["verdict"]})
        return
    show_verdict(run)
    OUTPUT.print(f"\nReport: {page}", soft_wrap=True, highlight=False, markup=False)


def _pairs(settings: list[str]) -> dict[str, Any]:
    """``key=value`` settings, the value read as YAML; dots reach inside (``split.fit=0.5``)."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise BadInput(f"--set {setting!r} has no value: write key=value.")
        inside = found
        *above, last = key.strip().split(".")
        for part in above:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise BadInput(
                    f"--set {setting!r} reaches into {part!r}, which was given a value: set one of them."
                )
        try:
            inside[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {setting!r} holds no YAML value: quote it, or write key=value.") from error
    return found
