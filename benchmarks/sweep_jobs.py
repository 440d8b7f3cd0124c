"""What sweeping.py times: a contrast of one length, cells, full hooked runs, TransformerLens' loop."""

from collections.abc import Sequence

import torch
from reading import LAYERS, exchanges
from transformer_lens.patching import generic_activation_patch

import erosion as er
from erosion.directions import Direction, difference_of_means
from erosion.metrics import harm_margin_of, score_choices
from erosion.models import Model


def direction(layer: int, width: int, seed: int = 0) -> Direction:
    """A random direction, as long as a fitted one."""
    aligned, misaligned = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed))
    return difference_of_means(aligned + 1, misaligned - 1, at=er.Site(layer))


def contrast(rows: int, tokens: int) -> er.Contrast:
    """So many exchanges of one length, half of them on each side."""
    chosen = exchanges(rows, tokens)
    sides = [
        tuple(
            er.Exchange(f"q{i}", chosen[2 * i].messages, chosen[2 * i + side].response, "all", label)
            for i in range(rows // 2)
        )
        for side, label in enumerate(("aligned", "misaligned"))
    ]
    return er.Contrast(*sides)


def layer_cells(width: int, layers: Sequence[int] = range(LAYERS), doses: int = 1) -> tuple[er.Cell, ...]:
    """One steer at each layer, at each of several doses."""
    return er.grid(
        lambda layer, by: er.steer(direction(layer, width), by=by),
        layer=layers,
        by=[0.1 * (1 + i) for i in range(doses)],
    )


def hooked_runs(model: Model, chosen: er.Contrast, cells: Sequence[er.Cell]) -> None:
    """Each cell by full passes of its own, and one without an edit."""
    rendered = model.render(chosen.exchanges)
    for edits in ((), *(cell.edits for cell in cells)):
        with model.applied(edits):
            harm_margin_of(score_choices(model, rendered, chosen.exchanges))


@torch.no_grad()
def their_loop(model: Model, chosen: er.Contrast) -> None:
    """The same steers by TransformerLens' patching loop, with the mean log p of the responses as metric."""
    rendered = model.render(chosen.exchanges)
    batch = model.batch_of(rendered, range(len(rendered)))
    start, stop = rendered[0].span("response")
    steps = {
        f"blocks.{layer}.hook_resid_post": 0.1
        * direction(layer, model.d_model).displacement.to(batch.ids.device)
        for layer in range(model.n_layers)
    }

    def metric(logits: torch.Tensor) -> torch.Tensor:
        log_p = torch.log_softmax(logits[:, start - 1 : stop - 1].float(), -1)
        return log_p.gather(-1, batch.ids[:, start:stop, None]).mean()

    generic_activation_patch(
        model.bridge, batch.ids, steps, metric, lambda x, _, step: x + step, "resid_post", ["layer"]
    )
