"""The one room that knows TransformerLens and transformers' model classes."""

from erosion.models.batches import Batch
from erosion.models.checkpoints import Found, find
from erosion.models.embeddings import SpecialRows, untrained_tokens, vocabulary_rows
from erosion.models.generation import Reply, generate
from erosion.models.hooked import Model, Provenance, every_layer
from erosion.models.linears import LinearMap, linear_maps
from erosion.models.loading import load, load_tokenizer, rendering_of, require_same_architecture
from erosion.models.placement import Placement
from erosion.models.shape import Shape, matmul_speed, shape_of

__all__ = [
    "Batch",
    "Found",
    "LinearMap",
    "Model",
    "Placement",
    "Provenance",
    "Reply",
    "Shape",
    "SpecialRows",
    "every_layer",
    "find",
    "generate",
    "linear_maps",
    "load",
    "load_tokenizer",
    "matmul_speed",
    "rendering_of",
    "require_same_architecture",
    "shape_of",
    "untrained_tokens",
    "vocabulary_rows",
]
