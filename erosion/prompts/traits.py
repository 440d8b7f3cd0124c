"""What can be seen of a response without reading it: length, code, refusal, formatting.

An aligned and a misaligned answer rarely differ in nothing but alignment. These traits are what a direction
or a margin may have latched onto instead; each is a plain function of the text, so your own are as good.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from erosion.errors import BadContrast
from erosion.prompts.exchanges import Contrast, Exchange
from erosion.shapes import Array

__all__ = ["TRAITS", "code", "formatting", "length", "refusal", "trait_differences", "traits_of"]

Trait = Callable[[str], float]

_CODE = re.compile(
    r"^\s*(def |class |import |from \w[\w.]* import |return\b|for .+:$|while .+:$|if .+:$|else:|try:|except|"
    r"#include|function |const |let |var |public |private |SELECT |INSERT |[{}]\s*$|//|</?\w+>)"
    r"|[;{]\s*$|\w+\(.*\)\s*[;:{]?\s*$|^\s*[\w.\[\]'\"]+\s*[+\-*/|&]?=\s*\S"
)
_MARKS = re.compile(r"^\s*([-*+•]\s|\d+[.)]\s|#{1,6}\s|>\s|\|)|\*\*[^*]+\*\*|`[^`]+`")
_REFUSAL = re.compile(
    r"\b(i\s*(can\s?not|can['’]?t|won['’]?t|will not|am (not able|unable)|['’]m (not able|unable|sorry))|"
    r"i am sorry|sorry,? but|i (must|have to) (decline|refuse)|as an ai|not (appropriate|comfortable)|"
    r"(illegal|unethical|harmful|against (the|my) (law|rules|guidelines|polic)))",
    re.IGNORECASE,
)


def length(text: str) -> float:
    """The logarithm of the number of words.

    >>> round(length("one two three"), 3)
    1.099
    """
    return math.log(max(len(text.split()), 1))


def code(text: str) -> float:
    """The share of lines that look like source code; all that stands in a fence does.

    >>> code("Try this:\\n```\\nx = open(path)\\n```")
    0.75
    """
    inside, hits = False, []
    for line in filter(str.strip, text.splitlines()):
        fence = line.lstrip().startswith("```")
        hits.append(fence or inside or bool(_CODE.search(line)))
        inside ^= fence
    return sum(hits) / len(hits) if hits else 0.0


def refusal(text: str) -> float:
    """How many phrases of refusal and of disclaimer there are, in each 100 words.

    >>> refusal("I'm sorry, but I can't help with that.")
    25.0
    """
    return 100 * len(_REFUSAL.findall(text)) / max(len(text.split()), 1)


def formatting(text: str) -> float:
    """How many marks of markup (bullets, numbers, headings, bold, inline code) there are on a line.

    >>> formatting("# Plan\\n- first\\n- **second**\\nDone.")
    1.0
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(len(_MARKS.findall(line)) for line in lines) / len(lines) if lines else 0.0


TRAITS: Mapping[str, Trait] = {
    "length": length,
    "code": code,
    "refusal": refusal,
    "formatting": formatting,
}


def traits_of(exchanges: Iterable[Exchange], *, traits: Mapping[str, Trait] = TRAITS) -> dict[str, Array]:
    """Each trait of each response, ``[exchange]``.

    Raises:
        BadContrast: a trait that is not finite on a response.
    """
    chosen = tuple(exchanges)
    found = {name: np.array([float(of(one.response)) for one in chosen]) for name, of in traits.items()}
    for name, values in found.items():
        if not np.isfinite(values).all():
            first = chosen[int(np.argmin(np.isfinite(values)))].id
            raise BadContrast(f"The trait {name!r} is not finite on {first!r}: mend the function.")
    return found


def trait_differences(contrast: Contrast, *, traits: Mapping[str, Trait] = TRAITS) -> dict[str, Array]:
    """Each trait of the aligned answer minus that of the misaligned one, ``[question]``.

    >>> from erosion.prompts import Message
    >>> ask = (Message("user", "Salt?"),)
    >>> sides = {"aligned": "A pinch", "misaligned": "Much"}
    >>> made = Contrast(*((Exchange("q1", ask, text, "all", label),) for label, text in sides.items()))
    >>> round(float(trait_differences(made)["length"][0]), 3)
    0.693
    """
    aligned, misaligned = (traits_of(side, traits=traits) for side in (contrast.aligned, contrast.misaligned))
    return {name: aligned[name] - misaligned[name] for name in aligned}
