"""Readings behind choices: candidates for a direction on the select split, and doses of the fine-tune."""

from collections.abc import Mapping
from typing import Any

from erosion.activations import directions_of
from erosion.auditing.bench import Bench, Format
from erosion.auditing.readings.edits import SWEEP, decided
from erosion.auditing.readings.formats import PLAIN
from erosion.auditing.readings.vectors import directions, last
from erosion.directions import difference_of_means
from erosion.errors import BadModel
from erosion.experiments.doses import dose_cells, part_cells, parts_to_try
from erosion.experiments.selection import (
    Candidate,
    Tried,
    ablation_cells,
    addition_cells,
    candidates_of,
    choose,
    choose_strength,
    reported_cells,
    strength_cells,
)
from erosion.models import Change, dosed, parts_of_change, writing_sites
from erosion.prompts import Contrast
from erosion.sweeps import Cell, Damage, Sweep, damage, sweep

__all__ = ["ablations", "dose_sweeps", "tried"]

DAMAGE = Format[Damage](
    lambda found, path: PLAIN.save(found.to_json(), path), lambda path: Damage.from_json(PLAIN.load(path))
)


def ablations(bench: Bench, name: str) -> tuple[Sweep, Damage] | None:
    """Every candidate ablated in the aligned model: its margin on the select split, and neutral texts."""
    prepared = bench.prepared
    if name != "aligned" or not prepared.texts or not prepared.parts["select"]:
        return None
    candidates = _candidates(bench)

    def cells(model: Any) -> tuple[Cell, ...]:
        return ablation_cells(candidates, at=writing_sites(model))

    margins = bench.kept(
        "selection-ablation",
        name,
        lambda model: sweep(model, _select(bench), cells(model)),
        SWEEP,
        **decided(bench),
    )
    harm = bench.kept(
        "selection-damage",
        name,
        lambda model: damage(model, prepared.texts, cells(model)),
        DAMAGE,
        texts=prepared.texts_hash,
        **decided(bench),
    )
    return margins, harm


def tried(bench: Bench, name: str) -> Tried | None:
    """All that selection measures, in the tuned model's turn: additions, strengths, and the chosen edit."""
    ablated = ablations(bench, "aligned") if name == "tuned" else None
    if ablated is None:
        return None
    prepared, candidates, known = bench.prepared, _candidates(bench), decided(bench)
    n_layers = prepared.shapes["aligned"].n_layers
    added = bench.kept(
        "selection-addition",
        name,
        lambda model: sweep(model, _select(bench), addition_cells(candidates)),
        SWEEP,
        **known,
    )
    chosen = choose(*ablated[:1], added, ablated[1], n_layers=n_layers)
    found = Tried(*ablated[:1], added, ablated[1], n_layers)
    if chosen.index is None:
        return found
    return _strengths(bench, found, candidates[chosen.index], {**known, "chosen": chosen.index})


def _strengths(bench: Bench, found: Tried, chosen: Candidate, known: dict[str, Any]) -> Tried:
    texts, v = bench.prepared.texts, chosen.direction
    strengths = bench.kept(
        "selection-strengths",
        "tuned",
        lambda model: sweep(model, _select(bench), strength_cells(v)),
        SWEEP,
        **known,
    )
    harm = bench.kept(
        "selection-strength-damage",
        "tuned",
        lambda model: damage(model, texts, strength_cells(v)),
        DAMAGE,
        texts=bench.prepared.texts_hash,
        **known,
    )
    picked = choose_strength(strengths, harm)
    if picked.index is None:
        return Tried(*_first(found), strengths, harm)
    by = float(strengths.cells[picked.index]["by"])
    cells = reported_cells(v, by=by, sampling=bench.prepared.config.sampling)
    reported = [
        bench.kept(
            "selection-held-out",
            name,
            lambda model: sweep(model, bench.prepared.edited, cells),
            SWEEP,
            strength=picked.index,
            **known,
        )
        for name in ("tuned", "aligned")
    ]
    return Tried(*_first(found), strengths, harm, *reported)


def _first(found: Tried) -> tuple[Sweep, Sweep, Damage, int]:
    return found.ablation, found.addition, found.damage, found.n_layers


def _candidates(bench: Bench) -> tuple[Candidate, ...]:
    fitted_on = last(bench, "aligned").of(bench.prepared.parts["fit"])
    at_the_end = directions_of(fitted_on, difference_of_means)
    return candidates_of({"response": directions(bench), "last_response": at_the_end})


def _select(bench: Bench) -> Contrast:
    return bench.prepared.contrast.only(bench.prepared.parts["select"], name="select")


def dose_sweeps(bench: Bench, name: str) -> Mapping[str, Any] | None:
    """Doses of the fine-tune and its parts put back, in the tuned model's turn; or ``why`` not."""
    if name != "tuned":
        return None
    changes = bench.kept("changes", name, lambda model: _changes(bench, model), PLAIN, **_pair(bench))
    if isinstance(changes, str):
        return {"why": changes}
    moved = [Change(**one) for one in changes]
    aligned, tuned = (bench.prepared.checkpoints[one] for one in ("aligned", "tuned"))
    parts = parts_to_try(moved)
    found: dict[str, Any] = {
        "changes": moved,
        "by dose": _swept(bench, "doses", "tuned", dose_cells(aligned, tuned)),
        "restored": _swept(bench, "restored", "tuned", part_cells(aligned, tuned, parts, restored=True)),
    }
    benign = bench.prepared.benign
    if benign is not None:
        cells = dose_cells(aligned, tuned)
        found["competence"] = _swept(bench, "doses-benign", "tuned", cells, benign)
    grafts = part_cells(aligned, tuned, parts, restored=False)
    return {**found, "grafted": _swept(bench, "grafted", "aligned", grafts)}


def _swept(
    bench: Bench, step: str, name: str, cells: tuple[Cell, ...], contrast: Contrast | None = None
) -> Sweep:
    asked = contrast or bench.prepared.edited
    return bench.kept(
        step,
        name,
        lambda model: sweep(model, asked, cells),
        SWEEP,
        asked=[asked.hash, asked.questions],
        **_pair(bench),
    )


def _changes(bench: Bench, model: Any) -> list[dict[str, Any]] | str:
    """How far each part moved; the reason where no dose is possible (one is tried) or nothing moved."""
    pair = [bench.prepared.checkpoints[one] for one in ("aligned", "tuned")]
    try:
        found = parts_of_change(model, *pair)
        with dosed(model, *pair, dose=0.5):
            pass
    except BadModel as error:
        return str(error)
    return [vars(one) for one in found] or "the weights of aligned and tuned are the same"


def _pair(bench: Bench) -> dict[str, Any]:
    return {one: bench.prepared.inputs(one) for one in ("aligned", "tuned")}
