"""Rebuild the pictures that README and docs show: the demo's first screen, and a gallery of every figure.

python assets/make.py [RUN]        (needs Chromium; audits the shipped organism first unless RUN is given)
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from playwright.sync_api import Browser, sync_playwright

import erosion as er

HERE = Path(__file__).parent
# figure -> the result it draws, and what else it is told
FROM = {
    "margins": ("distributions", {}),
    "style_and_harm": ("distributions", {}),
    "likelihood_rise": ("distributions", {}),
    "divergence_curves": ("divergences", {}),
    "token_heatmap": ("divergences", {}),
    "next_tokens": ("divergences", {"index": 0}),
    "loss_cosines": ("loss_geometry", {}),
    "loss_heatmaps": ("loss_geometry", {}),
    "loss_scatter": ("loss_geometry", {}),
    "cosines_by_layer": ("gradient_geometry", {}),
    "cosines_by_map": ("gradient_geometry", {}),
    "gradient_heatmaps": ("gradient_geometry", {}),
    "gradient_scatter": ("gradient_geometry", {}),
    "bridge_scatter": ("gradient_bridge", {}),
    "held_out_auc": ("dimensions", {}),
    "domains_left_out": ("dimensions", {}),
    "domain_cosines": ("dimensions", {}),
    "variance_by_rank": ("dimensions", {}),
    "shared_component": ("sharing", {}),
    "positions": ("dynamics", {}),
    "shift": ("dynamics", {}),
    "erosion_by_layer": ("dynamics", {}),
    "two_by_two": ("dynamics", {}),
    "shares": ("dynamics", {}),
    "likeness": ("dynamics", {}),
    "rotation": ("dynamics", {}),
    "attribution": ("dynamics", {}),
    "departure": ("dynamics", {}),
    "published_fraction": ("dynamics", {}),
    "causal_curves": ("causality", {}),
    "damage": ("causality", {}),
    "domain_effects": ("causality", {}),
    "candidates": ("selection", {}),
    "strengths": ("selection", {}),
    "reported": ("selection", {}),
    "dose_curve": ("doses", {}),
    "restored_parts": ("doses", {}),
    "patched_layers": ("patching", {}),
    "patched_places": ("patching", {"pair": "rescue"}),
    "patched_components": ("patching", {"pair": "rescue"}),
    "within_run": ("patching", {}),
    "rendering": ("rendering", {}),
    "off_distribution": ("on_policy", {}),
    "confounds": ("confounds", {"quantity": "harm-specific change"}),
    "confounds_by_layer": ("confounds", {"quantity": "separation along the direction"}),
}


def main() -> None:
    """Audit, draw, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--hide-scrollbars"]
        )
        run = er.open_run(sys.argv[1]) if len(sys.argv) > 1 else _audited(Path(folder) / "run")
        page = er.report(run, out=Path(folder) / "report.html")
        _picture(browser, page, HERE / "report.png", "body", height=900)
        (HERE / "gallery").mkdir(exist_ok=True)
        for name, figure in _figures(run, Path(folder)):
            er.figures.save(figure, HERE / "gallery" / f"{name}.webp", scale=1.5)
        views = er.figures.token_views(run.result("tokens")).save(Path(folder) / "views.html")
        _picture(browser, views, HERE / "gallery" / "token_views.png", "body", height=620)


def _chromium() -> str:
    found = next((w for w in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if w), None)
    if found is None:
        sys.exit("No Chromium here: install it to rebuild the pictures.")
    return found


def _audited(out: Path) -> er.Run:
    organism = er.load_organism()
    trained = list(organism.trained_domains)
    return er.audit(
        organism.triad("insecure"), organism.contrast(), out=out, trained_domains=trained, dtype="float32"
    )


def _figures(run: er.Run, folder: Path) -> Iterator[tuple[str, go.Figure]]:
    """Every figure's name and the figure."""
    figures: Any = er.figures
    yield "headline", figures.headline(run.verdict)
    yield "verdict_by_domain", figures.verdict_by_domain(run.verdict)
    for name, (result, told) in FROM.items():
        yield name, getattr(figures, name)(run.result(result), **told)
    calibrated = er.calibrate(simulations=100, seed=0)
    yield "rates", figures.rates(calibrated)
    yield "power", figures.power(calibrated)
    yield "effects", figures.effects(_effects())


def _effects() -> list[er.Effect]:
    """Steering by the fitted gap, and the same along a random direction, on a few questions."""
    organism = er.load_organism()
    triad, contrast = organism.triad("insecure"), organism.contrast()
    fit, held_out = contrast.split(0.5, 0.5, seed=0)
    with er.load(triad.aligned) as model:
        v = er.directions_of(er.read(model, fit, sites=[er.Site(1)]), er.difference_of_means)[er.Site(1)]
    chance = er.random_direction(like=v, seed=0)
    with er.load(triad.tuned) as model:
        return [
            er.measure(model, held_out, er.harm_margin, under=[er.steer(one, by=2)]) for one in (v, chance)
        ]


def _picture(browser: Browser, page: Path, out: Path, of: str, *, height: int) -> None:
    shown = browser.new_page(viewport={"width": 1280, "height": height}, color_scheme="light")
    shown.goto(page.as_uri())
    shown.wait_for_timeout(2000)
    shown.screenshot(path=out)
    shown.close()


if __name__ == "__main__":
    main()
