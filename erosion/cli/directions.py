"""The commands for directions themselves: fit them, look at them, take them to other tools and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from erosion.cli.audits import Json
from erosion.cli.exits import guarded
from erosion.errors import BadInput

if TYPE_CHECKING:
    from erosion.directions import Direction
    from erosion.prompts import Contrast
    from erosion.sites import Site
    from erosion.triads import Checkpoint

__all__ = ["direction"]

direction = typer.Typer(
    help="Answer directions: fit, show, export, import.", no_args_is_help=True, rich_markup_mode=None
)

_LENGTHS = ("scale", "scale / norm")
_HELD_OUT = "held out"

File = Annotated[Path, typer.Argument(help="Directions: our own file, a .gguf control vector, or tensors.")]


@direction.command("fit")
def fit_command(
    out: Annotated[Path, typer.Option("--out", help="The file of directions, .safetensors.")],
    model: Annotated[str | None, typer.Option(help="The aligned model: hub name or folder.")] = None,
    organism: Annotated[
        str | None,
        typer.Option(help="In place of a model: what this fine-tune of the shipped organism started from."),
    ] = None,
    contrast: Annotated[
        str | None, typer.Option(help="A built-in contrast or a JSONL file; the organism brings its own.")
    ] = None,
    trained_domain: Annotated[
        list[str] | None,
        typer.Option(help="A domain that a fine-tune was trained on, to be left out; repeatable."),
    ] = None,
    span: Annotated[str, typer.Option(help="Over which tokens an answer is read.")] = "response",
    fit: Annotated[
        str,
        typer.Option(help="difference-of-means, principal-component, whitened or logistic-probe."),
    ] = "difference-of-means",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16, float16; the organism's is float32.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split and of the intervals.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Fit a direction at every layer of the aligned model and score it on questions that it has not seen.

    Questions are split as in an audit: 0.4 to fit on, 0.2 left for choosing a layer, 0.4 to score on.

    Example: erosion direction fit --organism insecure --out runs/directions.safetensors
    """

    def work() -> None:
        from erosion.cli.terminal import bar
        from erosion.directions import save
        from erosion.models import Placement

        _require_own_format(out)
        checkpoint, words = _asked(model, organism, contrast, trained_domain or [])
        placement = Placement(device=device, dtype=dtype or ("auto" if organism is None else "float32"))
        with bar():
            found = _fitted(checkpoint, words, placement=placement, span=span, fit=fit, seed=seed)
        save(found, out)
        _show_scores(found, out, json=json)

    guarded(work)


@direction.command("show")
def show(file: File, json: Json = False) -> None:
    """Say what each direction of a file was made from: its passport.

    Example: erosion direction show runs/directions.safetensors
    """

    def work() -> None:
        from erosion.cli.terminal import show_json, show_table
        from erosion.directions import import_directions
        from erosion.directions.passport import to_plain

        found = import_directions(file)
        if json:
            show_json({str(site): to_plain(v.passport) for site, v in found.items()})
            return
        titles = ("site", "fit", "positive", "model", "span", "width", "questions", *_LENGTHS, _HELD_OUT)
        show_table(titles, [_passport_row(v) for v in found.values()], left=5)

    guarded(work)


@direction.command("export")
def export(
    file: File,
    to: Annotated[
        Path, typer.Option(help="out.gguf (llama.cpp, repeng) or out.safetensors (plain tensors).")
    ],
    layer: Annotated[
        list[int] | None, typer.Option(help="Only this layer; repeatable. All of a file act at once.")
    ] = None,
    model_hint: Annotated[
        str | None,
        typer.Option(help="What a .gguf says it is for, such as qwen2; the passports' model if not given."),
    ] = None,
) -> None:
    """Write directions for another tool, as vectors of full length: strength 1 there is by=1 here.

    Example: erosion direction export runs/directions.safetensors --to runs/v.gguf --layer 2
    """

    def work() -> None:
        import warnings

        from erosion.cli.terminal import ERRORS
        from erosion.directions import export_gguf, export_tensors, import_directions

        if to.suffix not in (".gguf", ".safetensors"):
            raise BadInput(f"--to {to} is neither .gguf nor .safetensors: call it one of them.")
        chosen = _at_layers(import_directions(file), layer or [], file)
        if to.exists() and to.samefile(file):
            raise BadInput(f"--to {to} is the file itself, and vectors are rounded: choose another name.")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if to.suffix == ".gguf":
                export_gguf(chosen, to, model_hint=model_hint or _model_of(chosen, file))
            else:
                export_tensors(chosen, to)
        for warning in said:
            ERRORS.print(f"erosion: {warning.message}", soft_wrap=True, highlight=False, markup=False)
        print(to)

    guarded(work)


@direction.command("import")
def import_command(
    file: File,
    out: Annotated[Path, typer.Option("--out", help="Our own file, .safetensors.")],
    model: Annotated[
        str | None, typer.Option(help="The model to name where no passport travelled along.")
    ] = None,
) -> None:
    """Read directions that another tool, or export, has written, and save them with passports.

    Example: erosion direction import theirs.gguf --out runs/theirs.safetensors
    """

    def work() -> None:
        from erosion.cli.terminal import ERRORS
        from erosion.directions import import_directions, save

        _require_own_format(out)
        found = import_directions(file, model=model)
        print(save(found, out))
        if any(v.passport.questions is None for v in found.values()):
            ERRORS.print(
                "erosion: which questions these were fitted on is unknown, so no use on them is refused.",
                soft_wrap=True,
                highlight=False,
            )

    guarded(work)


