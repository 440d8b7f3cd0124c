"""From a name to a hooked model: found, checked, adapted, wrapped and proved.

Notable: transformers loads (safetensors only, the checkpoint's dtype, its own attention kernel), adapters go
in before the wrap, and the wrap is proved on logits. Nothing is downloaded unless a hub name asks for it,
and no code that comes with a checkpoint is run.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from erosion.errors import BadModel
from erosion.models.adapters import attach
from erosion.models.batches import position_ids
from erosion.models.checkpoints import Found, find, hash_tokenizer, hash_weights
from erosion.models.hooked import Model, Provenance
from erosion.models.placement import Placement
from erosion.models.wrapping import probe_logits, require_finite, require_hooks, require_same_logits, wrap
from erosion.prompts.rendering import Rendering, choose_rendering
from erosion.sites import residuals
from erosion.triads import Checkpoint

__all__ = ["load", "load_tokenizer", "require_same_architecture"]


def load(
    checkpoint: Checkpoint | str | Path,
    *,
    placement: Placement | None = None,
    rendering: Rendering | None = None,
    also: Sequence[Checkpoint] = (),
    batch_tokens: int | None = None,
) -> Model:
    """Load, check and wrap one checkpoint; use it in a ``with`` block so that its memory is freed.

    Args:
        checkpoint: a hub name or folder (weights, or a LoRA adapter that names its weights).
        placement: device, device map, dtype, revision.
        rendering: how messages become text; the tokenizer's own template when not given.
        also: further checkpoints on the same weights, for :meth:`Model.using`: their adapters are
            attached, the weights are in memory once.
        batch_tokens: padded tokens in one batch; chosen from the memory at hand when not given.

    Raises:
        BadModel: nothing there, pickled, not finite, an adapter for other weights, an architecture that
            can not be wrapped exactly.

    Memory: the weights once, in their dtype, plus the adapters. (TransformerLens keeps a split copy of
    fused projections, Phi-3, GPT-2 and GPT-NeoX.)

    >>> from erosion.organisms import load_organism
    >>> with load(load_organism().triad().aligned) as model:
    ...     model.n_layers > 0
    True
    """
    placement = placement or Placement()
    found = find(_as_checkpoint(checkpoint, placement))
    others = [find(one) for one in also]
    for other in others:
        if other.weights != found.weights:
            raise BadModel(f"{other} stands on other weights than {found}: load it by itself.")
    folders = list(dict.fromkeys(f.adapter for f in (found, *others) if f.adapter is not None))
    tokenizer = load_tokenizer(found.checkpoint, found=found)
    weights_hash = hash_weights(found.weights)
    hf = _load_weights(found, placement)
    require_finite(hf, str(found))
    adapters = attach(hf, folders, weights_hash=weights_hash)
    require_finite(hf, str(found))
    adapters.use(found.adapter, found.scale)
    before = probe_logits(hf)
    bridge = wrap(hf, found.weights, tokenizer, adapted=bool(folders))
    off = require_same_logits(before, probe_logits(hf), str(found))
    layers = len(bridge.blocks)
    config = hf.config.get_text_config()
    ids = torch.zeros((1, 2), dtype=torch.long, device=hf.device)
    mask = torch.ones_like(ids)
    require_hooks(
        bridge,
        residuals(range(layers)),
        lambda: hf(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False),
        config.hidden_size,
        str(found),
    )
    provenance = Provenance(
        model=str(found),
        architecture=type(hf).__name__,
        weights_hash=weights_hash,
        adapter_hash=None if found.adapter is None else hash_weights(found.adapter),
        adapter_scale=found.scale if found.adapter is not None else None,
        tokenizer_hash=hash_tokenizer(tokenizer),
        dtype=str(hf.dtype).removeprefix("torch."),
        kernel=hf.config._attn_implementation or "eager",
        device=str(hf.device.type),
        n_layers=layers,
        d_model=config.hidden_size,
        n_parameters=sum(p.numel() for p in {id(p): p for p in hf.parameters()}.values()),
        wrap_error=off,
    )
    return Model(hf, bridge, tokenizer, found, adapters, provenance, rendering, batch_tokens)


def load_tokenizer(checkpoint: Checkpoint | str | Path, *, found: Found | None = None) -> Any:
    """A checkpoint's fast tokenizer (an adapter folder's own, where it has one).

    Raises:
        BadModel: no tokenizer there, or one that returns nothing for a word.
    """
    found = found or find(_as_checkpoint(checkpoint, Placement()))
    own = found.adapter is not None and (found.adapter / "tokenizer_config.json").is_file()
    folder = found.adapter if own else found.weights
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadModel(f"{folder} holds no tokenizer that can be read ({line[:120]}): save it beside the weights.") from error
    if not tokenizer("a b c", add_special_tokens=False)["input_ids"]:
        raise BadModel(f"The tokenizer of {folder} returns no token for a word: it was saved under another class.")
    return tokenizer


def require_same_architecture(checkpoints: Sequence[tuple[str, Checkpoint]]) -> None:
    """Refuse models that differ in kind, depth, width or vocabulary, before any weights are loaded.

    Added or padded vocabulary rows are allowed (the ids of the contrast decide, when it is rendered).

    Raises:
        BadModel: with the first difference.
    """
    configs = [(name, AutoConfig.from_pretrained(find(one).weights, local_files_only=True)) for name, one in checkpoints]
    first_name, first = configs[0]
    for name, config in configs[1:]:
        for what, label in (("model_type", "kind"), ("num_hidden_layers", "depth"), ("hidden_size", "width")):
            a, b = getattr(first.get_text_config(), what, None), getattr(config.get_text_config(), what, None)
            if a != b:
                raise BadModel(f"{first_name} and {name} differ in {label} ({a} against {b}): a triad shares one architecture.")
        a, b = first.get_text_config().vocab_size, config.get_text_config().vocab_size
        if abs(a - b) > max(a, b) * 0.02 + 1024:
            raise BadModel(f"{first_name} and {name} differ in vocabulary ({a} against {b} rows): a triad shares one.")


def _as_checkpoint(named: Checkpoint | str | Path, placement: Placement) -> Checkpoint:
    if isinstance(named, Checkpoint):
        return named
    return Checkpoint(str(named), revision=placement.revision)


def _load_weights(found: Found, placement: Placement) -> PreTrainedModel:
    where: dict[str, Any] = {"device_map": placement.device_map} if placement.device_map else {}
    try:
        with _quiet():
            hf, info = AutoModelForCausalLM.from_pretrained(
                str(found.weights),
                dtype=placement.torch_dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **where,
            )
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(f"{found} cannot be loaded ({line[:200]}).") from error
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        wrong = missing or [str(k) for k in info["mismatched_keys"]]
        raise BadModel(f"{found} lacks weights of its own configuration: {len(wrong)} missing or misshapen, first {wrong[0]}.")
    if not placement.device_map:
        hf = hf.to(placement.torch_device)
    return hf.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' bars and notes: ours is the only bar."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def rendering_of(checkpoint: Checkpoint | str | Path, choice: str = "aligned", system: str | None = None) -> Rendering:
    """The rendering for a comparison: the template of ``checkpoint`` (the aligned model's), or ``choice``."""
    return choose_rendering(choice, load_tokenizer(checkpoint), system=system)
