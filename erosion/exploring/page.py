"""The page: controls on one side, the answers beside each other, every token coloured where it lies."""

import json
from collections.abc import Mapping
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from erosion.errors import BadInput
from erosion.exploring.sessions import EDITED, Answer, Session
from erosion.exploring.states import EDITS, MOST_TOKENS
from erosion.exploring.states import State as Asked
from erosion.figures.style import TOKENS

__all__ = ["page_of"]

_EVERY = 250  # milliseconds between looks at the answers
_SCOPES = ("all", "prompt", "response", "user", "prompt[-1]")
_SAID = {"waiting": "waits", "loading": "loads", "answering": "answers …", "done": "", "stopped": "stopped"}


def page_of(session: Session, start: Asked, *, described: str) -> Dash:
    """The app; nothing of it is fetched from elsewhere."""
    app = Dash(__name__, title="erosion explore", update_title="", serve_locally=True, assets_folder="assets")
    app.layout = html.Main(
        [
            html.Header(
                [html.H1("What do they answer?"), html.P(html.Bdi(described)), html.P(_facts(session))]
            ),
            html.Div([_controls(session, start), _answers(session)], className="sides"),
            dcc.Interval(id="clock", interval=_EVERY, disabled=True),
            dcc.Download(id="saved"),
        ]
    )
    _answering(app, session)
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
            _labelled("Where it acts", dcc.Dropdown(list(_SCOPES), start.scope, id="scope", clearable=False)),
            _labelled(
                "Longest answer, tokens",
                _number("max_new_tokens", start.max_new_tokens, low=1, high=MOST_TOKENS, step=1),
            ),
            _labelled("Temperature", _number("temperature", start.temperature, low=0, step="any")),
            _labelled("Seed", _number("seed", start.seed, low=0, step=1)),
            html.Div(
                [
                    html.Button("Ask", id="ask", type="button", className="first"),
                    html.Button("Stop", id="stop", type="button"),
                    html.Button("Save state", id="save", type="button"),
                    dcc.Upload(html.Button("Open state", type="button"), id="open", accept=".json"),
                ],
                className="buttons",
            ),
            html.P(id="told", role="alert"),
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
        ["toward misaligned answers ", html.I(className="key"), " toward aligned answers"], className="legend"
    )
    return html.Section([key, html.Div(panels, className="panels")])


def _titled(name: str, session: Session) -> Any:
    return html.Span(id="edited-title", children="edited") if name == EDITED else name


def _answering(app: Dash, session: Session) -> None:
    """Ask, stop, and show what is said."""
    names = ("prompt", "layer", "by", "edit", "edited", "scope", "max_new_tokens", "temperature", "seed")

    @app.callback(
        Output("told", "children"),
        Output("clock", "disabled"),
        Input("ask", "n_clicks"),
        Input("stop", "n_clicks"),
        *(State(name, "value") for name in names),
        prevent_initial_call=True,
    )
    def ask(_: Any, __: Any, *values: Any) -> tuple[Any, Any]:
        if ctx.triggered_id == "stop":
            session.stop()
            return "", no_update
        try:
            state = _state(dict(zip(names, values, strict=True)))
            session.ask(state)
        except BadInput as error:
            return str(error), no_update
        return session.unknown(state.prompt), False

    @app.callback(
        Output({"answer": ALL}, "children"),
        Output("edited-title", "children"),
        Output("clock", "disabled", allow_duplicate=True),
        Input("clock", "n_intervals"),
        Input("layer", "value"),
        prevent_initial_call=True,
    )
    def show(_: Any, layer: int) -> tuple[list[Any], str, bool]:
        busy, answers = session.busy, session.answers
        row = session.layers.index(layer) if layer in session.layers else 0
        widest = _widest(answers, row)
        said = [_drawn(answers.get(name, Answer()), row, widest) for name in session.names]
        return said, _edit_said(session.asked), not busy

    @app.callback(
        Output("saved", "data"),
        Output("told", "children", allow_duplicate=True),
        Input("save", "n_clicks"),
        *(State(name, "value") for name in names),
        prevent_initial_call=True,
    )
    def save(_: Any, *values: Any) -> tuple[Any, str]:
        try:
            state = _state(dict(zip(names, values, strict=True)))
        except BadInput as error:
            return no_update, str(error)
        found = {**state.to_json(), "answers": {name: one.text for name, one in session.answers.items()}}
        text = json.dumps(found, indent=2, ensure_ascii=False)
        return {"content": text, "filename": "erosion-state.json", "type": "application/json"}, ""


