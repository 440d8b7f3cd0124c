"""A local page to type into: what base, aligned, tuned and the edited model answer, side by side.

On Dash, because plotly is in the house already, its scripts come from this very process, it runs on Flask, so
that a token and a host can be asked of every request, and what a user typed is drawn by React as text. Gradio
and Panel push words as they come, where Dash has to ask every quarter second; but each brings a web server
and a plotting stack of its own beside the ones at hand.
"""

from erosion.exploring.serving import explore
from erosion.exploring.sessions import Answer, Session
from erosion.exploring.states import State, load_state

__all__ = ["Answer", "Session", "State", "explore", "load_state"]
