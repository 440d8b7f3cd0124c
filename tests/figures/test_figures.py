"""Laws of figures: every result can be drawn, nothing undefined is drawn, no name becomes markup."""

import dataclasses
import json
import math

import numpy as np
import pytest

from erosion import figures
from erosion.effects import Effect
from erosion.errors import BadInput
from erosion.figures.style import DARK, FITS, GROUPS, MODELS, WORDS, faded, literal
from erosion.metrics import Scores
from tests.figures import results as made

LAYERS = (1, 4, 64)


def effect(value, name="harm margin", under=("steer +1.0 at L3.resid_post",), n=40):
    questions = tuple(f"q{i}" for i in range(n))
    noise = np.random.default_rng(0).normal(0, 0.1, n)
    before = Scores(np.zeros(n), questions, name, "nats per token")
    return Effect(before, Scores(noise + value, questions, name, "nats per token"), under, "tuned")


def every_figure(layers=4, base=True, names=("cooking", "code")):
    distributions, dynamics = made.distributions(names, base), made.dynamics(layers, base)
    words = ("eroded", "kept", "inconclusive", "undefined", "eroded")[: len(names)]
    yield figures.headline(made.verdict())
    yield figures.verdict_by_domain(made.verdict(words=words, names=names))
    yield figures.margins(distributions)
    yield figures.style_and_harm(distributions)
    yield figures.held_out_auc(made.dimensions(layers))
    yield figures.positions(dynamics)
    yield figures.shift(dynamics)
    yield figures.erosion_by_layer(dynamics)
    yield figures.causal_curves(made.causality(layers))
    yield figures.damage(made.causality(layers))
    yield figures.domain_effects(made.causality(layers))
    yield figures.candidates(made.selection(layers))
    yield figures.candidates(made.selection(layers, chosen=None))
    yield figures.strengths(made.selection(layers))
    yield figures.reported(made.selection(layers))
    yield figures.dose_curve(made.doses())
    yield figures.restored_parts(made.doses(parts=layers))
    patched = made.patching(layers, base=base)
    yield figures.patched_layers(patched)
    yield figures.patched_places(patched)
    yield figures.patched_components(patched, "corrupt")
    yield figures.within_run(patched)
    yield figures.effects([effect(0.5), effect(0.0, under=("random",))])


def numbers_in(figure):
    """Every x and y of every trace, absent ones left out."""
    values = [
        v for trace in figure.data for axis in (trace.x, trace.y) for v in (axis if axis is not None else ())
    ]
    return [float(v) for v in values if v is not None]


@pytest.mark.parametrize("base", [True, False], ids=["with base", "without base"])
@pytest.mark.parametrize("layers", LAYERS)
def test_every_result_can_be_drawn(layers, base):
    for figure in every_figure(layers, base):
        assert json.loads(figure.to_json())["layout"]["title"]["text"]
        assert all(math.isfinite(value) for value in numbers_in(figure))


@pytest.mark.parametrize("count", [1, 12])
def test_one_to_twelve_domains_each_have_a_row(count):
    names = tuple(f"domain {i}" for i in range(count))
    by_domain = figures.verdict_by_domain(made.verdict(words=("kept",) * count, names=names))
    assert len(by_domain.layout.yaxis.ticktext) == count + 3  # the whole, one trained on, one guard
    assert len(figures.margins(made.distributions(names)).layout.yaxis.ticktext) == count + 1


def test_no_name_becomes_markup():
    for figure in every_figure(names=made.HOSTILE):
        text = figure.to_json().replace("\\u003c", "<").replace("\\u003e", ">")
        assert "<script" not in text
        assert "<img" not in text
        assert "$x$" not in text


def test_a_long_name_is_cut_in_the_label_and_whole_on_hover():
    figure = figures.verdict_by_domain(made.verdict(words=("kept",), names=("a" * 300,)))
    assert all(len(line) < 60 for tick in figure.layout.yaxis.ticktext for line in tick.split("<br>"))
    assert any("a" * 300 in text for trace in figure.data for text in trace.customdata or ())


def test_where_every_domain_was_trained_on_none_is_called_the_whole():
    result = made.distributions()
    alone = dataclasses.replace(result, ours={"code": result["overall"]})
    for figure in (figures.margins(alone), figures.style_and_harm(alone)):
        assert figure.layout.title.text.startswith("Every domain was trained on")
        assert figure.layout.yaxis.ticktext == ("code <i>(trained on)</i>",)


def test_an_undefined_estimate_is_said_and_not_drawn():
    figure = figures.headline(made.verdict("undefined", number=made.UNDEFINED))
    assert "undefined" in [note.text for note in figure.layout.annotations]
    drawn = next(trace for trace in figure.data if trace.name == "undefined")
    assert len(drawn.x) == 0


def test_undefined_layers_are_left_out_and_said():
    figure = figures.erosion_by_layer(made.dynamics(missing=(0, 1)))
    curve = next(trace for trace in figure.data if trace.mode == "lines+markers")
    assert list(curve.y) == [None, None, 0.5, 0.5]
    assert "undefined" in [note.text for note in figure.layout.annotations]


