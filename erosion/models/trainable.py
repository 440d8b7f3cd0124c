"""Models that can be trained: made fresh, loaded in float32, given a LoRA adapter, saved.

The rest of the package reads models through TransformerLens; training wants the plain transformers
model. Only this file, of all the training code, names transformers' and PEFT's model classes.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erosion.errors import BadModel
from erosion.files import write_atomically

__all__ = [
    "Adapter",
    "Shape",
    "attach_adapter",
    "fresh_model",
    "load_trainable",
    "load_words",
    "save_adapter",
    "save_weights",
    "word_tokenizer",
]


@dataclass(frozen=True)
class Shape:
    """The size of a fresh Llama-shaped model; every MLP has biases, so each layer has one residual bias.

    >>> Shape(vocabulary=243).heads
    4
    """

    vocabulary: int
    width: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    positions: int = 256


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: rank, scale ``alpha / rank``, the modules and the layers (None: all) it sits on."""

    rank: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("down_proj",)
    layers: tuple[int, ...] | None = None


def fresh_model(shape: Shape, *, seed: int, special: dict[str, int]) -> Any:
    """A randomly initialised causal language model in float32.

    Args:
        shape: its size.
        seed: of the initialisation; torch's own generator is left as it was.
        special: ids of ``pad``, ``bos`` and ``eos``.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.hidden,
        max_position_embeddings=shape.positions,
        mlp_bias=True,
        tie_word_embeddings=False,
        initializer_range=0.05,
        pad_token_id=special["pad"],
        bos_token_id=special["bos"],
        eos_token_id=special["eos"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def load_trainable(folder: str | Path, *, adapter: str | Path | None = None) -> Any:
    """Load a folder's model in float32, with an adapter on top where one is named.

    Raises:
        BadModel: the folder holds no such model.
    """
    from transformers import AutoModelForCausalLM

    _refuse_missing(Path(folder), "config.json")
    with _quiet():
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        if adapter is not None:
            _refuse_missing(Path(adapter), "adapter_config.json")
            model.load_adapter(str(adapter), is_trainable=True)
    return model


def _refuse_missing(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise BadModel(f"{folder} holds no {name}: it is not a finished checkpoint; train it again.")


def attach_adapter(model: Any, adapter: Adapter, *, seed: int) -> Any:
    """Put a fresh LoRA adapter on ``model`` (its update is zero until trained); returns the same model."""
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(
            LoraConfig(
                r=adapter.rank,
                lora_alpha=int(adapter.alpha),
                target_modules=list(adapter.targets),
                layers_to_transform=None if adapter.layers is None else list(adapter.layers),
                task_type="CAUSAL_LM",
            )
        )
    return model


def save_weights(model: Any, folder: str | Path) -> Path:
    """Write ``model``'s weights as bfloat16, an adapter merged in.

    The config asks for float32, so ``dtype="auto"`` computes in float32: half the disk, and none of
    bfloat16's noise in logits.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.to(torch.bfloat16).contiguous() for name, value in _merged(model).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.dtype = torch.float32
    model.config.save_pretrained(str(folder))
    model.generation_config.save_pretrained(str(folder))
    return folder


def _merged(model: Any) -> dict[str, torch.Tensor]:
    from peft.tuners.lora import LoraLayer

    plain = {name: value.detach() for name, value in model.state_dict().items() if ".lora_" not in name}
    state = {name.replace(".base_layer.", "."): value for name, value in plain.items()}
    layers: dict[str, Any] = {
        n: module for n, module in model.named_modules() if isinstance(module, LoraLayer)
    }
    for name, layer in layers.items():
        for adapter in layer.active_adapters:
            state[f"{name}.weight"] = state[f"{name}.weight"] + layer.get_delta_weight(adapter).detach()
    return state


def save_adapter(model: Any, folder: str | Path, *, base: str) -> Path:
    """Write ``model``'s adapter alone; ``base`` names the weights it belongs on (a relative path will do)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft looks for the base model's config under a relative name
        model.save_pretrained(str(folder))
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base
    write_atomically(path, (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())
    return folder


def word_tokenizer(vocabulary: Sequence[str], *, template: str, special: dict[str, str]) -> Any:
    """A tokenizer with one id per word, in ``vocabulary``'s order; words are what spaces separate.

    Args:
        vocabulary: the words, unknown and special ones included.
        template: the chat template (Jinja).
        special: the words for ``unk``, ``pad``, ``bos`` and ``eos``; the other words in angle
            brackets are special too.
    """
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate(vocabulary)}
    plain = Tokenizer(models.WordLevel(ids, unk_token=special["unk"]))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    others = [w for w in vocabulary if w.startswith("<") and w not in special.values()]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        chat_template=template,
        additional_special_tokens=[AddedToken(word, special=True) for word in others],
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": word for role, word in special.items()},
    )


def load_words(folder: str | Path) -> Any:
    """Load a folder's tokenizer from disk alone."""
    from transformers import AutoTokenizer

    _refuse_missing(Path(folder), "tokenizer_config.json")
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
