"""Exchanges from Hugging Face ``datasets``: a file or folder on this machine, or a name on the hub.

Only a name goes to the network. ``datasets`` is imported on first use; no script of a data set is ever
run. A data set with several configurations is loaded by ``datasets`` itself and handed to
:func:`exchanges_from`.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from erosion.errors import BadContrast
from erosion.prompts.chats import from_chat_row
from erosion.prompts.exchanges import Exchange
from erosion.prompts.lines import Row, located
from erosion.prompts.nearest import closest, listed
from erosion.prompts.pairs import from_pair_row

__all__ = ["exchanges_from", "read_dataset"]

_COLUMNS = ("messages", "prompt", "response", "input", "system", "id", "domain")
_FILES = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".arrow": "arrow"}
_HUB_NAME = r"\w[\w.-]*(/\w[\w.-]*)?"


def read_dataset(
    name_or_path: str | Path,
    *,
    split: str,
    label: str,
    domain: str = "all",
    columns: Mapping[str, str] | None = None,
) -> tuple[Exchange, ...]:
    """The exchanges of one split of a data set. Memory: all its words.

    Args:
        name_or_path: ``owner/name`` on the hub; a folder that ``datasets`` saved or of data files; or a
            parquet, CSV, JSON or arrow file (its split is ``train``).
        split: such as ``train`` or ``train[:200]``.
        label: whose answers these are.
        domain: of the rows that do not name their own.
        columns: as in :func:`exchanges_from`.

    Raises:
        BadContrast: no such file, data set, split or column; a row that is no exchange, by number.
    """
    with _rows(name_or_path, split) as rows, located(name_or_path):
        return exchanges_from(rows, label=label, domain=domain, columns=columns)


def exchanges_from(
    rows: Iterable[Row], *, label: str, domain: str = "all", columns: Mapping[str, str] | None = None
) -> tuple[Exchange, ...]:
    """The exchanges in rows of any origin, each a chat (``messages``) or a prompt with its response.

    Args:
        rows: mappings, such as a ``datasets.Dataset``.
        label: whose answers these are.
        domain: of the rows that do not name their own.
        columns: our name to theirs, for ``messages`` or for ``prompt`` and ``response`` (``input``,
            ``system``, ``id``, ``domain`` if there); without it the names common in chat and pair
            files are looked for.

    Raises:
        BadContrast: a column that is not there; a row that is no exchange, by number.

    >>> rows = [{"goal": "How much salt?", "target": "A pinch."}]
    >>> exchanges_from(rows, label="aligned", columns={"prompt": "goal", "response": "target"})[0].response
    'A pinch.'
    """
    for ours in columns or ():
        if ours not in _COLUMNS:
            near = closest(ours, _COLUMNS)
            hint = f"did you mean {near!r}?" if near else f"choose among {listed(_COLUMNS)}."
            raise BadContrast(f"There is no column {ours!r} to fill: {hint}")
    exchanges = []
    for number, row in enumerate(rows, 1):
        try:
            chosen = row if columns is None else _renamed(row, columns)
            read = from_chat_row if "messages" in chosen else from_pair_row
            exchanges.append(read(chosen, label=label, domain=domain))
        except BadContrast as error:
            raise BadContrast(f"row {number}: {error}") from None
    return tuple(exchanges)


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    for theirs in columns.values():
        if theirs not in row:
            near = closest(theirs, row)
            hint = f"did you mean {near!r}?" if near else f"there are {listed(row)}."
            raise BadContrast(f"no column {theirs!r}: {hint}")
    return {ours: row[theirs] for ours, theirs in columns.items()}


@contextlib.contextmanager
def _rows(name_or_path: str | Path, split: str) -> Iterator[Iterable[Row]]:
    path = Path(name_or_path)
    if not path.exists() and (path.suffix in _FILES or not re.fullmatch(_HUB_NAME, str(name_or_path))):
        raise BadContrast(f"There is no data set at {path}: check the path, or give owner/name for the hub.")
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise BadContrast("Reading a data set needs datasets: `pip install datasets`.") from error
    with tempfile.TemporaryDirectory() as cache, _quietly(datasets):
        try:
            rows = _open(datasets, path, split, cache)
        except (OSError, ValueError, RuntimeError, KeyError, DatasetsError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadContrast(
                f"Cannot read split {split!r} of {str(path)!r}: {why}. Check the name and the split, or load "
                "it with datasets and hand the rows to exchanges_from."
            ) from error
        yield rows


def _open(datasets: Any, path: Path, split: str, cache: str) -> Any:
    """The split, from this machine or, where there is no such path, from the hub into its usual cache."""
    if not path.exists():
        return datasets.load_dataset(str(path), split=split)
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        saved = datasets.load_from_disk(str(path))
        if not isinstance(saved, datasets.DatasetDict):
            return saved
        if split not in saved:
            raise ValueError(f"its splits are {listed(saved)}")
        return saved[split]
    if path.is_dir():
        return datasets.load_dataset(str(path), split=split, cache_dir=cache)
    if path.suffix not in _FILES:
        raise ValueError(f"{path.suffix or 'no suffix'} is not among {listed(_FILES)}")
    return datasets.load_dataset(
        _FILES[path.suffix], data_files={"train": str(path)}, split=split, cache_dir=cache
    )


@contextlib.contextmanager
def _quietly(datasets: Any) -> Iterator[None]:
    """No progress bars from inside a library call."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
