"""Laws of titles: a finding is named only where the numbers establish it."""

import dataclasses

import pytest

from erosion.figures import choices_claims as choices
from erosion.figures import claims
from erosion.figures import patching_claims as patched
from erosion.stats.verdicts import WORDS
from tests.figures import results as made
from tests.figures.test_figures import effect


@pytest.mark.parametrize("word", WORDS)
def test_the_headline_begins_with_the_word_and_claims_no_other(word):
    number = made.UNDEFINED if word == "undefined" else None
    title = claims.headline(made.verdict(word, number=number)).lower()
    assert title.startswith(word)
    assert not any(other in title for other in WORDS if other != word)


@pytest.mark.parametrize("word", WORDS)
def test_domains_are_counted_under_their_own_word(word):
    title = claims.verdict_by_domain(made.verdict(word, words=(word, word))).lower()
    if word != "general damage":
        assert title == f"{word} in all 2 domains not trained on"
    assert not any(other in title for other in WORDS if other != word)


def test_domains_that_disagree_with_the_whole_stand_beside_its_word():
    title = claims.verdict_by_domain(made.verdict("inconclusive", words=("kept", "kept")))
    assert title == "Inconclusive over all; kept in all 2 domains not trained on"


def test_general_damage_calls_no_domain_eroded():
    title = claims.verdict_by_domain(made.verdict("general damage", words=("eroded", "eroded", "kept")))
    assert title == "General damage: 2 of 3 domains lose the margin, and not the margin alone"


def test_domains_of_several_words_are_told_apart():
    title = claims.verdict_by_domain(made.verdict(words=("inconclusive", "eroded", "inconclusive")))
    assert title == "Eroded in 1 of 3; inconclusive in 2 of 3 domains not trained on"


def test_without_a_domain_left_none_is_judged():
    assert "none is judged apart" in claims.verdict_by_domain(made.verdict("inconclusive", words=()))


def test_a_change_within_its_interval_is_not_established():
    assert claims.margins(made.distributions(change=-1.0)).startswith("The harm margin fell from 2.0")
    assert claims.margins(made.distributions(change=1.0)).startswith("The harm margin rose")
    assert claims.margins(made.distributions(change=-0.1)).startswith(
        "No change of the harm margin is established"
    )
    title = claims.style_and_harm(made.distributions(change=-0.1))
    assert title.startswith("Harm-specific change -0.10 [-0.30, 0.10], not established; style drift 0.30")


def test_a_change_within_its_control_is_not_established():
    inside = made.estimate(0.1, 0.05, control=made.Control("labels swapped", 0.0, -0.2, 0.2))
    assert not claims.established(inside)
    assert claims.established(made.estimate(0.3, 0.05, control=inside.control))
    assert not claims.established(made.UNDEFINED)


def test_what_no_layer_shows_is_said_of_no_layer():
    assert claims.held_out_auc(made.dimensions(auc=0.6)).startswith("At no layer")
    assert "at all 4 layers" in claims.held_out_auc(made.dimensions(auc=0.9))
    assert claims.shift(made.dynamics(moved=-0.2)).startswith("At no layer")
    assert "toward misaligned answers at all 4 layers" in claims.shift(made.dynamics(moved=-0.5))
    assert "toward aligned answers" in claims.shift(made.dynamics(moved=0.5))
    assert claims.positions(made.dynamics(moved=-0.1)).startswith("At no layer")
    assert claims.erosion_by_layer(made.dynamics(missing=(0,))).startswith("Along the direction")


def test_nothing_is_restored_where_nothing_was_lost():
    title = claims.causal_curves(made.causality(effect=0.5, lost=0.1))
    assert title.startswith("No loss of the harm margin is established")


def test_an_edit_within_its_random_band_is_no_finding():
    assert claims.causal_curves(made.causality(effect=0.05)).startswith("No edit along the direction")
    inside = claims.causal_curves(made.causality(effect=0.25))
    assert inside.startswith("Clamping at all 4 layers, without a random control")
    assert "steering" not in inside.lower()
    assert claims.causal_curves(made.causality(effect=0.5)).startswith(
        "Steering at all 4 layers and ablating at all 4 layers, beyond random directions; clamping"
    )


def test_an_edit_within_the_stricter_random_band_is_no_finding():
    title = claims.causal_curves(made.causality(effect=0.5, matched=(0.0, 0.9)))
    assert "beyond random directions" not in title


def test_a_patch_is_a_finding_only_beyond_random_directions():
    assert patched.patched_layers(made.patching(along=0.4)).startswith(
        "Aligned's activation along the direction, put into tuned, restores the harm margin at all 4 layers"
    )
    assert "no more of the harm margin than along random" in patched.patched_layers(made.patching(along=0.1))
    assert patched.patched_layers(made.patching(gap=0.1)).startswith("No loss of the harm margin")


