"""Choices about a triad in one call each: which direction and strength, and which dose and part.

One model is in memory at a time. An audit does the same step by step, each kept in its run folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.experiments.doses import dose_cells, doses, part_cells, parts_to_try
from erosion.experiments.results import Result
from erosion.experiments.sampling import Sampling
from erosion.experiments.selection import (
    Candidate,
    Tried,
    ablation_cells,
    addition_cells,
    candidates_of,
    choose,
    choose_strength,
    reported_cells,
    selection,
    strength_cells,
)
from erosion.models import Model, find, load, parts_of_change, writing_sites
from erosion.prompts import Contrast, Text
from erosion.sites import Site
from erosion.sweeps import Sweep, damage, sweep
from erosion.triads import Checkpoint, Triad

__all__ = ["doses_of", "select_causally"]


def select_causally(
    triad: Triad,
    directions: Mapping[str, Mapping[Site, Direction]],
    *,
    on: Contrast,
    texts: Sequence[Text],
    report_on: Contrast,
    sampling: Sampling | None = None,
) -> Result:
    """Choose layer, span and strength by what edits do, after arXiv 2406.11717; report it on other questions.

    :func:`erosion.select` chooses a layer by how well a direction separates; this one by what ablating it
    takes from the aligned model and adding it gives the tuned one (see
    :mod:`erosion.experiments.selection`).

    Args:
        triad: aligned and tuned; base is not asked.
        directions: span -> site -> direction, fitted in the aligned model.
        on: questions to choose on.
        texts: neutral texts, for the KL of each edit.
        report_on: held-out questions for the choice.
        sampling: draws and seed of the random directions.

    Returns:
        See :func:`erosion.selection`. ``result["chosen"]`` is None, with ``why``, where no candidate passes.

    Raises:
        BadInput: no direction, no text, or a question in both ``on`` and ``report_on``.
        BadDirection: a direction that was fitted on one of the questions.

    Time: passes over ``on``: 2 x candidates + 6; over the texts: candidates + 6; over ``report_on``:
    2 x (1 + random directions). Memory: one model, as :func:`erosion.sweep`.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> triad, contrast = organism.triad(), organism.contrast()
    >>> few = [contrast.only(contrast.questions[i : i + 8]) for i in (0, 8, 16)]
    >>> with er.load(triad.aligned) as model:
    ...     acts = er.read(model, few[0], sites=[er.Site(1), er.Site(2)])
    >>> v = {"response": er.directions_of(acts, er.difference_of_means)}
    >>> result = select_causally(triad, v, on=few[1], texts=organism.neutral()[:4], report_on=few[2])
    >>> len(result["rows"]), result["chosen"]["span"]
    (2, 'response')
    """
    shared = sorted(set(on.questions) & set(report_on.questions))
    if shared:
        raise BadInput(
            f"{len(shared)} questions are chosen and reported on (the first: {shared[0]}): a choice "
            "flatters itself there; split the contrast."
        )
    candidates, sampling = candidates_of(directions), sampling or Sampling()
    with load(triad.aligned) as model:
        cells = ablation_cells(candidates, at=writing_sites(model))
        ablated, harm, n_layers = sweep(model, on, cells), damage(model, texts, cells), model.n_layers
    with load(triad.tuned) as model:
        tried = Tried(ablated, sweep(model, on, addition_cells(candidates)), harm, n_layers)
        tried, picked = _strengths(model, tried, candidates, on, texts)
        if picked is None:
            return selection(tried, sampling=sampling)
        v, by = picked
        reported = reported_cells(v, by=by, sampling=sampling)
        tried = replace(tried, on_tuned=sweep(model, report_on, reported))
    with load(triad.aligned) as model:
        return selection(replace(tried, on_aligned=sweep(model, report_on, reported)), sampling=sampling)


def _strengths(
    model: Model, tried: Tried, candidates: Sequence[Candidate], on: Contrast, texts: Sequence[Text]
) -> tuple[Tried, tuple[Direction, float] | None]:
    """The chosen direction at every strength, and both choices; None where nothing is chosen."""
    chosen = choose(tried.ablation, tried.addition, tried.damage, n_layers=tried.n_layers)
    if chosen.index is None:
        return tried, None
    v = candidates[chosen.index].direction
    cells = strength_cells(v)
    strengths, harm = sweep(model, on, cells), damage(model, texts, cells)
    picked = choose_strength(strengths, harm).index
    tried = replace(tried, strengths=strengths, strength_damage=harm)
    return tried, None if picked is None else (v, float(strengths.cells[picked]["by"]))


def doses_of(
    triad: Triad, contrast: Contrast, *, benign: Contrast | None = None, sampling: Sampling | None = None
) -> Result:
    """Margins by dose of the fine-tune, and what each part of it restores when put back, or takes alone.

    Args:
        triad: aligned and tuned; base is not asked.
        contrast: the questions.
        benign: harmless questions with a right and a wrong answer, for the competence margin by dose.
        sampling: draws and seed of the bands.

    Returns:
        See :func:`erosion.doses`.

    Raises:
        BadModel: checkpoints between which no dose lies, as :func:`erosion.dosed`.
        BadInput: aligned and tuned have the same weights.

    Time: passes over the contrast: 7 doses, and 2 for each part. Memory: one model, and a copy of the
    parameters that change.

    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> few = organism.contrast().only(organism.contrast().questions[:6])
    >>> doses_of(organism.triad(), few).inputs["parts"]
    ['L0.mlp', 'L1.mlp', 'mlp']
    """
    aligned, tuned = triad.aligned, triad.tuned
    with _both(tuned, aligned) as model:
        changes = parts_of_change(model, aligned, tuned)
        parts = parts_to_try(changes)
        if not parts:
            raise BadInput(f"{aligned} and {tuned} have the same weights: there is nothing to dose.")
        by_dose = sweep(model, contrast, dose_cells(aligned, tuned))
        restored = sweep(model, contrast, part_cells(aligned, tuned, parts, restored=True))
        competence: Sweep | None = None
        if benign is not None:
            competence = sweep(model, benign, dose_cells(aligned, tuned))
    with _both(aligned, tuned) as model:
        grafted = sweep(model, contrast, part_cells(aligned, tuned, parts, restored=False))
    return doses(by_dose, restored, grafted, changes, competence=competence, sampling=sampling)


def _both(here: Checkpoint, there: Checkpoint) -> Model:
    """One of the two loaded; adapters of both attached where they stand on the same weights."""
    return load(here, also=[there] if find(here).weights == find(there).weights else [])
