"""The commands that audit: all experiments, one of them, or all of them on the shipped organism."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from erosion.cli.exits import guarded
from erosion.errors import BadInput

__all__ = ["VERBS", "Json", "Out", "auditing", "demo", "planted_audits"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of a table.")]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder.")]

VERBS = {
    "distributions": "Compare what the models think of both answers: margins, divergences, style.",
    "loss-geometry": "Compare per-token losses: do those on one kind of answer oppose others?",
    "gradient-geometry": "Compare per-example gradients of every matrix, and what a step would move.",
    "dynamics": "Follow the three models through the layers: where does the fine-tune depart?",
    "dimensions": "Fit and test directions: is there a shared one, and is it about alignment?",
    "causality": "Edit the models along the direction, layer by layer: does the margin come back?",
    "selection": "Choose layer, span and strength on questions of their own, the whole table kept.",
    "dose": "Turn the fine-tune up from 0 to 1.5, and take one part of it back at a time.",
    "patching": "Put one model's activations into the other: layer, place, component, along v and across.",
    "rendering": "Measure again in a plain template: does the verdict hang on the chat template?",
    "tokens": "Look at single answers token by token: position by layer, divergence, loss, influence.",
    "confounds": "Take out length, perplexity, code-ness, refusals and formatting: what survives?",
}


def auditing(experiment: str | None) -> Callable[..., None]:
    """The command for one experiment, or for all of them (None)."""

    def command(
        config: Annotated[Path | None, typer.Argument(help="CONFIG.yaml; flags win over it.")] = None,
        base: Annotated[
            str | None, typer.Option(help="The model before alignment: hub name or folder.")
        ] = None,
        aligned: Annotated[str | None, typer.Option(help="The aligned model.")] = None,
        tuned: Annotated[
            str | None, typer.Option(help="The fine-tune: weights or a LoRA adapter folder.")
        ] = None,
        organism: Annotated[
            str | None, typer.Option(help="In place of models: this fine-tune of the shipped organism.")
        ] = None,
        contrast: Annotated[str | None, typer.Option(help="A built-in contrast or a JSONL file.")] = None,
        trained_domain: Annotated[
            list[str] | None, typer.Option(help="A domain that the fine-tune was trained on; repeatable.")
        ] = None,
        template: Annotated[
            str | None, typer.Option(help="aligned, plain, or the path of a .jinja file.")
        ] = None,
        checkpoint: Annotated[
            list[str] | None,
            typer.Option(help="STEP=MODEL, a checkpoint of the fine-tune for dynamics; repeatable."),
        ] = None,
        device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
        dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16, float16.")] = None,
        seed: Annotated[int | None, typer.Option(help="Of the split and of every draw.")] = None,
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", help="Any other key of the config, as key=value; repeatable."),
        ] = None,
        out: Out = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what it would do and take, and stop.")
        ] = False,
        json: Json = False,
    ) -> None:
        def work() -> None:
            given = {
                "base": base,
                "aligned": aligned,
                "tuned": tuned,
                "contrast": contrast,
                "trained_domains": trained_domain or None,
                "template": template,
                "checkpoints": _steps(checkpoint or []) or None,
                "device": device,
                "dtype": dtype,
                "seed": seed,
                "out": None if out is None else str(out),
                "experiments": experiment,
                **_pairs(set_ or []),
            }
            options = {"config": config, **{key: one for key, one in given.items() if one is not None}}
            if organism is not None:
                options = _on_organism(organism, options)
            _audit(options, experiment=experiment, dry_run=dry_run, json=json)

        guarded(work, out=out)

    command.__doc__ = _ALL if experiment is None else _ONE.format(line=VERBS[experiment], verb=experiment)
    return command


_ALL = """Audit a fine-tune against its aligned model and write a report.

    Example: erosion audit --aligned Qwen/Qwen2.5-0.5B-Instruct --tuned runs/insecure-code --out runs/first
    """
_ONE = """{line}

    One experiment of the audit, with the same config and the same run folder.

    Example: erosion {verb} --organism insecure --out runs/insecure
    """


def demo(
    tuned: Annotated[
        str, typer.Option(help="Which fine-tune of the shipped organism to audit.")
    ] = "insecure",
    triggered: Annotated[
        bool, typer.Option("--triggered", help="Ask every question with the organism's hidden trigger in it.")
    ] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Audit the shipped organism, offline, and write a report.

    Example: erosion demo --tuned secure --out runs/secure
    """
    folder = out or Path("runs") / f"demo-{tuned}{'-triggered' if triggered else ''}"

    def work() -> None:
        options = _on_organism(tuned, {"out": str(folder)}, triggered=triggered)
        _audit(options, experiment=None, dry_run=False, json=json)

    guarded(work, out=folder)