def _asked(
    model: str | None, organism: str | None, contrast: str | None, trained: list[str]
) -> tuple["Checkpoint | str", "Contrast"]:
    """Which model to read, and the questions outside the trained domains.

    Raises:
        BadInput: both or neither of model and organism, or a domain that the contrast does not have.
    """
    from erosion.prompts import load_contrast

    if (model is None) == (organism is None):
        raise BadInput("Give the aligned model with --model, or --organism insecure: one of them.")
    if organism is None:
        checkpoint, words = str(model), load_contrast(contrast or "everyday")
    else:
        import torch

        from erosion.organisms import load_organism

        torch.set_num_threads(1)  # matrices of 64 columns: threads cost more than they bring
        shipped = load_organism()
        checkpoint = shipped.triad(organism).aligned
        words = load_contrast(contrast) if contrast else shipped.contrast()
        trained = trained or (list(shipped.trained_domains_of(organism)) if contrast is None else [])
    domains = list(dict.fromkeys(words.domains))
    unknown = [domain for domain in trained if domain not in domains]
    if unknown:
        raise BadInput(f"There is no domain {unknown[0]!r} to leave out: there are {', '.join(domains)}.")
    kept = [domain for domain in domains if domain not in trained]
    if not kept:
        raise BadInput("Every domain is left out: keep at least one to fit on.")
    return checkpoint, words.of_domain(*kept)


def _fitted(
    checkpoint: "Checkpoint | str", words: "Contrast", *, placement: Any, span: str, fit: str, seed: int
) -> dict["Site", "Direction"]:
    """A direction at every layer, its held-out AUC in its passport."""
    from erosion.activations import directions_of, read
    from erosion.experiments import Sampling
    from erosion.experiments.dimensions import FITS
    from erosion.experiments.dimensions_scores import auc_band, pairs_of
    from erosion.models import every_layer, load

    known = {name.replace(" ", "-"): one for name, one in FITS.items()}
    if fit not in known:
        raise BadInput(f"There is no fit {fit!r}: choose one of {', '.join(known)}.")
    training, _, held_out = words.split(0.4, 0.2, 0.4, seed=seed)
    with load(checkpoint, placement=placement) as model:
        acts = read(model, words, sites=every_layer(model), span=span)
    found = directions_of(acts.of(training.questions), known[fit])
    band = auc_band(found, pairs_of(acts.of(held_out.questions)), sampling=Sampling(seed=seed))
    return {
        site: v.stamped(held_out={"metric": "AUC", **band.at(site.layer).to_json()})
        for site, v in found.items()
    }


def _show_scores(found: dict["Site", "Direction"], out: Path, *, json: bool) -> None:
    from erosion.cli.terminal import show_json, show_table
    from erosion.directions.passport import to_plain

    if json:
        show_json({"file": str(out), "directions": {str(s): to_plain(v.passport) for s, v in found.items()}})
        return
    titles = ("layer", *_LENGTHS, f"{_HELD_OUT} [95%, all layers at once]")
    show_table(titles, [(f"L{site.layer}", *_lengths(v), _score(v)) for site, v in found.items()], left=1)
    print(out)


def _passport_row(v: "Direction") -> tuple[str, ...]:
    p = v.passport
    fit = f"{p.fit} at {p.fitted_at}" if p.fitted_at else p.fit
    positive = "unknown" if p.sign is None else p.sign.removesuffix(" is positive")
    model = "unknown" if p.model is None else Path(p.model).name if Path(p.model).is_absolute() else p.model
    seen = "unknown" if p.questions is None else str(len(p.questions))
    words = (str(p.site), fit, positive, model, p.span or "unknown", str(len(v.vector)), seen)
    return (*words, *_lengths(v), _score(v))


def _lengths(v: "Direction") -> tuple[str, str]:
    norm = v.passport.residual_norm
    return f"{v.scale:.3g}", f"{v.scale / norm:.3g}" if norm else "-"


def _score(v: "Direction") -> str:
    told = v.passport.held_out or {}
    value, low, high = (told.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{told.get('metric', 'score')} {value:.3f}{ends}"


def _require_own_format(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise BadInput(f"--out {out} is no .safetensors file: call it so; export makes other formats.")


def _at_layers(found: dict["Site", "Direction"], layers: list[int], file: Path) -> dict["Site", "Direction"]:
    there = {site.layer for site in found}
    missing = [layer for layer in layers if layer not in there]
    if missing:
        raise BadInput(f"{file} holds no layer {missing[0]}: it holds {', '.join(map(str, sorted(there)))}.")
    return {site: v for site, v in found.items() if not layers or site.layer in layers}


def _model_of(found: dict["Site", "Direction"], file: Path) -> str:
    models = {v.passport.model for v in found.values()}
    if len(models) != 1 or None in models:
        raise BadInput(f"The passports of {file} name no one model: say what it is for with --model-hint.")
    return str(models.pop())
