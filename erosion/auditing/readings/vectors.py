"""What lies inside each model: one vector for each exchange, at the sites that the experiments ask for."""

from erosion.activations import Activations, read, read_texts
from erosion.auditing.bench import Bench
from erosion.auditing.fitting import directions_in, fit_directions
from erosion.auditing.readings.formats import VECTORS
from erosion.directions import Direction
from erosion.experiments import Result
from erosion.experiments.dynamics_attribution import write_sites
from erosion.sites import Site, parse_site

__all__ = [
    "activations",
    "benign_activations",
    "benign_last",
    "directions",
    "fitted",
    "last",
    "selected",
    "texts",
    "writes",
]


def activations(bench: Bench, name: str) -> Activations:
    """One vector for each exchange at every layer: the mean over the response."""
    prepared = bench.prepared
    return bench.kept(
        "activations", name, lambda model: read(model, prepared.contrast, sites=prepared.sites), VECTORS
    )


def benign_activations(bench: Bench, name: str) -> Activations | None:
    """The same of right and wrong answers to harmless questions."""
    benign = bench.prepared.benign
    if benign is None:
        return None
    sites = bench.prepared.sites
    return bench.kept(
        "benign-activations",
        name,
        lambda model: read(model, benign, sites=sites),
        VECTORS,
        benign=benign.hash,
    )


def last(bench: Bench, name: str) -> Activations:
    """One vector for each exchange at every layer: its last response token, as the paper reads it."""
    prepared = bench.prepared
    return bench.kept(
        "last",
        name,
        lambda model: read(model, prepared.contrast, sites=prepared.sites, span="last_response"),
        VECTORS,
    )


def benign_last(bench: Bench, name: str) -> Activations | None:
    """The last token of right and wrong answers to harmless questions."""
    benign = bench.prepared.benign
    if benign is None:
        return None
    sites = bench.prepared.sites
    return bench.kept(
        "benign-last",
        name,
        lambda model: read(model, benign, sites=sites, span="last_response"),
        VECTORS,
        benign=benign.hash,
    )


def texts(bench: Bench, name: str) -> Activations | None:
    """One vector for each neutral text at every layer."""
    prepared = bench.prepared
    if not prepared.texts:
        return None
    return bench.kept(
        "texts",
        name,
        lambda model: read_texts(model, prepared.texts, sites=prepared.sites),
        VECTORS,
        texts=prepared.texts_hash,
    )


def fitted(bench: Bench) -> Result:
    """The directions' own result; fits and keeps them where that was not done."""
    return fit_directions(bench, activations(bench, "aligned"))


def directions(bench: Bench) -> dict[Site, Direction]:
    """The answer direction of the aligned model at every layer."""
    fitted(bench)
    return directions_in(bench.folder.path)


def selected(bench: Bench) -> Site:
    """The site that separates the sides best on the select split."""
    return parse_site(fitted(bench)["selected"]["site"])


def writes(bench: Bench, name: str) -> Activations | None:
    """The stream before and after every half block up to the selected layer, on held-out questions."""
    if name == "base":
        return None
    tested, at = bench.prepared.tested, selected(bench)
    return bench.kept(
        "writes",
        name,
        lambda model: read(model, tested, sites=write_sites(model.anatomy.points, at)),
        VECTORS,
        tested=tested.questions,
        at=str(at),
    )
