"""The page: controls on one side, the answers beside each other, every token coloured where it lies."""

import json
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from erosion.errors import BadInput
from erosion.exploring.drawing import drawn, edit_said, look_of, widest
from erosion.exploring.sessions import EDITED, Answer, Session
from erosion.exploring.states import EDITS, MOST_TOKENS, SCOPES
from erosion.exploring.states import State as Asked

__all__ = ["page_of"]

_EVERY = 250  # milliseconds between looks at the answers
_NAMED = {
    "max_new_tokens": "Longest answer",
    "by": "Strength",
    "layer": "Layer",
    "temperature": "Temperature",
    "seed": "Seed",
}
_FIELDS: tuple[str, ...] = (
    "prompt",
    "layer",
    "by",
    "edit",
    "edited",
    "scope",
    "max_new_tokens",
    "temperature",
    "seed",
)


def page_of(session: Session, start: Asked, *, described: str) -> Dash:
    """The app; nothing of it is fetched from elsewhere."""
    app = Dash(__name__, title="erosion explore", update_title="", serve_locally=True, assets_folder="assets")
    app.layout = html.Main(
        [
            html.Header(
                [html.H1("What do they answer?"), html.P(html.Bdi(described)), html.P(_facts(session))]
            ),
            html.Div([_controls(session, start), _answers(session)], className="sides"),
            dcc.Interval(id="clock", interval=_EVERY),
            dcc.Store(id="asked", data=0),  # turns: the one asked here last, and the one shown whole
            dcc.Store(id="shown", data=-1),
            dcc.Store(id="looks", data=[]),  # what is on the page, so that it is sent when it changes
            dcc.Download(id="saved"),
        ]
    )
    _asking(app, session)
    _showing(app, session)
    _saving(app, session, described)
    _opening(app, session)
    return app


def _facts(session: Session) -> str:
    size = f"{session.bytes / 1e9:.2g} GB" if session.bytes > 1e8 else f"{session.bytes / 1e6:.2g} MB"
    size = f"{size} of weights"
    kept = "all in memory" if session.keeps_all else "one model in memory at a time"
    fitted = " Directions were fitted here, on the contrast's first questions." if session.fitted_here else ""
    return f"{size}, {kept}. v is the answer direction of the aligned model at each layer.{fitted}"


def _labelled(text: str, control: Any, wide: bool = False) -> html.Label:
    return html.Label([html.Span(text), control], className="wide" if wide else "")


def _number(
    name: str, value: float | int, *, low: int, step: int | str, high: int | None = None
) -> dcc.Input:
    return dcc.Input(id=name, type="number", value=value, min=low, max=high, step=step, debounce=True)


