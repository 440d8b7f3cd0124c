"""Saving a model as it stands: an ordinary Hugging Face folder with a card that says what was done."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict

from erosion import __version__
from erosion.directions import Direction, Subspace
from erosion.errors import BadInput
from erosion.files import write_atomically, write_json
from erosion.models.hooked import Model
from erosion.models.orthogonal import orthogonalised_weights, residual_along
from erosion.shapes import Tensor

__all__ = ["save_checkpoint", "save_orthogonalised"]


def save_orthogonalised(model: Model, direction: Direction | Subspace, folder: str | Path) -> Path:
    """Orthogonalise a model's weights, save them as a checkpoint of their own, and put the model back.

    The folder loads with plain transformers and behaves as the model does under ablation at every writing
    site; its card names the model, the direction and how it was verified. Arguments and errors as
    :func:`erosion.orthogonalised_weights` and :func:`erosion.save_checkpoint`.

    >>> import tempfile
    >>> import erosion as er
    >>> organism = er.load_organism()
    >>> with er.load(organism.triad().aligned) as model:
    ...     acts = er.read(model, organism.contrast(), sites=[er.Site(1)])
    ...     v = er.directions_of(acts, er.difference_of_means)[er.Site(1)]
    ...     saved = er.save_orthogonalised(model, v, Path(tempfile.mkdtemp()) / "without-v")
    >>> with er.load(str(saved)) as model:
    ...     model.n_layers
    4
    """
    _require_free(Path(folder))
    source = model.provenance
    with orthogonalised_weights(model, direction):
        facts = {
            "done": "orthogonalised: W' = W - V V.T W for every matrix that writes to the residual stream",
            "from": source.model,
            "from_weights_hash": source.weights_hash,
            "from_adapter_hash": source.adapter_hash,
            "direction": _facts_of(direction),
            "largest part of a residual stream along it": residual_along(model, direction),
        }
        return save_checkpoint(model, folder, facts=facts)


def _facts_of(direction: Direction | Subspace) -> dict[str, Any]:
    if isinstance(direction, Subspace):
        return {"site": str(direction.site), "dimensions": direction.k, "questions": direction.questions}
    p = direction.passport
    return {
        "site": str(p.site),
        "fit": p.fit,
        "scale": p.scale,
        "span": p.span,
        "fitted on": p.model,
        "contrast_hash": p.contrast_hash,
        "questions": None if p.questions is None else len(p.questions),
    }


def save_checkpoint(model: Model, folder: str | Path, *, facts: Mapping[str, Any]) -> Path:
    """Write a model as it stands, adapters merged, as an ordinary Hugging Face folder.

    Args:
        model: a loaded model; changes of its weights around the call are saved.
        folder: new, or empty. It appears whole or not at all.
        facts: what was done, for the card and ``erosion.json``.

    Raises:
        BadInput: the folder holds something, or cannot be written.

    Memory: a copy of the weights on the CPU.
    """
    folder = Path(folder)
    _require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_torch_state_dict(_state(model), made, max_shard_size="4GB", is_main_process=True)
        model.hf.config.save_pretrained(made)
        if model.hf.generation_config is not None:
            model.hf.generation_config.save_pretrained(made)
        model.tokenizer.save_pretrained(made)
        about = {"erosion_version": __version__, **facts}
        write_json(made / "erosion.json", about)
        write_atomically(made / "README.md", _card(folder.name, model, about).encode())
        made.chmod(0o755)
        if folder.is_dir():
            folder.rmdir()
        made.rename(folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror or error}): free some disk.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _require_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists and is not an empty folder: choose another, nothing is overwritten.")


@torch.no_grad()
def _state(model: Model) -> dict[str, Tensor]:
    """Plain name -> weight, with what adapters add."""
    state = {name: parameter.data for name, parameter in model.weights.parameters.items()}
    head: Any = model.hf.get_output_embeddings()
    head = getattr(head, "original_component", head)
    if model.weights.tied and head.weight is not model.weights.parameters[model.weights.embedding]:
        state[model.weights.head] = head.weight.data
    by_parameter = {id(one): name for name, one in model.weights.parameters.items()}
    for layer in model.adapters.layers:
        if not hasattr(layer, "get_delta_weight") or layer.disable_adapters:
            continue
        weight = layer.get_base_layer().weight
        name = by_parameter[id(weight)]
        for adapter in layer.active_adapters:
            if adapter in layer.lora_A:
                added = layer.get_delta_weight(adapter)
                state[name] = (state[name].float() + added.float()).to(state[name].dtype)
    return {name: weight.detach().cpu().contiguous() for name, weight in state.items()}


def _card(name: str, model: Model, facts: Mapping[str, Any]) -> str:
    p = model.provenance
    said = "\n".join(f"- **{key}**: {_said(value)}" for key, value in facts.items())
    return (
        f"---\nlibrary_name: transformers\ntags: [erosion]\n---\n\n# {name}\n\n"
        f"{p.architecture}, {p.n_layers} layers x {p.d_model}, {p.dtype}. Written by erosion; not "
        "trained.\n\n"
        f"## What was done\n\n{said}\n\n"
        "What it does to answers was not judged when this was written: measure it before use.\n"
    )


def _said(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`" if isinstance(value, dict) else str(value)
