"""Which block's attention or MLP wrote the shift along v that a later layer shows.

The residual stream is a sum: what is read at layer L is the embedding plus everything that attention and MLP
wrote up to there. So the tuned model's shift along v at L is, exactly,

    shift_L = v . change(embedding) + sum over blocks l <= L of v . change(attention_l) + v . change(MLP_l)

A write changes because its own weights changed or because its input did: this says where the shift enters
the stream, not which weights are to blame.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from einops import einsum, reduce

from erosion.activations import Activations
from erosion.directions import Direction
from erosion.errors import BadInput
from erosion.experiments.dynamics_paired import Frame, paired, random_vectors
from erosion.linalg import in_double
from erosion.shapes import Array, Float, Tensor
from erosion.sites import Site
from erosion.stats import Band

__all__ = ["attribution", "write_sites"]

Writes = dict[str, Float[Tensor, "question side d_model"]]
_CLOSE = 0.02  # of the read residual's length: bfloat16 reads stay below, a write before its norm does not


def write_sites(points: Collection[str], upto: Site) -> tuple[Site, ...]:
    """What to read, beside ``resid_post`` of every layer, for :func:`attribution`.

    The residual entering block 0, and ``resid_mid`` of each block where there is one: differences of the
    stream are what was really added, also where the architecture normalises a write before adding it
    (Gemma 2 and 3, OLMo 2). Where both halves of a block read the same stream (GPT-NeoX) there is no
    middle, and their outputs are read instead.

    Args:
        points: the model's hook points (``model.anatomy.points``).
        upto: the site whose shift is to be taken apart, the ``resid_post`` of some layer.

    >>> write_sites({"blocks.0.hook_resid_mid"}, Site(0))
    (L0.resid_pre, L0.resid_post, L0.resid_mid)
    """
    sites: list[Site] = [Site(0, "resid_pre")]
    for layer in range(upto.layer + 1):
        middle = Site(layer, "resid_mid")
        parts = ("resid_mid",) if middle.hook in points else ("attn_out", "mlp_out")
        sites += [Site(layer), *(Site(layer, part) for part in parts)]
    return tuple(sites)


def attribution(writes: Mapping[str, Activations], at: Direction, frame: Frame) -> dict[str, object]:
    """The shift of tuned along v at a layer, shared out to the embedding and to every block's two halves.

    Args:
        writes: ``aligned`` and ``tuned`` -> activations of the contrast at :func:`write_sites`.
        at: the direction, fitted at the ``resid_post`` of the reading layer.
        frame: the questions.

    Returns:
        ``attention`` and ``MLP``: a band over blocks; ``embedding``: a band of one; ``total``: the shift
        itself;
        ``largest deviation``: how far the parts are from adding up, in fitted gaps (rounding). One band
        holds for all parts at once. Control: the same sum along random directions.

    Raises:
        BadInput: a site was not read, or the parts do not add up (writes read before a norm).

    Memory: a float64 copy of the sites read, one layer at a time.
    """
    blocks, places = range(at.site.layer + 1), ["embedding"]
    random = random_vectors({at.site: at}, frame.sampling)[at.site]
    along = torch.cat([in_double(at.vector)[None], random]) / at.scale
    columns = [_change(writes, frame, along, Site(0, "resid_pre"))]
    for layer in blocks:
        columns += _block(writes, frame, along, layer)
        places += [f"attention {layer}", f"MLP {layer}"]
    total = _change(writes, frame, along, at.site)
    deviation = float(np.abs(sum(columns) - total)[..., 0].max())
    _refuse_what_does_not_add_up(writes, at, frame, deviation)
    parts = np.stack([column[:, 0] for column in columns], axis=1)
    chance = np.stack([column[:, 1:].mean(axis=0) for column in columns], axis=1)
    wide = frame.relabelled(places)
    band = wide.mean(parts, unit="fitted gaps").with_control(
        wide.chance(chance, unit="fitted gaps", what="random directions")
    )
    return {
        "at": at.site.layer,
        "attention": _part_of(band, [f"attention {one}" for one in blocks], list(blocks)),
        "MLP": _part_of(band, [f"MLP {one}" for one in blocks], list(blocks)),
        "embedding": _part_of(band, ["embedding"], ["embedding"]),
        "total": frame.relabelled([at.site.layer]).mean(total[:, :1], unit="fitted gaps"),
        "largest deviation": deviation,
    }


def _block(
    writes: Mapping[str, Activations], frame: Frame, along: Float[Tensor, "draw d_model"], layer: int
) -> list[Float[Array, "question draw"]]:
    """Change of what attention and MLP of one block added, per question and direction."""
    if all(Site(layer, "resid_mid") in one.values for one in writes.values()):
        before = Site(layer - 1) if layer else Site(0, "resid_pre")
        stream = [
            _change(writes, frame, along, site) for site in (before, Site(layer, "resid_mid"), Site(layer))
        ]
        return [stream[1] - stream[0], stream[2] - stream[1]]
    return [_change(writes, frame, along, Site(layer, part)) for part in ("attn_out", "mlp_out")]


def _change(
    writes: Mapping[str, Activations], frame: Frame, along: Float[Tensor, "draw d_model"], site: Site
) -> Float[Array, "question draw"]:
    vectors = []
    for name in ("aligned", "tuned"):
        if site not in writes[name].values:
            raise BadInput(f"{site} of the {name} model was not read: read what write_sites names.")
        both = paired(writes[name], site, frame.questions)
        vectors.append(reduce(both, "question side d_model -> question d_model", "mean"))
    return einsum(vectors[1] - vectors[0], along, "q d_model, draw d_model -> q draw").cpu().numpy()


def _refuse_what_does_not_add_up(
    writes: Mapping[str, Activations], at: Direction, frame: Frame, deviation: float
) -> None:
    length = paired(writes["aligned"], at.site, frame.questions).norm(dim=-1).mean()
    if deviation > _CLOSE * float(length) / at.scale:
        raise BadInput(
            f"The writes miss the shift at {at.site} by {deviation:.2g} fitted gaps: this model normalises "
            "them before adding. Read resid_mid instead (see write_sites)."
        )


def _part_of(band: Band, names: list[str], labels: list[int] | list[str]) -> Band:
    """Some entries of a band under other labels; its interval still holds for all parts at once."""
    at = [band.labels.index(name) for name in names]
    control = None if band.control is None else _part_of(band.control, names, labels)
    return Band(
        band.values[at],
        band.low[at],
        band.high[at],
        tuple(labels),
        band.unit,
        band.n_questions,
        band.method,
        band.confidence,
        control,
    )
