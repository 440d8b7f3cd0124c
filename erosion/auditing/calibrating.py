"""Calibration as a job: every simulated design a step that is done once, and whole audits beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from erosion import __version__
from erosion.auditing.folder import opened
from erosion.auditing.pipeline import audit
from erosion.experiments import Result
from erosion.experiments.calibration import calibration, cells, end_to_end
from erosion.experiments.calibration_cells import measured
from erosion.files import hash_json
from erosion.progress import tracked

__all__ = ["calibrated"]


def calibrated(
    out: str | Path,
    *,
    simulations: int = 1000,
    seed: int = 0,
    planted: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> Result:
    """Simulate audits whose truth is known, and hold every rate against its target; a killed job resumes.

    Args:
        out: a folder: ``results/calibration.json``, and a step for each design.
        simulations: audits of each design at the smallest erosion of interest (71 times as many in all).
        seed: of every draw.
        planted: expected word and the arguments of :func:`erosion.audit` for models with a known story: whole
            audits that test the plumbing. They lie in folders of their own under ``out``.

    Raises:
        BadInput: too few simulations; a folder that holds something else.

    Time: about 0.3 s of one core for each of ``simulations``. Memory: one audit.
    """
    planned, out = cells(simulations=simulations, seed=seed), Path(out)
    asked = {"calibration": [simulations, seed], "erosion": __version__}
    with opened(out, hash_json(asked), f"a calibration of {simulations} simulations") as folder:
        manifest = {"schema": 1, "identity": hash_json(asked), "described": "calibration", "config": asked}
        folder.finish(manifest)
        found = [
            folder.json_step(f"cell-{i:03d}", cell.to_json(), lambda cell=cell: measured(cell))
            for i, cell in enumerate(tracked(planned, name="calibrating"))
        ]
        words = [
            (expected, audit(out=out / "audits" / f"{i:02d}", **options).verdict.word)
            for i, (expected, options) in enumerate(planted)
        ]
        result = end_to_end(calibration(found), words) if words else calibration(found)
        result.save(folder.results / "calibration.json")
        folder.finish(manifest)
    return result