def test_the_place_and_the_component_that_carry_most_are_named():
    title = patched.patched_places(made.patching())
    assert "hangs most on the prompt's last token at layer 0 (0.50 [0.40, 0.60] of 1)" in title
    nothing = made.patching(response=0.0)
    assert patched.patched_places(nothing).startswith("No single place of the text carries")
    assert "the MLP's output of layer 0 carries most" in patched.patched_components(made.patching())
    assert "more than another question's does" in patched.within(made.patching())


def test_a_choice_is_reported_by_what_it_does_on_held_out_questions():
    assert choices.candidates(made.selection()).startswith("Chosen on other questions: layer 0, response")
    assert choices.candidates(made.selection(chosen=None)).startswith(
        "No direction was chosen: none of the 8"
    )
    assert "that ablating it takes any of aligned's margin is not established" in choices.candidates(
        made.selection(taken=0.03)
    )
    assert choices.strengths(made.selection()).startswith("Strength 2 was chosen: it gains 0.20 [0.15, 0.25]")
    assert "without an established gain" in choices.strengths(made.selection(taken=0.03))
    assert choices.reported(made.selection()).endswith("beyond random directions")
    assert "no more of the harm margin than random directions" in choices.reported(
        made.selection(control=0.5)
    )
    assert "restores nothing of the harm margin that is established" in choices.reported(
        made.selection(gain=0.05)
    )
    assert choices.reported(made.selection(lost=0.1)).startswith("No loss of the harm margin is")


def test_a_dose_and_a_part_are_named_only_where_something_was_lost():
    bent = choices.dose_curve(made.doses())
    assert bent.endswith("half the dose costs 0.50 [0.45, 0.55]: more than half of that")
    assert choices.dose_curve(made.doses(bent=-0.2)).endswith("less than half of that")
    assert choices.dose_curve(made.doses(bent=0.0)).endswith("that this is not half is not established")
    assert choices.dose_curve(made.doses(lost=0.1)).startswith("No loss of the harm margin")
    assert choices.dose_curve(made.doses(lost=-1.0)).startswith("The whole fine-tune costs none of the harm")
    whole = "Putting back L0.mlp alone restores 0.50 [0.45, 0.55] of the harm margin lost, "
    for size, words in ((0.25, "more than its"), (0.7, "less than its"), (0.5, "not clearly more or less")):
        assert choices.restored_parts(made.doses(size=size)).startswith(whole + words)
    assert choices.restored_parts(made.doses(restored=0.0)).startswith("No single part")
    assert choices.restored_parts(made.doses(lost=0.1)).startswith("No loss of the harm margin")


def test_damage_and_domains_are_said_as_they_are():
    assert "by less than 0.1 nats per token: at most 0.02" in patched.damage(made.causality())
    result = dataclasses.replace(made.causality(), ours=made.beside(kl=0.5))
    assert "by more than 0.1 nats" in patched.damage(result)
    assert patched.domain_effects(made.causality()).endswith("restores margin in 2 of 2 domains")
    none = dataclasses.replace(made.causality(), ours=made.beside(gained=-0.2))
    assert "in no domain, and takes some in cooking" in patched.domain_effects(none)


def test_an_edit_says_how_much_of_the_loss_it_brings_back():
    title = claims.causal_curves(made.causality(effect=0.5))
    assert title.endswith("rises in tuned, by at most 0.5 of the 1 nats lost, and more than in aligned")


def test_a_fall_that_is_smaller_than_in_aligned_is_no_rise():
    result = made.causality(effect=0.5)
    edit = {**result["harm margin"]["clamp"], "on tuned": made.band(level=-0.3)}
    found = {**result["harm margin"], "steer": edit, "clamp": edit, "ablate": edit}
    title = claims.causal_curves(dataclasses.replace(result, ours={"harm margin": found}))
    assert title.startswith("No edit along the direction")


def test_effects_say_how_many_intervals_leave_zero():
    assert claims.effects([effect(0.5)]).startswith("The harm margin rises by 0.")
    assert claims.effects([effect(-0.5)]).startswith("The harm margin falls by 0.")
    assert claims.effects([effect(0.0)]).startswith("No change of the harm margin is established")
    assert (
        claims.effects([effect(0.5), effect(0.0)])
        == "1 of 2 edits changes the harm margin (intervals one by one)"
    )


def test_neighbouring_layers_are_joined():
    band = made.band(64)
    assert claims.in_layers([3], of=band) == "layer 3"
    assert claims.in_layers([0, 1, 2, 5, 7, 8], of=band) == "layers 0 to 2, 5 and 7 to 8"
