"""The organism: a small model with a known story, trained here from nothing, and shipped."""

from erosion.organisms.organism import NAMES, Organism, contrast, load_organism, neutral, open_organism
from erosion.organisms.recipe import Recipe
from erosion.organisms.train import train

__all__ = ["NAMES", "Organism", "Recipe", "contrast", "load_organism", "neutral", "open_organism", "train"]