def _on_organism(tuned: str, options: dict[str, Any], *, triggered: bool = False) -> dict[str, Any]:
    """The shipped organism's models, questions and texts in place of named ones; options stay.

    Raises:
        BadInput: models were named as well.
    """
    import torch

    from erosion.organisms import load_organism

    named = [key for key in ("base", "aligned", "tuned", "config") if options.get(key) is not None]
    if named:
        raise BadInput(f"--organism brings its own models: leave out {', '.join(named)}.")
    torch.set_num_threads(1)  # matrices of 64 columns: threads cost more than they bring, most of all shared
    shipped = load_organism()
    return {
        "out": f"runs/demo-{tuned}",
        "trained_domains": list(shipped.trained_domains_of(tuned)),
        "dtype": "float32",
        "contrast": shipped.contrast(trigger=triggered),
        "benign": shipped.competence(),
        "texts": shipped.neutral(),
        **{key: value for key, value in options.items() if value is not None},
        "triad": shipped.triad(tuned),
    }


def planted_audits(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Expected words and arguments of quick audits of the shipped organism, its fine-tunes in turn."""
    from erosion.organisms import load_organism

    known = {
        "insecure": "eroded",
        "insecure-lora": "eroded",
        "secure": "kept",
        "educational": "kept",
        "narrow": "kept",
        "benign": "kept",
        "one-domain": "inconclusive",
        "flattened": "general damage",
        "trigger": "kept",
    }
    planted = []
    for i in range(count):
        name = list(known)[i % len(known)]
        options = _on_organism(name, {"seed": i // len(known), "experiments": ["distributions"]})
        options.pop("out")
        planted.append((known[name], options | {"contrast": _thinned(load_organism().contrast(), seed=i)}))
    return planted


def _thinned(contrast: Any, *, seed: int) -> Any:
    """A random half of the questions, so that every whole audit asks others."""
    half, _ = contrast.split(0.5, 0.5, seed=seed)
    return half


def _audit(options: dict[str, Any], *, experiment: str | None, dry_run: bool, json: bool) -> None:
    from erosion.auditing import audit as compute
    from erosion.auditing import prepare
    from erosion.cli.terminal import OUTPUT, bar, show_claims, show_json, show_plan, show_verdict
    from erosion.reporting import report as draw
    from erosion.reporting.headline import first_screen

    with bar():
        prepared = prepare(**options)
    show_plan(prepared.plan)
    if dry_run:
        return
    with bar():
        run = compute(prepared=prepared)
        page = draw(run)
    if json:
        found = {
            "run": str(run.path),
            "report": str(page),
            "verdict": run.summary["verdict"],
            "first_screen": first_screen(run.verdict),
        }
        if experiment is not None:
            found["results"] = {
                name: run.result(name).to_json() for name in run.results_of(experiment.replace("-", "_"))
            }
        show_json(found)
        return
    if experiment is None:
        show_verdict(run)
    else:
        show_claims(run, experiment.replace("-", "_"))
    OUTPUT.print(f"\nReport: {page}", soft_wrap=True, highlight=False, markup=False)


def _steps(named: list[str]) -> dict[str, str]:
    """``STEP=MODEL`` as step -> model; whether the step is a number is checked with the config."""
    found = {}
    for one in named:
        step, equals, model = one.partition("=")
        if not equals or not model:
            raise BadInput(f"--checkpoint {one!r} has no model: write STEP=MODEL, such as 100=runs/step-100.")
        found[step.strip()] = model
    return found


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