def _state(values: Mapping[str, Any]) -> Asked:
    """The page's values; an emptied field is refused by its name."""
    for name, value in values.items():
        if value is None and name != "prompt":
            raise BadInput(f"{name.replace('_', ' ')} is empty or out of range: give a number.")
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
    names = ("prompt", "layer", "by", "edit", "edited", "scope", "max_new_tokens", "temperature", "seed")

    @app.callback(
        *(Output(name, "value") for name in names),
        Output("told", "children", allow_duplicate=True),
        Input("open", "contents"),
        prevent_initial_call=True,
    )
    def opened(contents: str | None) -> tuple[Any, ...]:
        from base64 import b64decode

        try:
            state = Asked.from_json(json.loads(b64decode((contents or "").partition(",")[2])))
            if state.layer not in session.layers or state.edited not in session.checkpoints:
                raise BadInput(f"This session has no layer {state.layer} or no model {state.edited!r}.")
        except (BadInput, ValueError) as error:
            said = (
                str(error) if isinstance(error, BadInput) else "This file is no JSON: choose a saved state."
            )
            return (*(no_update for _ in names), said)
        return (*(getattr(state, name) for name in names), "")


def _edit_said(state: Asked) -> str:
    where = f"{state.edited}, {state.edit} at layer {state.layer}"
    return where if state.edit == "ablate" else f"{where} by {state.by:g}"


def _widest(answers: Mapping[str, Answer], row: int) -> float:
    """The largest position of an answer's token at this layer, over all answers: one scale for all."""
    sizes = [
        abs(value) for one in answers.values() if one.positions for value in one.positions[row][one.start :]
    ]
    return max(sizes, default=1.0) or 1.0


def _drawn(answer: Answer, row: int, widest: float) -> list[Any]:
    """The words coloured by their place; as plain text while they still come."""
    speed = f"{answer.rate:.0f} tokens/s, first after {1000 * answer.first:.0f} ms" if answer.rate else ""
    said = [one for one in (_SAID[answer.state], speed) if one]
    if answer.why:
        return [html.P(answer.why, className="why")]
    if not answer.positions:
        return [html.P(html.Bdi(answer.text or " "), className="text"), html.Small(" · ".join(said))]
    values = answer.positions[row][answer.start :]
    words = [
        _token(word, value, widest) for word, value in zip(answer.words[answer.start :], values, strict=True)
    ]
    mean = sum(values) / len(values)
    return [
        html.P(words, className="text", dir="auto"),
        html.Small(" · ".join([f"mean {mean:+.2f} fitted gaps", *said])),
    ]


def _token(word: str, value: float, widest: float) -> html.Span:
    """A word on its colour, light enough for black text; hover says where it lies."""
    end = TOKENS["aligned" if value >= 0 else "misaligned"]
    share = min(abs(value) / widest, 1.0)
    mixed = [round(255 + (int(end[i : i + 2], 16) - 255) * share) for i in (1, 3, 5)]
    colour = f"rgb({mixed[0]}, {mixed[1]}, {mixed[2]})"
    return html.Span(
        word,
        title=f"{word.strip()}: {value:+.2f} fitted gaps",
        style={"backgroundColor": colour},
        className="token",
    )
