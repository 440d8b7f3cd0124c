"""The command line: each command a few lines around public calls.

Exit codes: 0 done; 1 the gate did not pass; 2 bad input; 3 interrupted and resumable; 4 our own bug.
"""

from erosion.cli.app import main

__all__ = ["main"]
