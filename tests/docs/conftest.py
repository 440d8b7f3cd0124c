"""One folder in which every page's blocks run: two small runs of the shipped organism, and directions."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, contrast: Any, run: Any) -> Path:
    """A folder with ``runs/demo-insecure``, ``runs/demo-secure`` and ``runs/directions.safetensors``."""
    import erosion as er
    from tests.auditing.small import QUICK

    place, organism = tmp_path_factory.mktemp("docs"), er.load_organism()
    shutil.copytree(run.path, place / "runs" / "demo-insecure")
    out = place / "runs" / "demo-secure"
    er.audit(organism.triad("secure"), contrast, out=out, experiments=["distributions"], **QUICK)
    everyday = contrast.of_domain(*(domain for domain in dict.fromkeys(contrast.domains) if domain != "code"))
    with er.load(organism.triad("insecure").aligned) as model:
        acts = er.read(model, everyday.split(0.4, 0.2, 0.4, seed=0)[0], sites=er.every_layer(model))
    er.save(er.directions_of(acts, er.difference_of_means), place / "runs" / "directions.safetensors")
    return place


@pytest.fixture
def inside(workplace: Path) -> Iterator[Path]:
    """The working directory is that folder."""
    before = Path.cwd()
    os.chdir(workplace)
    yield workplace
    os.chdir(before)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, once for all workers; whatever mkdocs warns of is an error.

    Never with ``--quiet``: mkdocs then does not count warnings, and nothing is strict.
    """
    pytest.importorskip("mkdocs", reason="the site is built with the dev extra")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    out, said = shared / "site", shared / "site.txt"
    with FileLock(shared / "site.lock"):
        if not said.exists():
            done = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
                cwd=ROOT,
                env={**os.environ, "DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            said.write_text(f"{done.returncode}\n{done.stderr[-2000:]}", encoding="utf-8")
    told = said.read_text(encoding="utf-8")
    assert told.startswith("0\n"), told
    return out
