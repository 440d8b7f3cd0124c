"""LoRA adapters on a model in memory: attached before the wrap, then on, off or scaled."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from erosion.errors import BadInput, BadModel
from erosion.models.checkpoints import Found
from erosion.models.quiet import first_line, quiet
from erosion.shapes import Tensor

__all__ = ["Adapters", "attach"]

_FILE = "adapter_model.safetensors"
_NOT_LINEAR = "is not linear in its scale (DoRA, or embeddings, biases, fused experts or whole modules)"
_EMBEDDINGS = {"embed_tokens", "lm_head", "wte", "embed_in", "embed_out"}


@dataclass(frozen=True, eq=False)
class Adapters:
    """The adapters of one model, by the folder they came from.

    ``linear[folder]`` says whether the update is linear in the scale and on plain matrices: a DoRA, or one
    that also replaces whole modules or touches embeddings, biases or fused experts, is only on or off.
    ``mixes`` counts the mixes that hold at present.
    """

    names: Mapping[Path, str]
    linear: Mapping[Path, bool]
    layers: Sequence[Any]
    mixes: list[None] = field(default_factory=list)

    def name_of(self, folder: Path) -> str:
        """Under which name an adapter is attached.

        Raises:
            BadModel: it was not attached.
        """
        if folder not in self.names:
            raise BadModel(f"The adapter {folder} was not loaded with this model: name it when loading.")
        return self.names[folder]

    def use(self, folder: Path | None, scale: float = 1.0) -> None:
        """Switch one adapter on at ``scale``, or all off with None.

        Raises:
            BadModel: an adapter that was not attached, or a scale between 0 and 1 that means nothing for it.
            BadInput: a mix holds, which this would end unnoticed.
        """
        if self.mixes:
            raise BadInput(
                "A dose of adapters holds, and the model cannot be another checkpoint inside it: leave its "
                "block first."
            )
        name = None if folder is None else self.name_of(folder)
        if folder is not None and scale not in (0, 1) and not self.linear[folder]:
            raise BadModel(f"{folder} {_NOT_LINEAR} and cannot be at {scale:g}: use 0 or 1.")
        for layer in self.layers:
            _set(layer, {} if name is None or scale == 0 else {name: scale})

    @contextmanager
    def mixed(
        self, scales: Mapping[Path, float], chosen: Callable[[Tensor], bool] | None = None
    ) -> Iterator[None]:
        """Several adapters at once inside the block, each at its scale; undone after it, bit for bit.

        Args:
            scales: folder -> what multiplies its update.
            chosen: of a module's own weight, whether it is changed; None for all modules.

        Raises:
            BadModel: an adapter that was not attached, or one that is not linear in its scale at another
                scale than 0 and 1, or in parts.
        """
        names = {self.name_of(folder): scale for folder, scale in scales.items() if scale != 0}
        for folder, scale in scales.items():
            if not self.linear[folder] and (scale not in (0, 1) or chosen is not None):
                where = f"at {scale:g}" if chosen is None else "in parts"
                raise BadModel(f"{folder} {_NOT_LINEAR} and cannot be {where}: use 0 or 1 of the whole.")
        if chosen is not None and not all(self.linear.values()):
            raise BadModel(f"An adapter of this model {_NOT_LINEAR}: it cannot be dosed in parts.")
        layers = [one for one in self.layers if chosen is None or chosen(one.get_base_layer().weight)]
        were = [_state(layer) for layer in layers]
        self.mixes.append(None)
        try:
            for layer in layers:
                _set(layer, names)
            yield
        finally:
            self.mixes.pop()
            for layer, state in zip(layers, were, strict=True):
                _put_back(layer, *state)

    @contextmanager
    def by_copy(self, scales: Mapping[Path, Sequence[float]], *, rows: int) -> Iterator[None]:
        """Each copy of a batch with its own adapters inside the block, all in one pass; undone after it.

        Args:
            scales: folder -> what multiplies its update in each copy.
            rows: of one copy.

        Raises:
            BadModel: an adapter that was not attached, or one that is not linear in its scale.
        """
        with self.mixed(dict.fromkeys(scales, 0.5)):  # all on; refused where a scale means nothing
            for layer in self.layers:
                for folder, of_copies in scales.items():
                    name = self.names[folder]
                    if name in getattr(layer, "lora_A", ()):
                        layer.set_scale(name, 1.0)
                        weight = layer.lora_A[name].weight
                        column = torch.tensor(list(of_copies), device=weight.device, dtype=weight.dtype)
                        column = repeat(column, "copy -> (copy row) 1 1", row=rows)
                        layer.scaling[name] = layer.scaling[name] * column
            yield


def _state(layer: Any) -> tuple[bool, list[str], dict[str, Any]]:
    """Whether a layer's adapters are off, which are on, and what multiplies each."""
    return bool(layer.disable_adapters), _has(layer, layer.active_adapters), dict(_scaling(layer))


def _put_back(layer: Any, disabled: bool, active: list[str], scaling: Mapping[str, Any]) -> None:
    if active:
        layer.set_adapter(active)
    _scaling(layer).update(scaling)
    layer.enable_adapters(not disabled)
    layer.requires_grad_(False)


def _scaling(layer: Any) -> dict[str, Any]:
    return getattr(layer, "scaling", {})


def _has(layer: Any, names: Iterable[str]) -> list[str]:
    """Which of the adapters a wrapped module knows of (a LoRA layer passes over those it has not)."""
    return [name for name in names if name in getattr(layer, "modules_to_save", (name,))]


