"""The full pipeline: from a triad and a contrast to a run folder, and from a run folder to a decision."""

from erosion.auditing.config import Config, read_config
from erosion.auditing.gate import Decision, gate
from erosion.auditing.pipeline import audit, prepare
from erosion.auditing.run import Run, open_run

__all__ = ["Config", "Decision", "Run", "audit", "gate", "open_run", "prepare", "read_config"]
