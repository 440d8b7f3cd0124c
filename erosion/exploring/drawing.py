"""An answer drawn: its words, each on the colour of where it lies along the direction."""

from collections.abc import Mapping
from typing import Any

from dash import html

from erosion.exploring.sessions import Answer
from erosion.exploring.states import State
from erosion.figures.style import TOKENS

__all__ = ["drawn", "edit_said", "look_of", "widest"]

_SAID = {"waiting": "waits", "loading": "loads", "answering": "answers …", "done": "", "stopped": "stopped"}


def edit_said(state: State) -> str:
    """Which model is edited, and how."""
    where = f"{state.edited}, {state.edit} at layer {state.layer}"
    return where if state.edit == "ablate" else f"{where} by {state.by:g}"


def widest(answers: Mapping[str, Answer], row: int) -> float:
    """The largest position of an answer's token at this layer, over all answers: one scale for all."""
    sizes = [
        abs(value) for one in answers.values() if one.positions for value in one.positions[row][one.start :]
    ]
    return max(sizes, default=0.0)


def look_of(answer: Answer, row: int, widest: float) -> str:
    """What decides how an answer is drawn: the same look, the same words in the same colours."""
    placed = f"{row} {widest}" if answer.positions else ""
    return f"{answer.state} {placed} {hash((answer.text, answer.why, answer.rate, answer.words))}"


def drawn(answer: Answer, row: int, widest: float) -> list[Any]:
    """The words coloured by their place; as plain text while they still come."""
    speed = f"{answer.rate:.0f} tokens/s, first after {1000 * answer.first:.0f} ms" if answer.rate else ""
    said = [one for one in (_SAID[answer.state], speed) if one]
    if answer.why:
        return [html.P(answer.why, className="why")]
    if not answer.positions:
        return [html.P(html.Bdi(answer.text or " "), className="text"), html.Small(" · ".join(said))]
    values = answer.positions[row][answer.start :]
    words = answer.words[answer.start :]
    between = "" if any(" " in one for one in words) else " "  # tokens that are whole words carry no spaces
    boxes: list[Any] = []
    for word, value in zip(words, values, strict=True):
        boxes += [_token(word, value, widest), "\n" * word.count("\n") or between]
    mean = sum(values) / len(values)
    return [
        html.P(boxes, className="text", dir="auto"),
        html.Small(" · ".join([f"mean {_signed(mean)}", *said])),
    ]


def _token(word: str, value: float, widest: float) -> html.Span:
    """A word on its colour, light enough for black text; hover says where it lies."""
    end = TOKENS["aligned" if value >= 0 else "misaligned"]
    share = min(abs(value) / widest, 1.0) if widest else 0.0
    mixed = [round(255 + (int(end[i : i + 2], 16) - 255) * share) for i in (1, 3, 5)]
    colour = f"rgb({mixed[0]}, {mixed[1]}, {mixed[2]})"
    return html.Span(
        word.replace("\n", "↵"),
        title=f"{word.strip() or repr(word)}: {_signed(value)}",
        style={"backgroundColor": colour},
        className="token",
    )


def _signed(value: float) -> str:
    return f"{value:+.2f} fitted gaps".replace("-", "−")
