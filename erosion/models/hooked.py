"""A model in memory that can be read, edited and asked: the one door to TransformerLens.

Everything above this room says *what* it wants (a batch, a site, an edit, a reply); how it is done is known
here and nowhere else. Every pass runs without a key-value cache except generation.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from erosion.errors import BadInput
from erosion.interventions import Intervention, refuse_conflicts
from erosion.models.adapters import Adapters
from erosion.models.anatomy import Anatomy
from erosion.models.batches import Batch, Plan, for_each_batch, make_batch, plan_batches, position_ids
from erosion.models.canary import Canary
from erosion.models.checkpoints import Found, find
from erosion.models.passes import Passes
from erosion.models.provenance import Provenance
from erosion.models.weights import Named
from erosion.prompts.exchanges import Exchange
from erosion.prompts.rendering import Rendered, Rendering, choose_rendering, render
from erosion.shapes import Float, Tensor
from erosion.sites import Site
from erosion.triads import Checkpoint

__all__ = ["Model", "Provenance", "every_layer", "require_site"]

Hook = tuple[Site, Callable[[Tensor], Tensor | None]]


@dataclass(eq=False, repr=False)
class Model:
    """A wrapped checkpoint; made by :func:`erosion.load`, closed by leaving its ``with`` block.

    ``hf`` is the transformers model, ``bridge`` TransformerLens' hooks in it, ``found`` and ``provenance``
    which checkpoint it is at present, ``weights`` its parameters by name, ``passes`` what is running.
    """

    hf: Any
    bridge: Any
    tokenizer: Any
    found: Found
    adapters: Adapters
    provenance: Provenance
    given: Rendering | None = None
    batch_tokens: int = 4096
    weights: Named = field(default_factory=Named)
    passes: Passes = field(init=False)
    anatomy: Anatomy = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count passes."""
        self.passes, self.anatomy = Passes(self.hf), Anatomy.of(self.hf, self.bridge)

    def __enter__(self) -> "Model":
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
        self.hf = self.bridge = _Closed(str(self.found))
        self.adapters, self.weights = Adapters({}, {}, ()), Named()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def n_layers(self) -> int:
        """The number of blocks."""
        return self.anatomy.n_layers

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        return self.anatomy.d_model

    @property
    def batch(self) -> Batch | None:
        """The batch of the present pass, where there is one."""
        return self.passes.batch

    @property
    def rendering(self) -> Rendering:
        """How messages become text here; refused in words when the tokenizer has no template."""
        return self.given or choose_rendering("aligned", self.tokenizer)

    @contextmanager
    def rendered_as(self, rendering: Rendering) -> Iterator["Model"]:
        """Render every exchange in another way inside the block: what the plain-template guard needs."""
        was, self.given = self.given, rendering
        try:
            yield self
        finally:
            self.given = was

    def render(self, exchanges: Sequence[Exchange]) -> tuple[Rendered, ...]:
        """The exchanges as tokens with spans, refused where they do not fit the context."""
        return require_context(self, render(exchanges, self.rendering, self.tokenizer))

    def plan(self, rendered: Sequence[Rendered]) -> Plan:
        """Length-sorted batches of at most ``batch_tokens`` padded tokens."""
        return plan_batches(rendered, self.batch_tokens)

    def batch_of(self, rendered: Sequence[Rendered], index: Sequence[int], *, side: str = "right") -> Batch:
        """The chosen exchanges, padded, on this model's device."""
        pad = self.tokenizer.pad_token_id
        return make_batch(rendered, index, pad_id=0 if pad is None else pad, side=side).to(self.hf.device)

    def for_each_batch(
        self, rendered: Sequence[Rendered], work: Callable[[Batch], Any], *, name: str
    ) -> None:
        """Do ``work`` on every batch, halving those that do not fit in memory."""
        for_each_batch(self.plan(rendered), lambda index: self.batch_of(rendered, index), work, name=name)

    @contextmanager
    def running(self, batch: Any) -> Iterator[dict[str, Tensor]]:
        """Make ``batch`` the one that scoped edits refer to; yields the arguments of the pass."""
        if not isinstance(batch, Batch):
            raise BadInput("A padded tensor without its mask reads wrong: make a Batch (model.batch_of).")
        copies = self.passes.copies
        with self.passes.about(batch.scope, rows=batch, batch=batch):
            yield {
                "input_ids": batch.ids.repeat(copies, 1),
                "attention_mask": batch.mask.repeat(copies, 1),
                "position_ids": position_ids(batch.mask).repeat(copies, 1),
            }

    @torch.no_grad()
    def run(self, batch: Any) -> None:
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
        """Call a function on the tensor at each site inside the block; what it returns replaces it."""
        for site, _ in hooks:
            require_site(self, site)
        points = [(site.hook, _called(site, function)) for site, function in hooks]
        with self.bridge.hooks(fwd_hooks=points):
            yield

    @contextmanager
    def applied(self, interventions: Sequence[Intervention]) -> Iterator[None]:
        """Edit every pass inside the block, in the order given, and leave nothing behind.

        Each edit proves itself: it fired in every pass and changed the tensor (unless its dose is 0).

        Raises:
            BadInput: a site that the model does not have, a direction made for another model, or a patch
                that would erase an edit before it.
            ErosionError: an edit that did not fire or changed nothing.
        """
        refuse_conflicts(interventions)
        canaries = [Canary(edit, self.anatomy, self.passes) for edit in interventions]
        with self.passes.watched(canaries), self.hooked([(canary.edit.at, canary) for canary in canaries]):
            yield
        for canary in canaries:
            canary.prove()

    @contextmanager
    def using(self, checkpoint: Checkpoint) -> Iterator["Model"]:
        """Be another checkpoint on the same weights inside the block (adapter on, off or scaled).

        Raises:
            BadModel: its adapter was not loaded with this model.
            BadInput: it stands on other weights.
        """
        was, provenance, found = self.found, self.provenance, find(checkpoint)
        if found.weights != was.weights:
            raise BadInput(f"{found} stands on other weights than {was}: load it by itself.")
        self.adapters.use(found.adapter, found.scale)
        self.found, self.provenance = found, provenance.of(found)
        try:
            yield self
        finally:
            self.adapters.use(was.adapter, was.scale)
            self.found, self.provenance = was, provenance


