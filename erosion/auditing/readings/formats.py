"""How what is read lies in the run folder."""

import json
from pathlib import Path
from typing import Any

from erosion.activations import Activations, load_activations
from erosion.auditing.bench import Format
from erosion.files import write_json
from erosion.metrics import Continuations, HeadStates, OnPolicy, Responses, load_head_states
from erosion.models import SpecialRows

__all__ = ["ANSWERS", "CONTINUATIONS", "HEADS", "PLAIN", "RESPONSES", "ROWS", "VECTORS"]


def _plain(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(found: Any, path: Path) -> Path:
    return write_json(path, found.to_json())


PLAIN = Format[Any](lambda found, path: write_json(path, found), _plain)
RESPONSES = Format[Responses](_write, lambda path: Responses.from_json(_plain(path)))
ANSWERS = Format[OnPolicy](_write, lambda path: OnPolicy.from_json(_plain(path)))
CONTINUATIONS = Format[Continuations](_write, lambda path: Continuations.from_json(_plain(path)))
ROWS = Format[SpecialRows](_write, lambda path: SpecialRows.from_json(_plain(path)))
HEADS = Format[HeadStates](lambda found, path: found.save(path), load_head_states, "safetensors")
VECTORS = Format[Activations](lambda found, path: found.save(path), load_activations, "safetensors")
