"""Did this fine-tune erode the model's alignment, where inside, and can it be put right?"""

__version__ = "0.1.0"
