"""Rebuild the picture that the README shows: the first screen of the demo's report.

python assets/make.py [RUN]        (needs Chromium; audits the shipped organism first unless RUN is given)
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import erosion as er

HERE = Path(__file__).parent


def main() -> None:
    """Audit, draw, and take the picture."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("No Chromium here: install it to rebuild the picture.")
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            run = er.open_run(sys.argv[1])
        else:
            organism = er.load_organism()
            run = er.audit(
                organism.triad("insecure"),
                organism.contrast(),
                out=Path(folder) / "run",
                trained_domains=list(organism.trained_domains),
                dtype="float32",
            )
        page = er.report(run, out=Path(folder) / "report.html")
        flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=8000"]
        size = ["--window-size=1100,1480", "--force-device-scale-factor=1"]
        picture = f"--screenshot={HERE / 'report.png'}"
        subprocess.run([browser, *flags, *size, picture, page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
