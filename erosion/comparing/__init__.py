"""Several runs side by side: differences with intervals, paired by question where the questions are the same.

=================  ==================================================================================
module             holds
=================  ==================================================================================
``opening``        what is taken from each run folder
``rows``           one row for each run, or for the seeds of one recipe
``differences``    every row minus the one it is held against, with intervals that hold together
``setups``         what else differs between the runs, and why they may not be comparable
``layers``         how deep in each model the layer curves peak
=================  ==================================================================================
"""

from erosion.comparing.comparing import Comparison, compare

__all__ = ["Comparison", "compare"]
