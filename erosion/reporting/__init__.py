"""A run folder as one HTML file that opens offline and says what it does not show."""

from erosion.reporting.sections import sections_of
from erosion.reporting.writing import report

__all__ = ["report", "sections_of"]
