"""Other libraries' bars and notes made quiet, and their errors short."""

import contextlib
import warnings
from collections.abc import Iterator

import transformers
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

__all__ = ["first_line", "quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the bars and notes of transformers and of the hub, and warnings, inside the block."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not silent:
            enable_progress_bars()


def first_line(error: BaseException, *, longest: int = 160) -> str:
    """What another library's error says, as one short line without its full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:longest].rstrip(" .:")