def _controls(session: Session, start: Asked) -> html.Form:
    layers = session.layers
    marks = {layer: str(layer) for layer in layers[:: max(1, len(layers) // 8)]}
    return html.Form(
        [
            _labelled(
                "Prompt", dcc.Textarea(id="prompt", value=start.prompt, placeholder="Type a question"), True
            ),
            html.Div(
                [
                    html.Button("Ask", id="ask", type="button", className="first"),
                    html.Button("Stop", id="stop", type="button"),
                    html.P(id="told", role="alert"),
                ],
                className="buttons",
            ),
            _labelled(
                "Layer of v: the edit's, and the colours'",
                dcc.Slider(min(layers), max(layers), 1, value=start.layer, id="layer", marks=marks),
                True,
            ),
            _labelled(
                "Strength of steering, in fitted gaps (up: toward aligned answers)",
                dcc.Slider(-8, 8, 0.25, value=start.by, id="by", marks={i: str(i) for i in range(-8, 9, 4)}),
                True,
            ),
            _labelled("Edit", dcc.Dropdown(list(EDITS), start.edit, id="edit", clearable=False)),
            _labelled(
                "Edited model",
                dcc.Dropdown(list(session.checkpoints), start.edited, id="edited", clearable=False),
            ),
            _labelled("Where it acts", dcc.Dropdown(list(SCOPES), start.scope, id="scope", clearable=False)),
            _labelled(
                "Longest answer, tokens",
                _number("max_new_tokens", start.max_new_tokens, low=1, high=MOST_TOKENS, step=1),
            ),
            _labelled("Temperature", _number("temperature", start.temperature, low=0, step="any")),
            _labelled("Seed", _number("seed", start.seed, low=0, step=1)),
            html.Div(
                [
                    html.Button("Save state", id="save", type="button"),
                    dcc.Upload(html.Button("Open state", type="button"), id="open", accept=".json"),
                ],
                className="buttons",
            ),
        ]
    )


def _answers(session: Session) -> html.Section:
    panels = [
        html.Article(
            [html.H2(_titled(name, session)), html.Div(id={"answer": name}, className="said")],
            className=name,
        )
        for name in session.names
    ]
    key = html.P(
        [
            html.Span(["toward misaligned answers ", html.B(id={"end": 0})]),
            html.I(className="key"),
            html.Span([html.B(id={"end": 1}), " toward aligned answers"]),
        ],
        className="legend",
    )
    return html.Section([key, html.Div(panels, className="panels")])


def _titled(name: str, session: Session) -> Any:
    return html.Span(id="edited-title", children="edited") if name == EDITED else name


def _asking(app: Dash, session: Session) -> None:
    """Ask and stop; the page looks for answers while the turn it asked is not shown whole."""

    @app.callback(
        Output("told", "children"),
        Output("asked", "data"),
        Input("ask", "n_clicks"),
        Input("stop", "n_clicks"),
        *[State(name, "value") for name in _FIELDS],
        prevent_initial_call=True,
    )
    def ask(_: Any, __: Any, *values: Any) -> tuple[Any, Any]:
        if ctx.triggered_id == "stop":
            session.stop()
            return "", no_update
        try:
            state = _state(values)
            session.ask(state)
        except BadInput as error:
            return str(error), no_update
        return session.unknown(state.prompt), session.turn

    app.clientside_callback(
        "(asked, shown) => asked <= shown",
        Output("clock", "disabled"),
        Input("asked", "data"),
        Input("shown", "data"),
    )


def _showing(app: Dash, session: Session) -> None:
    """What is said, as it comes, and its colours at the layer that is set."""

    @app.callback(
        Output({"answer": ALL}, "children"),
        Output("edited-title", "children"),
        Output({"end": ALL}, "children"),
        Output("looks", "data"),
        Output("shown", "data"),
        Input("clock", "n_intervals"),
        Input("layer", "value"),
        State("looks", "data"),
        prevent_initial_call=True,
    )
    def show(_: Any, layer: int, before: list[str]) -> tuple[Any, ...]:
        turn, busy, answers = session.turn, session.busy, session.answers
        row = session.layers.index(layer) if layer in session.layers else 0
        scale = widest(answers, row)
        each = [answers.get(name, Answer()) for name in session.names]
        looks = [look_of(one, row, scale) for one in each]
        was = before if len(before) == len(looks) else [""] * len(looks)
        said = [
            no_update if look == old else drawn(one, row, scale)
            for one, look, old in zip(each, looks, was, strict=True)
        ]
        title = edit_said(session.asked) if answers else no_update
        ends = [f"−{scale:.1f} " if scale else "", f" +{scale:.1f} fitted gaps" if scale else ""]
        return said, title, ends, looks, no_update if busy else turn


def _saving(app: Dash, session: Session, described: str) -> None:
    """What is set, as a file; with the answers where they are the answers to it."""

    @app.callback(
        Output("saved", "data"),
        Output("told", "children", allow_duplicate=True),
        Input("save", "n_clicks"),
        *(State(name, "value") for name in _FIELDS),
        prevent_initial_call=True,
    )
    def save(_: Any, *values: Any) -> tuple[Any, str]:
        try:
            state = _state(values)
        except BadInput as error:
            return no_update, str(error)
        found, said = {**state.to_json(), "about": described}, ""
        if session.asked == state and not session.busy:
            found["answers"] = {name: one.text for name, one in session.answers.items()}
        else:
            said = "Saved without answers: those shown are not, or not yet, the answers to what is set."
        text = json.dumps(found, indent=2, ensure_ascii=False)
        return {"content": text, "filename": "erosion-state.json", "type": "application/json"}, said


def _state(given: Sequence[Any]) -> Asked:
    """The page's values; an emptied field is refused by the name it has there."""
    values = dict(zip(_FIELDS, given, strict=True))
    for name, said in _NAMED.items():
        if values[name] is None:
            most = f"from 1 to {MOST_TOKENS}" if name == "max_new_tokens" else "of 0 or more"
            kind = "number" if name == "temperature" else "whole number"
            raise BadInput(f"{said} is empty or out of range: give a {kind} {most}.")
    return Asked.from_json(
        {
            "schema": 1,
            **values,
            "prompt": values["prompt"] or "",
            "by": float(values["by"]),
            "temperature": float(values["temperature"]),
        }
    )


def _opening(app: Dash, session: Session) -> None:
    """A saved state put back on the page."""

    @app.callback(
        *(Output(name, "value") for name in _FIELDS),
        Output("told", "children", allow_duplicate=True),
        Input("open", "contents"),
        prevent_initial_call=True,
    )
    def opened(contents: str | None) -> tuple[Any, ...]:
        try:
            state = Asked.from_json(json.loads(b64decode((contents or "").partition(",")[2])))
            if state.layer not in session.layers or state.edited not in session.checkpoints:
                raise BadInput(f"This session has no layer {state.layer} or no model {state.edited!r}.")
        except (BadInput, ValueError, RecursionError) as error:
            said = (
                str(error) if isinstance(error, BadInput) else "This file is no JSON: choose a saved state."
            )
            return (*(no_update for _ in _FIELDS), said)
        return (*(getattr(state, name) for name in _FIELDS), "")
