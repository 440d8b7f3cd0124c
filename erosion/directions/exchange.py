"""Directions to other tools and back: as a control vector for llama.cpp and repeng, or as plain tensors.

===================  =======================================  ==========================================
file                 one tensor for each layer                read by
===================  =======================================  ==========================================
``save``             ``L3.resid_post``: the unit vector       erosion, bit for bit, at any site
``export_gguf``      ``direction.3``: the displacement        llama.cpp (``--control-vector``), repeng
``export_tensors``   ``3``: the displacement                  anything that reads safetensors, such as
                                                              steering-vectors
===================  =======================================  ==========================================

All three count layers from 0 and mean a block's output, so layer 3 is ``L3.resid_post`` everywhere. The
others add a vector as it stands, so what is exported is the displacement, scale x vector: strength 1 there is
``steer(v, by=1)`` here. The passports travel along as one string, ``erosion.passports``.

With its passport a direction comes back with its scale and every fact exactly, and each entry of its vector
within 2e-7 of what it was (bit for bit where the scale is a power of two): it was multiplied by the scale and
divided again, in float32. **Without one**, nothing is known but the vector: which questions it was fitted on
can then not be checked, its repr says so, and measuring on them is refused nowhere.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from erosion.directions.control_vectors import is_gguf, read_control_vector, write_control_vector
from erosion.directions.direction import Direction
from erosion.directions.passport import Passport
from erosion.directions.storage import KEY, filed, from_header, load_directions, read_tensors, to_header
from erosion.errors import BadDirection
from erosion.files import write_atomically
from erosion.linalg import in_double
from erosion.shapes import Tensor, Vector
from erosion.sites import Site

__all__ = ["export_gguf", "export_tensors", "import_directions"]

_PASSPORTS = "erosion.passports"
_HINT = "controlvector.model_hint"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,3}")


def export_gguf(
    directions: Mapping[Site, Direction] | Direction, path: str | Path, *, model_hint: str
) -> Path:
    """Write a control vector: ``llama-cli --control-vector FILE`` then steers as ``steer(v, by=1)`` does.

    ``direction.N`` is the displacement of the direction at ``LN.resid_post``: llama.cpp and repeng add it to
    the output of block N, counted from 0. llama.cpp adds it at every position, the prompt's included, and
    every layer's at once: export the layers that are meant to act together, or choose among them with
    ``--control-vector-layer-range``.

    **Block 0**: llama.cpp never edits its output, and refuses a whole file that holds ``direction.0``. A
    direction at L0 is left out with a warning, and refused where it is the only one.

    Args:
        directions: one direction, or one per site; all at ``resid_post``.
        path: the ``.gguf`` file.
        model_hint: what it was fitted on, usually llama.cpp's architecture (``qwen2``, ``llama``). Shown to
            people; no reader compares it.

    Returns:
        The path.

    Raises:
        BadDirection: no direction, another part of the block, other widths, a scale that float32 does not
            hold, or layer 0 alone.
        BadInput: the gguf package is not there (the extra ``exchange``), or the file can not be written.

    >>> import tempfile
    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> path = export_gguf(v, Path(tempfile.mkdtemp()) / "v.gguf", model_hint="qwen2")
    >>> import_directions(path)[Site(1)].scale == v.scale
    True
    """
    chosen = filed(directions)
    layers = _displacements(chosen)
    if 0 in layers:
        never = "llama.cpp never edits the output of block 0"
        if len(layers) == 1:
            raise BadDirection(f"{never}, and L0.resid_post is the only direction: export another layer.")
        warnings.warn(f"L0.resid_post is left out of {path}: {never}.", stacklevel=2)
        layers = {layer: vector for layer, vector in layers.items() if layer}
        chosen = {site: v for site, v in chosen.items() if site.layer}
    strings = {_HINT: model_hint, _PASSPORTS: to_header(chosen)}
    return write_control_vector(layers, path, strings=strings)


def export_tensors(directions: Mapping[Site, Direction] | Direction, path: str | Path) -> Path:
    """Write plain safetensors: the displacement at ``L3.resid_post`` as the float32 tensor ``"3"``.

    For steering-vectors: ``SteeringVector({int(k): t for k, t in load_file(path).items()})``, whose
    multiplier 1 is then ``steer(v, by=1)``; it too adds to the output of block 3, counted from 0.

    Args:
        directions: one direction, or one per site; all at ``resid_post``.
        path: the ``.safetensors`` file.

    Returns:
        The path.

    Raises:
        BadDirection: no direction, another part of the block, other widths, or a scale that float32 does
            not hold.
        BadInput: the file can not be written.

    >>> import tempfile
    >>> from safetensors.torch import load_file
    >>> from erosion.directions import difference_of_means
    >>> v = difference_of_means(torch.eye(2) + 3, -torch.eye(2), at=Site(1))
    >>> path = export_tensors(v, Path(tempfile.mkdtemp()) / "v.safetensors")
    >>> bool((load_file(path)["1"] == v.displacement).all())
    True
    """
    chosen = filed(directions)
    tensors = {str(layer): vector for layer, vector in _displacements(chosen).items()}
    return write_atomically(path, safetensors.torch.save(tensors, metadata={_PASSPORTS: to_header(chosen)}))


def import_directions(path: str | Path, *, model: str | None = None) -> dict[Site, Direction]:
    """Read what :func:`export_gguf`, :func:`export_tensors`, :func:`save` or another tool has written.

    What the file holds decides, not its name: a GGUF control vector, or safetensors whose tensors are called
    ``"0"``, ``"1"``, … With passports the directions come back as they were (see the module for how
    exactly). Without, the passport says ``imported from <file name>`` and the length as scale; sign,
    questions and all else stay unknown, so **no use of it on the questions it was fitted on is refused**.
    (llama.cpp's own generator calls ``direction.N`` what it read after block N - 1 and adds after block N; it
    is filed under N, where it acts.)

    Args:
        path: the file.
        model: the model to name in passports that did not travel; else the file's own hint, where it has
            one. Passports that did travel name their own.

    Returns:
        Site -> direction: by layer, or in the order of :func:`save`.

    Raises:
        BadDirection: missing, cut short, a pickle (never read), big-endian, quantised, of another kind, a
            tensor that is not one finite vector or is all zeros, widths that differ, or passports that do
            not belong to the tensors.
        BadInput: the gguf package is not there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "theirs.safetensors"
    >>> safetensors.torch.save_file({"3": torch.tensor([3.0, 4.0])}, path)
    >>> import_directions(path)[Site(3)]
    Direction(L3.resid_post, imported from theirs.safetensors, scale 5, 2 wide, questions unknown)
    """
    path = Path(path)
    if is_gguf(path):
        layers, strings = read_control_vector(path)
        names = {f"direction.{layer}": layer for layer in layers}
        tensors = {f"direction.{layer}": vector for layer, vector in layers.items()}
    else:
        tensors, strings = read_tensors(path)
        if KEY in strings:
            return load_directions(path)
        names = {name: _layer(path, name) for name in tensors}
    vectors = {Site(names[name]): _finite(path, name, tensor) for name, tensor in tensors.items()}
    vectors = dict(sorted(vectors.items()))
    if not vectors:
        raise BadDirection(f"{path} holds no direction: export it again.")
    _require_one_width(vectors, where=str(path))
    if _PASSPORTS in strings:
        passports = from_header(strings[_PASSPORTS], path, names=[str(site) for site in vectors])
        return {site: _known(path, passports[site], vector) for site, vector in vectors.items()}
    said = model or strings.get(_HINT)
    return {site: _unknown(path, site, vector, said) for site, vector in vectors.items()}


def _displacements(directions: Mapping[Site, Direction]) -> dict[int, Tensor]:
    """Layer -> displacement, lowest layer first, refused where other tools could not take or hold it."""
    layers = {}
    for site, v in sorted(directions.items()):
        if site.part != "resid_post":
            raise BadDirection(
                f"The direction at {site} can not be exported: other tools add to a block's output, so only "
                f"those at resid_post can. Say moved(v, to=Site({site.layer})) where that is meant."
            )
        layers[site.layer] = v.displacement
        if v.scale < torch.finfo(torch.float32).tiny or not bool(v.displacement.isfinite().all()):
            raise BadDirection(
                f"The direction at {site} has scale {v.scale:g}, and float32 holds no such displacement: "
                f"give it a scale that it was measured with."
            )
    _require_one_width({site: v.vector for site, v in directions.items()}, where="The export")
    return layers


def _require_one_width(vectors: Mapping[Site, Tensor], *, where: str) -> None:
    widths = {len(vector): site for site, vector in vectors.items()}
    if len(widths) > 1:
        (one, here), (other, there) = list(widths.items())[:2]
        raise BadDirection(
            f"{where} holds vectors {one} wide (at {here}) and {other} wide (at {there}): use those of one "
            f"model."
        )


def _layer(path: Path, name: str) -> int:
    if not _NUMBER.fullmatch(name):
        raise BadDirection(
            f"{path} holds a tensor {name!r}: give one whose tensors are called by their layers, 0, 1, …"
        )
    return int(name)


def _finite(path: Path, name: str, tensor: Tensor) -> Vector:
    if tensor.ndim != 1 or not tensor.is_floating_point():
        raise BadDirection(
            f"{name} of {path} is {tensor.dtype} {list(tensor.shape)}: give one vector of floats a layer."
        )
    vector = tensor.float()
    if not bool(vector.isfinite().all()):
        raise BadDirection(f"{name} of {path} holds NaN or infinity: make it again in float32.")
    if not bool(vector.any()):
        raise BadDirection(f"{name} of {path} is all zeros and points nowhere: leave that layer out.")
    return vector


def _known(path: Path, passport: Passport, displacement: Vector) -> Direction:
    """The direction that was exported: the displacement over the passport's scale."""
    try:
        return Direction((in_double(displacement) / passport.scale).float(), passport)
    except BadDirection as error:
        length = float(torch.linalg.vector_norm(in_double(displacement)))
        raise BadDirection(
            f"{path} is damaged: the vector at {passport.site} is {length:.4g} long and its passport says "
            f"{passport.scale:.4g}. Export it again."
        ) from error


def _unknown(path: Path, site: Site, displacement: Vector, model: str | None) -> Direction:
    """A direction of which nothing is known but its vector."""
    length = float(torch.linalg.vector_norm(in_double(displacement)))
    passport = Passport(site, f"imported from {path.name}", length, sign=None, model=model)
    return Direction((in_double(displacement) / length).float(), passport)