def _set(layer: Any, scales: Mapping[str, float]) -> None:
    """The named adapters on at their scales, all others off."""
    has = _has(layer, scales)
    layer.enable_adapters(bool(has))
    if has:
        layer.set_adapter(has)
        for name in has:
            if hasattr(layer, "set_scale"):
                layer.set_scale(name, scales[name])
    layer.requires_grad_(False)


def attach(hf: PreTrainedModel, checkpoints: Sequence[Found], *, weights_hash: str) -> Adapters:
    """Load the checkpoints' adapters into a model that is not wrapped yet.

    Warns where an adapter names other weights than those it is put on (published adapters name mirrors).

    Raises:
        BadModel: not a LoRA; made for other weights (a recorded hash differs, or a tensor does not find
            its place); or one that brings biases or embeddings of the weights below it.
    """
    named = {found.adapter: found for found in checkpoints if found.adapter is not None}
    if not named:
        return Adapters({}, {}, ())
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    names, linear = {}, {}
    for number, (folder, found) in enumerate(named.items()):
        config = _config(folder)
        _refuse_replaced_weights(hf, folder, config)
        _warn_of_other_weights(found, config)
        _refuse_other_weights(folder, weights_hash)
        names[folder] = f"erosion{number:03d}"
        _load(hf, folder, names[folder], dora=bool(config.get("use_dora")))
        whole = config.get("modules_to_save") or config.get("trainable_token_indices")
        embeddings = _EMBEDDINGS & set(config.get("target_modules") or ())
        special = any(config.get(one) for one in ("use_dora", "lora_bias", "target_parameters"))
        linear[folder] = not (special or whole or embeddings)
    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    return Adapters(names, linear, tuple(module for module in hf.modules() if isinstance(module, kinds)))


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(
            f"The adapter {folder} cannot be read ({first_line(error)}): save it again."
        ) from error
    if config.get("peft_type") != "LORA":
        raise BadModel(f"{folder} is a {config.get('peft_type')} adapter: only LoRA is supported; merge it.")
    return config


def _refuse_replaced_weights(hf: PreTrainedModel, folder: Path, config: Mapping[str, Any]) -> None:
    """Biases and embeddings that come with an adapter would stay when it is switched off."""
    whole = tuple(config.get("modules_to_save") or ())
    marks = ("lora_", "token_adapter", *(f".{name}." for name in whole))
    below = dict(hf.named_parameters())
    try:
        with safe_open(str(folder / _FILE), framework="pt") as file:
            strange = [name for name in file.keys() if not any(mark in name for mark in marks)]  # noqa: SIM118
            same = [name for name in strange if _is_copy(below.get(_plain(name)), file.get_tensor(name))]
    except (OSError, SafetensorError) as error:
        raise BadModel(
            f"The adapter {folder} cannot be read ({first_line(error)}): save it again."
        ) from error
    replaced = sorted(set(strange) - set(same))
    if replaced:
        raise BadModel(
            f"The adapter {folder} replaces weights below it ({len(replaced)}, first {replaced[0]}) and "
            "could not be switched off: merge it and give the merged weights."
        )


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _is_copy(weight: Tensor | None, saved: Tensor) -> bool:
    return (
        weight is not None
        and weight.shape == saved.shape
        and torch.equal(weight.cpu().to(saved.dtype), saved)
    )


def _load(hf: Any, folder: Path, name: str, *, dora: bool) -> None:
    layout = getattr(hf, "_weight_conversions", None)  # of the weights' files; replaced by the adapter's
    try:
        with quiet():
            if dora:
                made = {"peft_config": _peft_config(folder), "adapter_state_dict": _dora_tensors(folder)}
                info = hf.load_adapter(adapter_name=name, **made)
            else:
                info = hf.load_adapter(str(folder), adapter_name=name)
    except Exception as error:  # peft raises many kinds; each means that the adapter does not fit
        raise BadModel(
            f"The adapter {folder} does not fit {hf.name_or_path} ({first_line(error)}): "
            "give the weights it was trained on."
        ) from error
    hf._weight_conversions = layout
    missing = [key for key in info.missing_keys if name in key]  # others were loaded before
    wrong = sorted({str(key) for key in (*missing, *info.unexpected_keys, *info.mismatched_keys)})
    if wrong:
        raise BadModel(
            f"The adapter {folder} was made for another model than {hf.name_or_path}: {len(wrong)} tensor(s) "
            f"do not find their place, first {wrong[0]}. Give the weights it was trained on."
        )


def _peft_config(folder: Path) -> Any:
    from peft import PeftConfig

    return PeftConfig.from_pretrained(str(folder))


def _dora_tensors(folder: Path) -> dict[str, Any]:
    """A DoRA's tensors under the names that transformers looks for (PEFT saves magnitudes otherwise)."""
    from safetensors.torch import load_file

    tensors = load_file(folder / _FILE)
    return {f"{k}.weight" if k.endswith("lora_magnitude_vector") else k: v for k, v in tensors.items()}


def _warn_of_other_weights(found: Found, config: Mapping[str, Any]) -> None:
    named = config.get("base_model_name_or_path")
    if found.checkpoint.adapter and named and Path(named).name != Path(found.checkpoint.weights).name:
        warnings.warn(
            f"{found.checkpoint.adapter} names {named} as its weights, not {found.checkpoint.weights}.",
            stacklevel=4,
        )


def _refuse_other_weights(folder: Path, weights_hash: str) -> None:
    record = folder / "erosion.json"
    if record.is_file():
        recorded = json.loads(record.read_text(encoding="utf-8")).get("weights_hash")
        if recorded and recorded != weights_hash:
            raise BadModel(
                f"The adapter {folder} was trained on weights {recorded[:12]} and these are "
                f"{weights_hash[:12]}: give the weights it was trained on."
            )