class _Closed:
    """What stands in a closed model's place: anything asked of it is refused in words."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise BadInput(f"{self._name} was closed: load it again, and work inside its with block.")

    def __call__(self, *_: object, **__: object) -> Any:
        """Refuse a pass as well."""
        return self.forward


def _called(site: Site, function: Callable[[Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
    """The function as TransformerLens calls it; at a head, on that head's slice."""
    if site.part == "resid_mid":
        return lambda tensor, hook: _in_place(tensor, function(tensor))
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


def _in_place(stream: Tensor, new: Tensor | None) -> Tensor:
    """The stream between a block's halves, changed where it lies: the block adds it to its output again."""
    return stream if new is None or new is stream else stream.copy_(new)


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
    """Refuse a site that this model does not have, or that lies where nothing is computed.

    Raises:
        BadInput: the layer, part or head is not there, or a replay skips it.
    """
    model.anatomy.require(site)
    layer = model.passes.replayed
    if layer is not None and not (site.layer > layer or site == Site(layer)):
        raise BadInput(
            f"{site} is not computed in a replay of L{layer}: leave the replay, or choose a later site."
        )


def require_context(model: Model, rendered: tuple[Rendered, ...]) -> tuple[Rendered, ...]:
    """Refuse what the context would cut.

    Raises:
        BadInput: with the first exchange that is too long.
    """
    longest = context_of(model)
    for one in rendered:
        if longest is not None and len(one) > longest:
            raise BadInput(
                f"{one.id!r} has {len(one)} tokens and the model's context holds {longest}: "
                "its response would be cut. Shorten it or drop it."
            )
    return rendered


def context_of(model: Model) -> int | None:
    """How many tokens the model's context holds, where its configuration says so."""
    return getattr(model.hf.config.get_text_config(), "max_position_embeddings", None)


def affordable_tokens(hf: Any) -> int:
    """Padded tokens in a batch, so that logits and activations stay within a quarter of the free memory."""
    config = hf.config.get_text_config()
    per_token = 4 * (3 * config.vocab_size + 24 * config.hidden_size)
    if hf.device.type == "cuda":
        free = torch.cuda.mem_get_info(hf.device)[0] // 4
    else:
        free = 2**30
    return max(256, min(16_384, free // per_token))
