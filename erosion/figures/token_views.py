"""Answers with their tokens coloured, by circuitsvis: one page without network, in a notebook or a file.

What is notable: circuitsvis writes a token's text as HTML, so every ``<`` and ``&`` is broken apart before it
gets there; its colours are kept light enough for black text; projections are packed into one signed byte
each, of their layer's largest, so that 64 layers stay small.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from erosion.experiments import Result
from erosion.figures import claims
from erosion.figures.style import TOKENS, in_script
from erosion.files import write_atomically

__all__ = ["TokenViews", "circuitsvis_script", "token_views"]

_MODELS, _SIDES = ("aligned", "tuned"), ("aligned", "misaligned")
_PAGE = files("erosion.figures") / "page"
# measure -> name, unit, how values below and above zero are coloured, whether it has layers
_LOOK = {
    "position": ("position along v", "fitted gaps", ("misaligned", "aligned"), True),
    "loss difference": ("log p: tuned − aligned", "nats", ("aligned", "tuned"), False),
    "KL": ("KL of tuned from aligned", "nats", ("none", "difference"), False),
    "influence": ("gradient influence", "nats", ("misaligned", "aligned"), False),
    "random": ("position along a random direction", "fitted gaps", ("misaligned", "aligned"), True),
}
_MEANINGS = {
    "position": "Blue: toward aligned answers; orange: toward misaligned ones; 0 is midway between the two.",
    "loss difference": "Orange: the tuned model finds the token likelier; blue: the aligned model does.",
    "KL": "How far the tuned model's next-token distribution lies from the aligned model's.",
    "influence": "Blue: learning this token would raise the harm margin of other questions; orange: lower.",
    "random": "The control: the same along one random direction of the activations' covariance.",
}


@dataclass(frozen=True, eq=False)
class TokenViews:
    """Answers to look at: a notebook shows them, :meth:`save` writes one HTML file; ``data`` is JSON."""

    title: str
    data: Mapping[str, Any]

    def html(self) -> str:
        """One self-contained page: circuitsvis inside, nothing asked of the network (1.3 MB and the data)."""
        environment = Environment(
            loader=PackageLoader("erosion.figures", "page"), autoescape=True, undefined=StrictUndefined
        )
        style, script = (Markup(token_asset(name)) for name in ("tokens.css", "tokens.js"))
        return environment.get_template("tokens.html").render(
            title=self.title,
            css=style,
            js=script,
            data=Markup(in_script(json.dumps(self.data, sort_keys=True))),
            circuitsvis=Markup(circuitsvis_script()),
        )

    def save(self, path: str | Path) -> Path:
        """Write the page as one HTML file, atomically."""
        return write_atomically(path, self.html().encode())

    def _repr_html_(self) -> str:
        page = html.escape(self.html(), quote=True)
        return (
            f'<iframe srcdoc="{page}" style="width:100%;height:36rem;border:0" title="Token views"></iframe>'
        )


def token_asset(name: str) -> str:
    """The text of ``tokens.css`` or ``tokens.js``: ours, so it may stand in a page as it is."""
    return (_PAGE / name).read_text(encoding="utf-8")


def circuitsvis_script() -> str:
    """circuitsvis' own script (1.3 MB), which draws the tokens; it loads nothing else."""
    source = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if not line.startswith("//# sourceMappingURL")]
    return "\n".join(lines).replace("</script", "<\\/script")


def token_views(result: Result) -> TokenViews:
    """The answers that a run chose to show, with selectors for question, measure and layer.

    Args:
        result: of :func:`erosion.tokens`.
    """
    shown = result["shown"]
    scales = {key: _scales(shown, key, layered=look[3]) for key, look in _LOOK.items() if _has(shown, key)}
    measures = []
    for key, one in scales.items():
        name, unit, (low, high), layered = _LOOK[key]
        look = {"key": key, "name": name, "unit": unit, "layered": layered, "meaning": _MEANINGS[key]}
        look |= {"low": TOKENS[low], "high": TOKENS[high], "oneSided": low == "none"}
        measures.append(look | ({"scales": one} if layered else {"scale": one[0]}))
    data = {
        "layers": result["layers"],
        "first": result["layers"].index(result["first layer shown"]),
        "models": list(_MODELS),
        "measures": measures,
        "shown": [_packed(one, scales) for one in shown],
    }
    return TokenViews(claims.tokens(result), data)


def _has(shown: Sequence[Mapping[str, Any]], key: str) -> bool:
    return bool(shown) and key in shown[0]["answers"]["aligned"]


def _scales(shown: Sequence[Mapping[str, Any]], key: str, *, layered: bool) -> list[float]:
    """Largest size over all answers that are shown, layer by layer (one number where there are none)."""
    answers = [one["answers"][side] for one in shown for side in _SIDES]
    if layered:
        rows = [
            np.array(one[key][model], dtype=float)[:, slice(*one["response"])]
            for one in answers
            for model in _MODELS
        ]
        found = np.nanmax([np.nanmax(np.abs(row), axis=1, initial=0.0) for row in rows], axis=0)
    else:
        found = np.array([np.nanmax([np.nanmax(np.abs(np.array(one[key], dtype=float))) for one in answers])])
    return [float(f"{max(one, 1e-9):.3g}") for one in np.nan_to_num(found)]


def _packed(one: Mapping[str, Any], scales: Mapping[str, list[float]]) -> dict[str, Any]:
    """A question for the page; the prompt's tokens once, since both answers follow the same prompt."""
    answers = {side: _answer(one["answers"][side], scales) for side in _SIDES}
    first = one["answers"]["aligned"]
    before = slice(0, first["response"][0])
    prompt: dict[str, Any] = {"words": first["words"][before]}
    for key in scales:
        if _LOOK[key][3]:
            prompt[key] = {model: _bytes(first[key][model], before, scales[key]) for model in _MODELS}
    margins = one["margin"]
    return {
        "label": f"{one['question']} ({one['why']})",
        "asked": one["asked"],
        "sentence": (
            f"{one['question']}, {one['domain']}: harm margin {margins['aligned']:.2g} under aligned, "
            f"{margins['tuned']:.2g} under tuned (nats per token)."
        ),
        "prompt": prompt,
        "answers": answers,
    }


def _answer(answer: Mapping[str, Any], scales: Mapping[str, list[float]]) -> dict[str, Any]:
    inside = slice(*answer["response"])
    found: dict[str, Any] = {"words": answer["words"][inside]}
    for key, scale in scales.items():
        if _LOOK[key][3]:
            found[key] = {model: _bytes(answer[key][model], inside, scale) for model in _MODELS}
        else:
            found[key] = [None if v is None else float(f"{v:.3g}") for v in answer[key]]
    return found


def _bytes(rows: Sequence[Sequence[float | None]], part: slice, scales: Sequence[float]) -> str:
    """Layers x tokens as signed bytes of each layer's scale, in base64; -128 where there is no number."""
    values = np.array([row[part] for row in rows], dtype=float) / np.array(scales)[:, None] * 127
    whole = np.where(np.isnan(values), -128, np.clip(np.rint(values), -127, 127))
    return base64.b64encode(whole.astype(np.int8).tobytes()).decode()
