"""Write the gallery: every figure of ``er.figures``, drawn from the shipped organism, and how to read it."""

import logging
from pathlib import Path

import mkdocs_gen_files
import yaml

import erosion as er

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "assets" / "gallery"
NO_FIGURES = {"TokenViews", "save"}  # what one figure gives, and what saves them all
LOG = logging.getLogger("mkdocs.plugins.gallery")

INTRO = """# Gallery

Every public figure, drawn from the shipped organism. A figure is a pure function from a result to a
[plotly](https://plotly.com/python/) figure: it computes nothing, and needs no model. A title says what the
numbers establish and no more; a band or a whisker is the interval; grey is what chance would give.

```python
import erosion as er

run = er.open_run("runs/demo-insecure")
figure = er.figures.headline(run.verdict)
er.figures.save(figure, "headline.html")  # or .png, .svg, .pdf, .webp, .json
```

The pictures are rebuilt with `python assets/make.py`.
"""


def listed() -> dict[str, dict[str, dict[str, str]]]:
    """Section -> figure -> its call, how it is read and, where it is never drawn, why."""
    told = yaml.safe_load((HERE / "gallery.yml").read_text(encoding="utf-8"))
    return {
        section: there
        for section, figures in told.items()
        if (there := {name: entry for name, entry in figures.items() if hasattr(er.figures, name)})
    }


def unlisted() -> list[str]:
    """Figures that no section names."""
    named = {name for figures in listed().values() for name in figures}
    return sorted(set(er.figures.__all__) - named - NO_FIGURES)


def picture(name: str) -> Path | None:
    """Where the picture of a figure is, if it was drawn."""
    found = (PICTURES / f"{name}.{ending}" for ending in ("webp", "png", "svg"))
    return next((path for path in found if path.is_file()), None)


def _shown(name: str, entry: dict[str, str]) -> list[str]:
    lines = [f"### {name} {{ #{name} }}", "", entry["reads"], "", "```python", entry["call"], "```", ""]
    drawn = picture(name)
    if drawn is None and "why" not in entry:
        LOG.warning("There is no picture of er.figures.%s: run python assets/make.py", name)
    if drawn is None:
        why = entry.get("why", "it was not drawn yet, `python assets/make.py` draws it")
        lines += [f'<p class="missing" markdown="span">No picture: {why}.</p>', ""]
    else:
        with mkdocs_gen_files.open(f"gallery/{drawn.name}", "wb") as file:
            file.write(drawn.read_bytes())
        lines += [f"![{name}](gallery/{drawn.name}){{ .picture loading=lazy }}", ""]
    return [*lines, f"[`er.figures.{name}`][erosion.figures.{name}]", ""]


def _page() -> str:
    lines = [INTRO]
    for section, figures in listed().items():
        lines += [f"## {section}", ""]
        for name, entry in figures.items():
            lines += _shown(name, entry)
    for name in unlisted():
        LOG.warning("er.figures.%s is not in the gallery: add it to docs/_pages/gallery.yml", name)
    return "\n".join(lines)


def write() -> None:
    """Write the page and its pictures into the site that is being built."""
    with mkdocs_gen_files.open("gallery.md", "w") as file:
        file.write(_page())


if __name__ == "<run_path>":  # how mkdocs-gen-files runs it; tests import it
    write()
