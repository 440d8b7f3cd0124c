"""From exceptions to exit codes: one line on stderr, never a traceback."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from erosion.errors import BadInput, Interrupted

__all__ = ["BUG", "INPUT", "INTERRUPTED", "NOT_PASSED", "catching_signals", "guarded"]

NOT_PASSED, INPUT, INTERRUPTED, BUG = 1, 2, 3, 4


def guarded(command: Callable[[], object], *, out: str | Path | None = None) -> None:
    """Run a command; turn whatever it raises into one line and an exit code.

    Args:
        command: what to do.
        out: the run folder, whose ``log.txt`` receives the traceback of a bug.
    """
    try:
        command()
    except BadInput as error:
        _leave(str(error), INPUT)
    except (KeyboardInterrupt, Interrupted):
        _leave("Interrupted: every finished step is kept; the same command resumes.", INTERRUPTED)
    except BrokenPipeError:  # the reader went away (`erosion … | head`): that is its right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _leave(
            f"Cannot read or write: {error}. Free some space, or choose a place that can be written.", INPUT
        )
    except MemoryError:
        _leave(
            "Out of memory: use fewer or shorter questions, --dtype bfloat16, or a smaller batch_tokens.",
            INPUT,
        )
    except Exception as error:
        _leave(
            f"A bug of ours ({type(error).__name__}: {_line(error)}); the traceback is in {_keep(out)}.", BUG
        )


def catching_signals() -> None:
    """Let SIGTERM end the work as Ctrl-C does: cleanly, and resumable."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _leave(line: str, code: int) -> NoReturn:
    print(f"erosion: {' '.join(line.split())}", file=sys.stderr)
    raise SystemExit(code)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "no message"


def _keep(out: str | Path | None) -> Path:
    folder = (
        Path(out) if out is not None and Path(out).is_dir() else Path(tempfile.mkdtemp(prefix="erosion-"))
    )
    log = folder / "log.txt"
    with log.open("a", encoding="utf-8") as file:
        file.write(traceback.format_exc())
    return log
