"""The directions of an audit: fitted once from the aligned model's activations, scored, selected and kept."""

from dataclasses import replace
from pathlib import Path

from erosion.activations import Activations
from erosion.auditing.bench import Bench
from erosion.directions import Direction, load_directions, save
from erosion.experiments import Result, dimensions, load_result, select
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
        result, fitted = dimensions(
            acts,
            fit=prepared.parts["fit"],
            held_out=prepared.parts["held_out"],
            sampling=prepared.config.sampling,
            domains=prepared.domains,
        )
        chosen = select(fitted["difference of means"], on=acts.of(prepared.parts["select"]))
        for fit, by_site in fitted.items():
            save(by_site, fits / f"{fit.replace(' ', '-')}.safetensors")
        return replace(result, ours={**result.ours, "selected": chosen.to_json()})

    if not (fits / _KEPT).is_file():
        for stale in (folder.path / "steps").glob("dimensions-*.json"):
            stale.unlink()
    return folder.step("dimensions", inputs, make, save=Result.save, load=load_result)


def directions_in(folder: Path) -> dict[Site, Direction]:
    """The answer direction at every layer, as an audit keeps it."""
    return load_directions(folder / "directions" / _KEPT)
