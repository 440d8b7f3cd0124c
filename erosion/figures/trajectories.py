"""Training as a curve: projection, gap, harm margin and angle at every checkpoint, and where they change."""

import plotly.graph_objects as go

from erosion.experiments import Result
from erosion.figures import dynamics_claims as claims
from erosion.figures.curves import curve, null_curve
from erosion.figures.layers import stacked
from erosion.figures.marks import Panel, beside, level
from erosion.figures.style import MODELS, ORANGE, faded

__all__ = ["trajectories"]

_SAID = {
    "projection": "shift along v (up: toward aligned answers)",
    "gap": "gap between the answers along v",
    "harm margin": "harm margin",
    "angle": "angle of the checkpoint's own v to the first one's",
}


def trajectories(result: Result) -> go.Figure:
    """Every curve over training steps in a panel of its own; shaded: where its best jump lies.

    Args:
        result: of :func:`erosion.trajectories`.
    """
    names = [name for name in _SAID if name in result.ours]
    figure = stacked(claims.trajectories(result), len(names), height=140)
    steps = result.inputs["steps"]
    for row, name in enumerate(names, start=1):
        panel, band = Panel(figure, row), result[name]
        beside(panel, _SAID[name])
        null_curve(panel, band.control, name="chance: random directions")
        jump = result["change"].get(name, {}).get("jump")
        if jump is not None and jump["p"] * len(result["change"]) <= 0.05:
            at = jump["last step before"]
            after = steps[steps.index(int(at.high)) + 1]
            figure.add_vrect(
                x0=at.low, x1=after, fillcolor=faded(ORANGE, 0.16), line_width=0, layer="below", **panel.place
            )
        curve(panel, band, MODELS["tuned"], name="checkpoints")
        if name in ("projection", "gap", "harm margin"):
            level(panel, 0)
        figure.update_yaxes(title_text=band.unit, **panel.place)
        figure.update_xaxes(showticklabels=row == len(names), zeroline=False, **panel.place)
    figure.update_xaxes(title_text="training step", **Panel(figure, len(names)).place)
    return figure
