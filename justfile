# The habits of the house; every recipe is what continuous integration runs.

# lint, types and floors
check:
    ruff format --check .
    ruff check .
    pyright
    lint-imports

# everything: check, doctests, laws
test: check
    python -m pytest -n auto --dist loadfile --nbmake

# every notebook, on the organism
notebooks:
    python -m pytest --nbmake notebooks -n auto

# the documentation, in build/site
docs:
    mkdocs build --strict

# laws that take minutes: fresh organisms, built wheels
test-slow:
    python -m pytest -m slow

# measured ratios and the organism's table
benchmarks:
    python benchmarks/reading.py
    python benchmarks/growth.py
    python benchmarks/causality.py > benchmarks/causality.md
    python benchmarks/gradients.py
    python benchmarks/sweeping.py --write
    python benchmarks/architectures.py
    erosion demo --out runs/demo && python benchmarks/report.py runs/demo --write
    python benchmarks/calibration.py

# pictures shown by README and docs
assets:
    python assets/make.py
