"""LoRA adapters on a model in memory: attached before wrapping, then on, off or scaled, one copy of the weights."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from erosion.errors import BadModel

__all__ = ["Adapters", "attach"]


@dataclass(frozen=True, eq=False)
class Adapters:
    """The adapters of one model, by the folder they came from.

    ``linear[folder]`` says whether the update is linear in the scale: a DoRA, or one that also replaces
    whole modules or touches embeddings, can only be on or off.
    """

    names: Mapping[Path, str]
    linear: Mapping[Path, bool]
    layers: Sequence[Any]

    def use(self, folder: Path | None, scale: float = 1.0) -> None:
        """Switch one adapter on at ``scale``, or all off with None.

        Raises:
            BadModel: an adapter that was not attached, or a scale between 0 and 1 that means nothing for it.
        """
        if folder is not None and folder not in self.names:
            raise BadModel(f"The adapter {folder} was not loaded with this model: name it when loading.")
        if folder is not None and scale not in (0, 1) and not self.linear[folder]:
            raise BadModel(f"{folder} is not linear in its scale (DoRA, embeddings or whole modules): use 0 or 1.")
        on = folder is not None and scale != 0
        for layer in self.layers:
            layer.enable_adapters(on)
            if on:
                name = self.names[folder]  # type: ignore[index]
                layer.set_adapter([name])
                layer.set_scale(name, scale)
            layer.requires_grad_(False)


def attach(hf: PreTrainedModel, folders: Sequence[Path], *, weights_hash: str) -> Adapters:
    """Load adapters into a model that is not wrapped yet.

    Raises:
        BadModel: not a LoRA; made for other weights (a recorded hash differs, or a tensor does not find
            its place).
    """
    if not folders:
        return Adapters({}, {}, ())
    from peft.tuners.lora import LoraLayer

    names, linear = {}, {}
    for number, folder in enumerate(folders):
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if config.get("peft_type") != "LORA":
            raise BadModel(f"{folder} is a {config.get('peft_type')} adapter: only LoRA is supported.")
        _refuse_other_weights(folder, weights_hash)
        names[folder] = f"adapter{number}"
        _load(hf, folder, names[folder])
        embeddings = {"embed_tokens", "lm_head", "wte"} & set(config.get("target_modules") or ())
        linear[folder] = not (config.get("use_dora") or config.get("modules_to_save") or embeddings)
    layers = tuple(module for module in hf.modules() if isinstance(module, LoraLayer))
    return Adapters(names, linear, layers)


def _load(hf: PreTrainedModel, folder: Path, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft's own notes on unused options
            info = hf.load_adapter(str(folder), adapter_name=name)
    except Exception as error:  # peft raises many kinds; each means that the adapter does not fit
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(f"The adapter {folder} does not fit {hf.name_or_path}: {line[:200]}.") from error
    wrong = sorted(set(info.missing_keys) | set(info.unexpected_keys) | {str(k) for k in info.mismatched_keys})
    if wrong:
        raise BadModel(
            f"The adapter {folder} was made for another model than {hf.name_or_path}: {len(wrong)} tensor(s) do not "
            f"find their place, first {wrong[0]}. Give the weights it was trained on."
        )


def _refuse_other_weights(folder: Path, weights_hash: str) -> None:
    record = folder / "erosion.json"
    if record.is_file():
        recorded = json.loads(record.read_text(encoding="utf-8")).get("weights_hash")
        if recorded and recorded != weights_hash:
            raise BadModel(
                f"The adapter {folder} was trained on weights {recorded[:12]} and these are {weights_hash[:12]}: "
                "give the weights it was trained on."
            )
