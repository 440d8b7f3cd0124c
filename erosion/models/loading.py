"""From a name to a hooked model: found, checked, adapted, wrapped and proved.

Notable: transformers loads (safetensors only, the checkpoint's dtype, its own attention kernel), adapters go
in before the wrap, and the wrap is proved on logits. Nothing is downloaded unless a hub name asks for it,
and no code that comes with a checkpoint is run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from erosion.errors import BadModel
from erosion.models.adapters import attach
from erosion.models.checkpoints import Found, find, hash_tokenizer, hash_weights
from erosion.models.hooked import Model, affordable_tokens
from erosion.models.placement import Placement
from erosion.models.proofs import probe, require_finite, require_same
from erosion.models.provenance import Provenance
from erosion.models.quiet import first_line, quiet
from erosion.models.weights import named_weights
from erosion.models.wrapping import wrap
from erosion.prompts.rendering import Rendering, choose_rendering
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
    read_config(found.weights)
    tokenizer = load_tokenizer(found.checkpoint, found=found)
    weights_hash = hash_weights(found.weights)
    hf = _load_weights(found, placement)
    adapters = attach(hf, (found, *others), weights_hash=weights_hash)
    require_finite(hf, str(found))
    adapters.use(found.adapter, found.scale)
    before, weights = probe(hf, str(found)), named_weights(hf)
    bridge = wrap(hf, found.weights, tokenizer, adapted=bool(adapters.names))
    off = require_same(before, hf, bridge, str(found))
    provenance = Provenance(
        model=str(found),
        architecture=type(hf).__name__,
        weights_hash=weights_hash,
        adapter_hash=None,
        adapter_scale=None,
        tokenizer_hash=hash_tokenizer(tokenizer),
        dtype=str(hf.dtype).removeprefix("torch."),
        kernel=hf.config._attn_implementation or "eager",
        device=str(hf.device.type),
        n_layers=len(bridge.blocks),
        d_model=hf.config.get_text_config().hidden_size,
        n_parameters=sum(p.numel() for p in {id(p): p for p in hf.parameters()}.values()),
        wrap_error=off,
    ).of(found)
    tokens = batch_tokens or affordable_tokens(hf)
    return Model(hf, bridge, tokenizer, found, adapters, provenance, rendering, tokens, weights)


def load_tokenizer(checkpoint: Checkpoint | str | Path, *, found: Found | None = None) -> Any:
    """A checkpoint's fast tokenizer (an adapter folder's own, where it has one).

    Raises:
        BadModel: no tokenizer there, or one that returns nothing for a word.
    """
    found = found or find(_as_checkpoint(checkpoint, Placement()))
    own = found.adapter is not None and (found.adapter / "tokenizer_config.json").is_file()
    folder = found.adapter if own else found.weights
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise BadModel(
            f"{folder} holds no tokenizer that can be read ({first_line(error)}): save it beside the weights."
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel(f"The tokenizer of {folder} gives no character offsets: save a fast one.")
    if not tokenizer("a b c", add_special_tokens=False)["input_ids"]:
        raise BadModel(
            f"The tokenizer of {folder} returns no token for a word: it was saved under a class that "
            "transformers does not use for this model; save it again with the model's own tokenizer class."
        )
    return tokenizer


def require_same_architecture(checkpoints: Sequence[tuple[str, Checkpoint]]) -> None:
    """Refuse models that differ in kind, depth, width or vocabulary, before any weights are loaded.

    Added or padded vocabulary rows are allowed (the ids of the contrast decide, when it is rendered).

    Raises:
        BadModel: with the first difference.
    """
    configs = [(name, read_config(find(one).weights)) for name, one in checkpoints]
    first_name, first = configs[0]
    for name, config in configs[1:]:
        for what, label in (("model_type", "kind"), ("num_hidden_layers", "depth"), ("hidden_size", "width")):
            a, b = getattr(first, what, None), getattr(config, what, None)
            if a != b:
                raise BadModel(
                    f"{first_name} and {name} differ in {label} ({a} against {b}): "
                    "a triad shares one architecture; choose checkpoints of one family."
                )
        a, b = first.vocab_size, config.vocab_size
        if abs(a - b) > max(a, b) * 0.02 + 1024:
            raise BadModel(
                f"{first_name} and {name} differ in vocabulary ({a} against {b} rows): "
                "a triad shares one; choose checkpoints of one family."
            )


def read_config(folder: Path) -> Any:
    """The text model's configuration in a folder; no code that comes with it is run.

    Raises:
        BadModel: it can not be read, or is of a kind that transformers does not know by itself.
    """
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise BadModel(
            f"The configuration in {folder} cannot be read ({first_line(error)}): "
            "choose a model that transformers knows without code of its own."
        ) from error
    return config.get_text_config()


def _as_checkpoint(named: Checkpoint | str | Path, placement: Placement) -> Checkpoint:
    if isinstance(named, Checkpoint):
        return named
    return Checkpoint(str(named), revision=placement.revision)


def _load_weights(found: Found, placement: Placement) -> PreTrainedModel:
    where: dict[str, Any] = {"device_map": placement.device_map} if placement.device_map else {}
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(found.weights),
                dtype=placement.torch_dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **where,
            )
    except Exception as error:
        raise BadModel(
            f"{found} cannot be loaded ({first_line(error, longest=200)}): save or download it again."
        ) from error
    hf, info = loaded
    wrong = sorted(map(str, (*info["missing_keys"], *info["mismatched_keys"])))
    if wrong:
        raise BadModel(
            f"{found} lacks weights of its own configuration: {len(wrong)} missing or misshapen, "
            f"first {wrong[0]}. Save or download it again."
        )
    if not placement.device_map:
        hf = hf.to(placement.torch_device)
    return hf.eval().requires_grad_(False)


def rendering_of(
    checkpoint: Checkpoint | str | Path, choice: str = "aligned", system: str | None = None
) -> Rendering:
    """The rendering for a comparison: the template of ``checkpoint`` (the aligned model's), or ``choice``."""
    return choose_rendering(choice, load_tokenizer(checkpoint), system=system)
