"""Laws of the palette: apart for every common kind of colour vision, and legible on the page."""

import itertools

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE

from erosion.figures.style import DARK, INK, MODELS, NULL, PAPER, SOFT, TOKENS, WORDS

VISIONS = {
    "normal": None,
    "deuteranopia": "deuteranomaly",
    "protanopia": "protanomaly",
    "tritanopia": "tritanomaly",
}
BETWEEN = (
    10.0  # CAM02-UCS; about 1 is just noticeable, neighbours in common qualitative palettes have 10 to 20
)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def seen(colour, vision):
    if VISIONS[vision] is None:
        return rgb(colour)
    simulated = {"name": "sRGB1+CVD", "cvd_type": VISIONS[vision], "severity": 100}
    return np.clip(cspace_convert(rgb(colour), simulated, "sRGB1"), 0, 1)


def apart(a, b, vision):
    return float(deltaE(seen(a, vision), seen(b, vision), input_space="sRGB1"))


def ratio(a, b):
    """Contrast of WCAG 2, from relative luminance."""

    def luminance(colour):
        linear = np.where(rgb(colour) <= 0.03928, rgb(colour) / 12.92, ((rgb(colour) + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("looks", [MODELS, WORDS], ids=["models", "words"])
def test_colours_stay_apart_or_marks_tell_them_apart(looks, dark, vision):
    for (one, a), (other, b) in itertools.combinations(looks.items(), 2):
        assert a.symbol != b.symbol, f"{one} and {other} are told apart by colour alone"
        if NULL in (a.colour, b.colour):
            continue
        colours = [DARK[look.colour] if dark else look.colour for look in (a, b)]
        assert apart(*colours, vision) > BETWEEN, (one, other, vision, apart(*colours, vision))


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_that_text_wears_reaches_four_and_a_half_to_one(dark):
    page = DARK[PAPER] if dark else PAPER
    for colour in {INK, SOFT, NULL, *(look.colour for look in (*MODELS.values(), *WORDS.values()))}:
        assert ratio(DARK[colour] if dark else colour, page) >= 4.5


def test_tokens_are_read_in_black_and_their_two_ends_stay_apart():
    for colour in TOKENS.values():
        brightness = rgb(colour) @ [0.299, 0.587, 0.114]
        assert brightness >= 0.6  # below it circuitsvis would write white
        assert ratio("#000000", colour) >= 4.5
    for vision in VISIONS:
        assert apart(TOKENS["aligned"], TOKENS["misaligned"], vision) > 2 * BETWEEN
