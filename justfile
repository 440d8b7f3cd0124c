# The habits of the house; every recipe is what continuous integration runs.

# lint, types and floors
check:
    ruff format --check .
    ruff check .
    pyright
    lint-imports

# everything: check, doctests, laws
test: check
    python -m pytest -n auto

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
    python benchmarks/calibration.py

# pictures shown by the README
assets:
    python assets/make.py
