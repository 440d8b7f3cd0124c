"""A model in memory that can be read, edited and asked: the one door to TransformerLens.

Everything above this room says *what* it wants (a batch, a site, an edit, a reply); how it is done is known
here and nowhere else. Every pass runs without a key-value cache except generation.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from erosion.directions import check_fits_model
from erosion.errors import BadInput, ErosionError
from erosion.interventions import Intervention
from erosion.models.adapters import Adapters
from erosion.models.batches import Batch, Plan, for_each_batch, make_batch, plan_batches, position_ids
from erosion.models.checkpoints import Found, find
from erosion.prompts.exchanges import Exchange
from erosion.prompts.rendering import Rendered, Rendering, choose_rendering, render
from erosion.shapes import Float, Tensor
from erosion.sites import Site
from erosion.triads import Checkpoint

__all__ = ["Model", "Provenance", "every_layer"]

Hook = tuple[Site, Callable[[Tensor], Tensor | None]]


@dataclass(frozen=True)
class Provenance:
    """What a number was measured on: which model, in which precision, by which kernel."""

    model: str
    architecture: str
    weights_hash: str
    adapter_hash: str | None
    adapter_scale: float | None
    tokenizer_hash: str
    dtype: str
    kernel: str
    device: str
    n_layers: int
    d_model: int
    n_parameters: int
    wrap_error: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class Model:
    """A wrapped checkpoint; made by :func:`erosion.load`, closed by leaving its ``with`` block."""

    def __init__(
        self,
        hf: Any,
        bridge: Any,
        tokenizer: Any,
        found: Found,
        adapters: Adapters,
        provenance: Provenance,
        rendering: Rendering | None,
        batch_tokens: int | None,
    ) -> None:
        self.hf, self.bridge, self.tokenizer = hf, bridge, tokenizer
        self.found, self.adapters, self.provenance = found, adapters, provenance
        self._rendering = rendering
        self.batch_tokens = batch_tokens or _affordable_tokens(hf)
        self.batch: Batch | None = None
        self.passes = 0
        hf.base_model.register_forward_pre_hook(self._count)

    def __enter__(self) -> Self:
        """The model itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the weights."""
        self.close()

    def __repr__(self) -> str:
        """``Model(runs/tuned, 4 layers x 64, float32, sdpa on cpu)``."""
        p = self.provenance
        return f"Model({p.model}, {p.n_layers} layers x {p.d_model}, {p.dtype}, {p.kernel} on {p.device})"

    def close(self) -> None:
        """Free the memory; the model can not be used afterwards."""
        self.hf = self.bridge = self.batch = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _count(self, *_: object) -> None:
        self.passes += 1

    @property
    def n_layers(self) -> int:
        """The number of blocks."""
        return self.provenance.n_layers

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        return self.provenance.d_model

    @property
    def rendering(self) -> Rendering:
        """How messages become text here; refused in words when the tokenizer has no template."""
        if self._rendering is None:
            self._rendering = choose_rendering("aligned", self.tokenizer)
        return self._rendering

    def render(self, exchanges: Sequence[Exchange]) -> tuple[Rendered, ...]:
        """The exchanges as tokens with spans, refused where they do not fit the context."""
        rendered = render(exchanges, self.rendering, self.tokenizer)
        return require_context(self, rendered)

    def plan(self, rendered: Sequence[Rendered]) -> Plan:
        """Length-sorted batches of at most ``batch_tokens`` padded tokens."""
        return plan_batches(rendered, self.batch_tokens)

    def batch_of(self, rendered: Sequence[Rendered], index: Sequence[int], *, side: str = "right") -> Batch:
        """The chosen exchanges, padded, on this model's device."""
        pad = self.tokenizer.pad_token_id
        return make_batch(rendered, index, pad_id=0 if pad is None else pad, side=side).to(self.hf.device)

    def for_each_batch(self, rendered: Sequence[Rendered], work: Callable[[Batch], Any], *, name: str) -> None:
        """Do ``work`` on every batch, halving those that do not fit in memory."""
        for_each_batch(self.plan(rendered), lambda index: self.batch_of(rendered, index), work, name=name)

    @contextmanager
    def running(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Make ``batch`` the one that scoped edits refer to; yields the arguments of the pass."""
        self.batch = batch
        try:
            yield {"input_ids": batch.ids, "attention_mask": batch.mask, "position_ids": position_ids(batch.mask)}
        finally:
            self.batch = None

    @torch.no_grad()
    def run(self, batch: Batch) -> None:
        """One pass through the blocks without the output head: for readers that hook what they want."""
        with self.running(batch) as arguments:
            self.hf.base_model(**arguments, use_cache=False)

    @torch.no_grad()
    def logits(self, batch: Batch, *, last: int = 0) -> Float[Tensor, "batch position vocab"]:
        """The logits, of the last ``last`` positions only where it is given (0 = all).

        Memory: batch x positions kept x vocabulary, in the model's dtype.
        """
        with self.running(batch) as arguments:
            return self.hf(**arguments, use_cache=False, logits_to_keep=last).logits

    @contextmanager
    def hooked(self, hooks: Sequence[Hook]) -> Iterator[None]:
        """Call a function on the tensor at each site inside the block; what it returns replaces the tensor."""
        for site, _ in hooks:
            require_site(self, site)
        points = [(site.hook, _at_head(site, function)) for site, function in hooks]
        with self.bridge.hooks(fwd_hooks=points):
            yield

    @contextmanager
    def applied(self, interventions: Sequence[Intervention]) -> Iterator[None]:
        """Edit every pass inside the block, in the order given, and leave nothing behind.

        Each edit proves itself: it fired in every pass and changed the tensor (unless its dose is 0).

        Raises:
            BadInput: a site that the model does not have, or a direction made for another model.
            ErosionError: an edit that did not fire or changed nothing.
        """
        canaries = [_Canary(self, edit) for edit in interventions]
        before = self.passes
        with self.hooked([(canary.edit.at, canary) for canary in canaries]):
            yield
        for canary in canaries:
            canary.prove(self.passes - before)

    @contextmanager
    def using(self, checkpoint: Checkpoint) -> Iterator[Self]:
        """Be another checkpoint on the same weights inside the block (adapter on, off or scaled)."""
        was, provenance = self.found, self.provenance
        self._switch(find(checkpoint))
        try:
            yield self
        finally:
            self._switch(was)
            self.provenance = provenance

    def _switch(self, found: Found) -> None:
        if found.weights != self.found.weights:
            raise BadInput(f"{found} stands on other weights than {self.found}: load it by itself.")
        self.adapters.use(found.adapter, found.scale)
        self.found = found
        self.provenance = described(self.provenance, found)


class _Canary:
    """An edit as a hook that watches itself."""

    def __init__(self, model: Model, edit: Intervention) -> None:
        direction = getattr(edit, "direction", None) or getattr(edit, "along", None)
        if direction is not None:
            check_fits_model(
                direction,
                weights_hash=None,  # the aligned model's direction edits the tuned one
                d_model=model.d_model,
                n_layers=model.n_layers,
            )
        self.model, self.edit, self.fired, self.changed = model, edit, 0, False

    def __call__(self, x: Tensor) -> Tensor:
        self.fired += 1
        if self.edit.identity:
            return x
        edited = self.edit.edit(x)
        if self.edit.scope != "all":
            batch = self.model.batch
            if batch is not None and batch.mask.shape[1] == x.shape[1]:
                edited = torch.where(batch.scope(self.edit.scope)[..., None], edited, x)
            elif self.edit.scope == "prompt":  # a generated token is never part of the prompt
                return x
        self.changed = self.changed or not torch.equal(edited, x)
        return edited

    def prove(self, passes: int) -> None:
        """Refuse to have measured an edit that was not there."""
        if self.fired != passes:
            raise ErosionError(f"'{self.edit}' fired {self.fired} times in {passes} passes: the site is not on the path.")
        if passes and not self.changed and not self.edit.identity:
            raise ErosionError(f"'{self.edit}' changed nothing in {passes} passes: it is no intervention.")


def _at_head(site: Site, function: Callable[[Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
    """The function as TransformerLens calls it; at a head, on that head's slice."""
    if site.head is None:
        return lambda tensor, hook: function(tensor)

    def on_head(tensor: Tensor, hook: Any) -> Tensor | None:
        new = function(tensor[:, :, site.head])
        if new is None:
            return None
        tensor = tensor.clone()
        tensor[:, :, site.head] = new
        return tensor

    return on_head


def described(provenance: Provenance, found: Found) -> Provenance:
    """The provenance of another checkpoint on the same weights."""
    from dataclasses import replace

    from erosion.models.checkpoints import hash_weights

    return replace(
        provenance,
        model=str(found),
        adapter_hash=None if found.adapter is None else hash_weights(found.adapter),
        adapter_scale=None if found.adapter is None else found.scale,
    )


def every_layer(model: Model, part: str = "resid_post") -> tuple[Site, ...]:
    """One site for every layer of the model.

    Raises:
        BadInput: the architecture has no such part (parallel blocks have no ``resid_mid``).
    """
    sites = tuple(Site(layer, part) for layer in range(model.n_layers))
    for site in sites:
        require_site(model, site)
    return sites


def require_site(model: Model, site: Site) -> None:
    """Refuse a site that this model does not have.

    Raises:
        BadInput: the layer, part or head is not there.
    """
    if site.layer >= model.n_layers:
        raise BadInput(
            f"L{site.layer} does not exist: this model has {model.n_layers} layers (L0 to L{model.n_layers - 1})."
        )
    if site.hook not in model.bridge.hook_dict:
        raise BadInput(f"{site} does not exist in {model.provenance.architecture}: its blocks have no {site.part}.")
    heads = model.bridge.cfg.n_heads
    if site.head is not None and site.head >= heads:
        raise BadInput(f"Head {site.head} does not exist: this model has {heads} heads (0 to {heads - 1}).")


def require_context(model: Model, rendered: tuple[Rendered, ...]) -> tuple[Rendered, ...]:
    """Refuse what the context would cut.

    Raises:
        BadInput: with the first exchange that is too long.
    """
    longest = getattr(model.hf.config.get_text_config(), "max_position_embeddings", None)
    for one in rendered:
        if longest is not None and len(one) > longest:
            raise BadInput(
                f"{one.id!r} has {len(one)} tokens and the model's context holds {longest}: "
                "its response would be cut. Shorten it or drop it."
            )
    return rendered


def _affordable_tokens(hf: Any) -> int:
    """Padded tokens in a batch, so that logits and activations stay within a quarter of the free memory."""
    config = hf.config.get_text_config()
    per_token = 4 * (3 * config.vocab_size + 24 * config.hidden_size)
    if hf.device.type == "cuda":
        free = torch.cuda.mem_get_info(hf.device)[0] // 4
    else:
        free = 2**30
    return max(256, min(16_384, free // per_token))
