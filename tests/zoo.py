"""Tiny random models of every architecture held to the laws, weights scaled up so that errors show."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

LAYERS, WIDTH, VOCAB = 3, 32, 96
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_MOE: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

CONFIGS: dict[str, Callable[[], Any]] = {
    "qwen2": lambda: Qwen2Config(**(_SHAPE | {"vocab_size": 264})),
    "qwen3": lambda: Qwen3Config(**_SHAPE, head_dim=8),
    "llama": lambda: LlamaConfig(**_SHAPE),
    "mistral": lambda: MistralConfig(**_SHAPE, sliding_window=6),
    "gemma2": lambda: Gemma2Config(**_SHAPE, head_dim=8, sliding_window=6),
    "gemma3": lambda: Gemma3TextConfig(**_SHAPE, head_dim=8, sliding_window=6),
    "phi3": lambda: Phi3Config(**_SHAPE),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCAB,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=4,
        n_positions=128,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt-neox": lambda: GPTNeoXConfig(**{k: v for k, v in _SHAPE.items() if k != "num_key_value_heads"}),
    "olmo2": lambda: Olmo2Config(**_SHAPE),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **_SHAPE, **_MOE, shared_expert_intermediate_size=24, decoder_sparse_step=1
    ),
    "qwen3-moe": lambda: Qwen3MoeConfig(**_SHAPE, **_MOE, head_dim=8, decoder_sparse_step=1),
    "mixtral": lambda: MixtralConfig(**_SHAPE, num_local_experts=4, num_experts_per_tok=2),
}

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}> {{ m.content }} <end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of 96 words with special tokens and a chat template."""
    special = ["<pad>", "<s>", "</s>", "<unk>", "<user>", "<assistant>", "<system>", "<end>"]
    words = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(VOCAB - len(special)))])}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>", "<system>", "<end>"],
        chat_template=TEMPLATE,
    )


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: transformers insists on that kind for model type qwen2."""
    special = ["<pad>", "<s>", "</s>", "<user>", "<assistant>", "<system>", "<end>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate([*special, *alphabet])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<user>", "<assistant>", "<system>", "<end>"],
        chat_template=TEMPLATE,
    )


def make(name: str, *, seed: int = 0, scale: float = 3.0) -> Any:
    """A fresh random model, its weights scaled up."""
    torch.manual_seed(seed)
    hf = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for parameter_name, parameter in hf.named_parameters():
            if parameter.ndim > 1 and "embed" not in parameter_name:
                parameter.mul_(scale)
            elif parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return hf


def save(name: str, folder: Path, *, seed: int = 0) -> Path:
    """A fresh model and the tokenizer as an ordinary folder."""
    make(name, seed=seed).save_pretrained(folder)
    (byte_tokenizer if name == "qwen2" else tokenizer)().save_pretrained(folder)
    return folder


ADAPTED = {
    "gpt2": ["c_attn", "c_proj"],
    "gpt-neox": ["query_key_value", "dense"],
    "phi3": ["qkv_proj", "gate_up_proj", "down_proj"],
    "qwen2-moe": ["q_proj", "o_proj"],
    "qwen3-moe": ["q_proj", "o_proj"],
    "mixtral": ["q_proj", "o_proj"],
}


def save_adapter(name: str, folder: Path, *, weights: Path, seed: int = 1) -> Path:
    """A LoRA adapter with random, clearly non-zero weights."""
    from peft import LoraConfig, get_peft_model

    hf = AutoModelForCausalLM.from_pretrained(weights)
    targets = ADAPTED.get(name, ["q_proj", "v_proj", "down_proj"])
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, fan_in_fan_out=name == "gpt2")
    adapted = get_peft_model(hf, config)
    with torch.no_grad():
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    adapted.save_pretrained(folder)
    return folder
