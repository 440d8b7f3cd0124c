"""What the whole suite shares: no network, no cache of the user's, tiny models loaded once per session."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
collect_ignore_glob = ["conftest.py", "*/conftest.py"]  # several of one name: no doctest can import both
torch.set_num_threads(1)  # two torch processes with two threads each starve each other on two cores


_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hashes are cached in a folder of this session, never in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Architecture -> a folder with ``weights`` and ``adapter``, made once per session."""
    import zoo

    root = tmp_path_factory.mktemp("zoo")

    def folder(name: str) -> Path:
        made = root / name
        if not made.exists():
            zoo.save(name, made / "weights")
            zoo.save_adapter(name, made / "adapter", weights=made / "weights")
        return made

    return folder


@pytest.fixture(scope="session")
def zoo_model(zoo_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """Architecture -> the loaded model without an adapter, loaded once per session."""
    from erosion.models import load

    loaded: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in loaded:
            loaded[name] = load(zoo_folder(name) / "weights")
        return loaded[name]

    return model


@pytest.fixture(scope="session")
def adapted_model(zoo_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """Architecture -> the loaded model with its adapter attached and on, loaded once per session."""
    from erosion.models import load
    from erosion.triads import Checkpoint

    loaded: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in loaded:
            folder = zoo_folder(name)
            loaded[name] = load(Checkpoint(str(folder / "weights"), adapter=str(folder / "adapter")))
        return loaded[name]

    return model


@pytest.fixture(scope="session")
def contrast() -> Any:
    """A few questions in each domain of the organism's contrast."""
    from tests.auditing.small import few_questions

    return few_questions()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, contrast: Any) -> Any:
    """One small audit of the shipped organism, done once for all laws about run folders."""
    import erosion as er
    from tests.auditing.small import QUICK

    out = tmp_path_factory.mktemp("runs") / "insecure"
    return er.audit(er.load_organism().triad("insecure"), contrast, out=out, **QUICK)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless; without one a test is skipped, but fails where it is required (as in CI)."""
    found = next((w for w in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if w), None)
    if found is None:
        absent = pytest.fail if os.environ.get("EROSION_BROWSER_TESTS") == "required" else pytest.skip
        absent("No Chromium here: install it (Debian: apt-get install chromium).")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=found, args=_CHROMIUM)
        yield one
        one.close()