@pytest.mark.parametrize(
    "result", [made.dynamics(base=False), made.dynamics(missing=range(4))], ids=["no base", "all undefined"]
)
def test_erosion_by_layer_says_when_there_is_none(result):
    figure = figures.erosion_by_layer(result)
    assert figure.layout.title.text.startswith("Undefined")
    assert not figure.data


def test_a_whisker_without_an_end_stops_at_the_edge():
    open_ended = made.Estimate(0.5, 0.2, math.inf, "fraction", 40, "Fieller, cluster t")
    figure = figures.headline(made.verdict(number=open_ended))
    (whisker,) = (trace for trace in figure.data if trace.name == "eroded")
    assert whisker.x[0] + whisker.error_x.array[0] == pytest.approx(figure.layout.xaxis.range[1])


def test_a_domain_judged_in_nats_is_not_drawn_on_the_axis_of_fractions():
    odd = made.domain("cooking", "kept", quantity="margin", number=made.estimate(9.0, unit="nats per token"))
    whole = made.verdict(words=(), trained=())
    figure = figures.verdict_by_domain(made.Verdict(**{**vars(whole), "domains": (odd,)}))
    assert 9.0 not in numbers_in(figure)
    assert any("in nats per token" in note.text for note in figure.layout.annotations)


def test_colour_is_never_alone():
    for looks in (MODELS, WORDS, GROUPS):
        kinds = {(look.symbol, look.dash) for name, look in looks.items() if name != "tuned minus aligned"}
        assert len(kinds) == len(looks) - ("tuned minus aligned" in looks)


DEUTERANOPIA = np.array(
    [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
)  # Machado et al. 2009
PROTANOPIA = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    "seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"]
)
def test_models_stay_apart_for_every_eye(seen):
    for theme in (lambda c: c, DARK.get):
        colours = [np.cbrt(np.clip(seen @ linear(theme(look.colour)), 0, 1)) for look in MODELS.values()]
        apart = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
        assert min(apart) > 0.15


@pytest.mark.parametrize(
    ("theme", "paper"), [(lambda c: c, "#ffffff"), (DARK.get, "#14181f")], ids=["light", "dark"]
)
def test_every_colour_can_be_read_against_the_page(theme, paper):
    weights = np.array([0.2126, 0.7152, 0.0722])
    page = weights @ linear(paper) + 0.05
    for look in (*MODELS.values(), *WORDS.values(), *GROUPS.values(), FITS):
        own = weights @ linear(theme(look.colour)) + 0.05
        assert max(own, page) / min(own, page) >= 4.4


def test_every_colour_of_a_figure_has_a_dark_twin():
    for figure in every_figure():
        found = {
            word
            for word in json.dumps(figure.to_dict(), default=str).split('"')
            if word.startswith(("#", "rgba"))
        }
        assert found - {"rgba(0,0,0,0)"} <= DARK.keys()
    assert faded("#0068a8") in DARK


def test_names_read_from_right_to_left_are_set_apart():
    assert literal("مجال") == "\u2068مجال\u2069"


def test_effects_of_two_metrics_are_refused():
    with pytest.raises(BadInput, match=r"2 metrics \(choice margin, harm margin\)"):
        figures.effects([effect(0.5), effect(0.5, name="choice margin")])
    with pytest.raises(BadInput, match="no effect to draw"):
        figures.effects([])
    with pytest.raises(BadInput, match="1 names for 2 effects"):
        figures.effects([effect(0.5), effect(0.5)], names=["one"])


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="choose one of choice margin, harm margin"):
        figures.causal_curves(made.causality(), metric="mood")
    with pytest.raises(BadInput, match="choose one of harm margin"):
        figures.margins(made.distributions(), metric="mood")


def test_drawing_twice_gives_the_same_figure():
    once, again = ([figure.to_json() for figure in every_figure()] for _ in range(2))
    assert once == again


def test_what_was_chosen_is_marked_and_what_does_not_pass_is_open():
    figure = figures.candidates(made.selection(4, chosen=2))
    marked = {line.x0 for line in figure.layout.shapes if line.type == "line" and line.x0 == line.x1}
    traces = [one for one in figure.data if one.name == "response" and one.x[0] is not None]
    assert marked == {traces[0].x[2]}
    assert [symbol.endswith("-open") for symbol in traces[0].marker.symbol] == [True, True, False, True]
    nothing = figures.candidates(made.selection(4, chosen=None))
    assert "chosen" not in [trace.name for trace in nothing.data]


def test_without_a_choice_there_is_no_strength_and_nothing_to_report():
    for draw, says in ((figures.strengths, "No strength was tried"), (figures.reported, "No choice was")):
        with pytest.raises(BadInput, match=says):
            draw(made.selection(chosen=None))


def test_a_loss_is_held_against_one_in_proportion_to_the_dose():
    figure = figures.dose_curve(made.doses(lost=1.0))
    chord = next(trace for trace in figure.data if trace.name == "in proportion to the dose")
    assert list(chord.y) == pytest.approx([1, 0.75, 0.5, 0.25, 0, -0.25, -0.5])
