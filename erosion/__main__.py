"""``python -m erosion`` is the command ``erosion``."""

from erosion.cli import main

if __name__ == "__main__":
    main()
