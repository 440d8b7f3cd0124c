"""The one room that knows TransformerLens and transformers' model classes."""

from erosion.models.batches import Batch
from erosion.models.blends import Change, blended, dosed, parts_of_change
from erosion.models.checkpoints import Found, find
from erosion.models.embeddings import SpecialRows, untrained_tokens, vocabulary_rows
from erosion.models.generation import Reply, generate
from erosion.models.hooked import Model, Provenance, every_layer
from erosion.models.linears import LinearMap, linear_maps
from erosion.models.loading import load, load_tokenizer, rendering_of, require_same_architecture
from erosion.models.orthogonal import orthogonalised_weights, writing_sites
from erosion.models.placement import Placement
from erosion.models.saving import save_checkpoint, save_orthogonalised
from erosion.models.shape import Shape, matmul_speed, shape_of

__all__ = [
    "Batch",
    "Change",
    "Found",
    "LinearMap",
    "Model",
    "Placement",
    "Provenance",
    "Reply",
    "Shape",
    "SpecialRows",
    "blended",
    "dosed",
    "every_layer",
    "find",
    "generate",
    "linear_maps",
    "load",
    "load_tokenizer",
    "matmul_speed",
    "orthogonalised_weights",
    "parts_of_change",
    "rendering_of",
    "require_same_architecture",
    "save_checkpoint",
    "save_orthogonalised",
    "shape_of",
    "untrained_tokens",
    "vocabulary_rows",
    "writing_sites",
]
