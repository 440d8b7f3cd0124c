"""Saving a model as it stands: an ordinary Hugging Face folder with a card that says what was done."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError

from erosion import __version__
from erosion.directions import Direction, Subspace
from erosion.errors import BadInput, BadModel
from erosion.files import write_atomically, write_json
from erosion.models.hooked import Model
from erosion.models.orthogonal import orthogonalised_weights, residual_along, writing_weights
from erosion.models.quiet import first_line, quiet
from erosion.models.stored import as_stored
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
            "done": "orthogonalised: W' = W - V V.T W for every matrix and bias that writes to the residual "
            "stream (arXiv 2406.11717, section 4.1)",
            "edited": len(writing_weights(model)),
            "from": source.model,
            "from_weights_hash": source.weights_hash,
            "from_adapter_hash": source.adapter_hash,
            "from_adapter_scale": source.adapter_scale,
            "direction": _facts_of(direction),
            "verified": "largest |V.T h| / |h| of any layer's residual stream h on a probe",
            "verified_at": residual_along(model, direction),
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
    """Write a model's weights as they stand, adapters merged, as an ordinary Hugging Face folder.

    Names and shapes are those in which checkpoints of its kind are published (experts one by one, say), so
    that other programs load it too.

    Args:
        model: a loaded model; changes of its weights around the call are saved.
        folder: new, or empty. It appears whole or not at all.
        facts: what was done, for the card and ``erosion.json``.

    Raises:
        BadInput: the folder holds something, or cannot be written.
        BadModel: an adapter is on that is no plain LoRA, or weights are not in memory.

    Memory: a copy of the weights on the CPU.
    """
    folder = Path(folder).absolute()
    _require_free(folder)
    state = {name: _apart(weight) for name, weight in as_stored(model.hf, _state(model)).items()}
    made = folder.with_name(f".{folder.name}.{uuid4().hex}")
    about = {"erosion_version": __version__, **facts}
    try:
        made.mkdir(parents=True)
        with quiet():
            save_torch_state_dict(state, made, max_shard_size="4GB")
            model.hf.config.save_pretrained(made)
            model.tokenizer.save_pretrained(made)
        settings = model.found.weights / "generation_config.json"
        if settings.is_file():  # as it is: transformers refuses to write some that it reads
            shutil.copyfile(settings, made / settings.name)
        write_json(made / "erosion.json", about)
        write_atomically(made / "README.md", _card(folder.name, model, about).encode())
        for file in made.rglob("*"):
            _to_disk(file)
        made.rename(folder)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise BadInput(
            f"{folder} cannot be written ({why}): free some disk or choose another folder; nothing is "
            "half-done."
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _apart(weight: Tensor) -> Tensor:
    """In memory of its own: experts that were split are views of one tensor, and are not written as such."""
    whole = weight.untyped_storage().nbytes() == weight.nbytes and weight.is_contiguous()
    return weight if whole else weight.clone(memory_format=torch.contiguous_format)


def _to_disk(file: Path) -> None:
    if file.is_file():
        with file.open("rb+") as written:
            os.fsync(written.fileno())


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
    for layer in _plain_layers(model):
        name = by_parameter[id(layer.get_base_layer().weight)]
        weight, dtype = state[name], state[name].dtype
        exact = weight.to(torch.promote_types(dtype, torch.float32))
        for adapter in layer.active_adapters:
            if adapter in layer.lora_A:
                exact = exact + layer.get_delta_weight(adapter).to(exact)
        state[name] = exact.to(dtype)
    absent = next((name for name, weight in state.items() if weight.is_meta), None)
    if absent is not None:
        raise BadModel(f"{absent} is not in memory: load the model whole, and save that.")
    return {name: weight.detach().cpu().contiguous() for name, weight in state.items()}


def _plain_layers(model: Model) -> list[Any]:
    """The layers with an adapter on, refused where it cannot simply be added to a matrix."""
    layers = [layer for layer in model.adapters.layers if not layer.disable_adapters]
    on = {name for layer in layers for name in layer.active_adapters}
    for folder, name in model.adapters.names.items():
        if name in on and not model.adapters.linear[folder]:
            raise BadModel(
                f"{folder} is no plain LoRA (DoRA, or embeddings, biases, fused experts or whole modules): "
                "merge it with PEFT's merge_and_unload, and load and save that."
            )
    return [layer for layer in layers if hasattr(layer, "get_delta_weight")]


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
