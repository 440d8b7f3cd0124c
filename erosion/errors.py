"""Every error this library raises on purpose.

    ErosionError                 anything below: one line with a fact, the values and the remedy
    ├── BadInput                 a file, value or combination that the user can mend
    │   ├── BadContrast          the words: exchanges, contrasts, rendering, spans
    │   ├── BadModel             the checkpoints: weights, adapters, tokenizers, architectures
    │   ├── BadDirection         a direction used where it was not made for
    │   └── BadRun               a run folder: another audit's, locked, newer, missing
    └── Interrupted              stopped by Ctrl-C or SIGTERM; what was finished is kept

The command line turns ``BadInput`` into exit code 2 and ``Interrupted`` into 3. Anything else that
escapes is a bug of ours (exit code 4).
"""

__all__ = ["BadContrast", "BadDirection", "BadInput", "BadModel", "BadRun", "ErosionError", "Interrupted"]


class ErosionError(Exception):
    """The root of the tree: its message is one line, a fact, the values and the remedy."""


class BadInput(ErosionError, ValueError):
    """Something the user gave can not be used as it is."""


class BadContrast(BadInput):
    """The words can not be used: a broken file, an empty side, a response that does not tokenize."""


class BadModel(BadInput):
    """A checkpoint can not be used: missing, pickled, not finite, or unlike its triad."""


class BadDirection(BadInput):
    """A direction is used on a model, layer, width or question that it was not made for."""


class BadRun(BadInput):
    """A run folder can not be used: another audit's, in use, newer than this version, or missing."""


class Interrupted(ErosionError):
    """The work was stopped from outside; every finished step is kept and the same command resumes."""
