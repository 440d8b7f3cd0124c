"""Bring the files that live at the root of the repository into the site."""

from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[2]
if __name__ == "<run_path>":  # how mkdocs-gen-files runs it
    for _name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        with mkdocs_gen_files.open(_name.lower(), "w") as _file:
            _file.write((ROOT / _name).read_text(encoding="utf-8"))
    with mkdocs_gen_files.open("assets/report.png", "wb") as _file:
        _file.write((ROOT / "assets" / "report.png").read_bytes())
