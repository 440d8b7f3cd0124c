"""The directions of an audit: fitted once from the aligned model's activations, scored, selected and kept."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from erosion.activations import Activations, directions_of
from erosion.auditing.bench import Bench
from erosion.directions import Direction, difference_of_means, load_directions, save
from erosion.errors import BadDirection, BadInput
from erosion.experiments import Result, Selection, dimensions, load_result, select
from erosion.experiments.dimensions import separations
from erosion.experiments.results import NOT_DONE
from erosion.sites import Site

__all__ = ["directions_in", "fit_directions"]

_KEPT = "difference-of-means.safetensors"


def fit_directions(bench: Bench, acts: Activations) -> Result:
    """Fit, score and keep every direction; the difference of means is what later steps use.

    The directions lie in ``directions/`` of the run folder, and go with the step that wrote them: where a
    file is missing the step is done again.
    """
    prepared, folder = bench.prepared, bench.folder
    fits = folder.path / "directions"
    inputs = {
        **prepared.inputs("aligned"),
        "parts": prepared.parts,
        "sampling": vars(prepared.config.sampling),
    }

    def make() -> Result:
        result, fitted = _fitted(bench, acts)
        chosen = _selected(fitted["difference of means"], acts.of(prepared.parts["select"]))
        for fit, by_site in fitted.items():
            save(by_site, fits / f"{fit.replace(' ', '-')}.safetensors")
        return replace(result, ours={**result.ours, "selected": chosen})

    if not (fits / _KEPT).is_file():
        for stale in (folder.path / "steps").glob("dimensions-*.json"):
            stale.unlink()
    return folder.step("dimensions", inputs, make, save=Result.save, load=load_result)


def _selected(directions: Mapping[Site, Direction], on: Activations) -> dict[str, object]:
    """The layer that separates the sides best; where none does, the least bad, and why it is no choice."""
    try:
        return select(directions, on=on).to_json()
    except BadDirection as error:
        table = separations(directions, on=on)
        best = max(table, key=lambda site: table[site])
        return {**Selection(directions[best], table).to_json(), "why": str(error)}


def _fitted(bench: Bench, acts: Activations) -> tuple[Result, Mapping[str, Mapping[Site, Direction]]]:
    """The experiment and its directions; the directions alone where the questions are too few for it."""
    prepared = bench.prepared
    fit, held_out = prepared.parts["fit"], prepared.parts["held_out"]
    try:
        return dimensions(
            acts,
            fit=fit,
            held_out=held_out,
            sampling=prepared.config.sampling,
            domains=prepared.domains,
        )
    except BadInput as error:
        alone = {"difference of means": directions_of(acts.of(fit), difference_of_means)}
        return Result("dimensions", {NOT_DONE: str(error)}, {}, {}), alone


def directions_in(folder: Path) -> dict[Site, Direction]:
    """The answer direction at every layer, as an audit keeps it."""
    return load_directions(folder / "directions" / _KEPT)
