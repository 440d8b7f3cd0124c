"""Laws of the guards: a template that base cannot read is flagged, one that changes nothing is not."""

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments import Sampling, load_result
from erosion.experiments.guards import rendering_guards
from erosion.experiments.on_policy import off_distribution
from erosion.figures import guards as figures
from erosion.figures import guards_claims as claims
from erosion.metrics import OnPolicy, Responses, harm_margin_of
from erosion.models import SpecialRows
from erosion.reporting import guards as blocks
from erosion.stats import erosion

QUICK = Sampling(resamples=300)
N = 48
QUESTIONS = tuple(f"q{i:02}" for i in range(N))
DOMAINS = {question: ("cooking", "money")[i % 2] for i, question in enumerate(QUESTIONS)}
MARGINS = {"base": 0.0, "aligned": 1.0, "tuned": 0.4}


def responses(margin, *, worse=0.0, seed=0, tokens=5, spread=0.2):
    """Both answers to every question: ``margin`` apart, ``worse`` nats per token less likely."""
    rng = np.random.default_rng(seed)
    level = -2.0 - worse + 0.1 * rng.normal(size=N)
    half = (margin + spread * rng.normal(size=N)) / 2
    sides = [level + half, level - half]
    flat = [np.full(tokens, one) for side in sides for one in side]
    return Responses(
        QUESTIONS * 2,
        ("aligned",) * N + ("misaligned",) * N,
        ((1,) * tokens,) * (2 * N),
        tuple(flat),
        tuple(np.zeros(tokens) for _ in flat),
        np.full(2 * N, np.nan),
    )


def scored(base=True, *, margins=MARGINS, worse=None, seed=0, tokens=5):
    names = [name for name in margins if base or name != "base"]
    worse = worse or {}
    return {
        name: responses(margins[name], worse=worse.get(name, 0.0), seed=seed + i, tokens=tokens)
        for i, name in enumerate(names)
    }


def guarded(chat=None, plain=None, **options):
    return rendering_guards(chat or scored(), plain or scored(seed=9), DOMAINS, sampling=QUICK, **options)


def test_a_template_that_changes_nothing_is_not_flagged():
    result = guarded()
    assert result["flags"] == []
    both = result["erosion"]["overall"]
    assert both["difference"].covers(0)
    assert result["perplexity"]["base"]["ratio"].covers(1)
    assert 0 < result["detectable difference"] < 0.5
    assert claims.rendering(result).startswith("No sign that the template makes the erosion")


def test_the_numbers_are_those_of_the_margins():
    chat = scored()
    margins = {name: harm_margin_of(one).values for name, one in chat.items()}
    expected = erosion(margins["aligned"], margins["tuned"], margins["base"], QUESTIONS)
    found = guarded(chat)["erosion"]["overall"]["chat"]
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.control.name == "the same in plain text"


def test_a_base_that_cannot_read_the_chat_template_is_flagged_by_its_factor():
    result = guarded(scored(worse={"base": np.log(5)}))
    ratio = result["perplexity"]["base"]["ratio"]
    assert 4 < ratio.value < 6
    assert ratio.control.name == "the aligned model's ratio"
    assert 0.8 < ratio.control.value < 1.2
    assert any(
        "base is worse under the chat template than in plain text by a factor of" in f
        for f in result["flags"]
    )
    assert claims.rendering(result).startswith("Erosion is flagged: base is worse")


def test_a_ratio_is_flagged_only_when_its_whole_interval_is_above_two():
    assert guarded(scored(worse={"base": np.log(2)}))["flags"] == []


def test_aligned_or_tuned_being_worse_flags_nothing_of_base():
    assert guarded(scored(worse={"tuned": 3.0}))["flags"] == []


def test_an_erosion_that_depends_on_the_template_is_said_with_its_difference():
    result = guarded(plain=scored(margins=MARGINS | {"tuned": 1.0}, seed=9))
    assert 0.5 < result["erosion"]["overall"]["difference"].value < 0.8
    assert any("erosion depends on the template: 0.6" in flag for flag in result["flags"])


def test_the_same_words_cut_into_more_tokens_are_no_worse():
    """Twice the tokens at half the surprise each are the same words: perplexity counts words, not cuts."""
    plain = scored(seed=0)
    finer = {
        name: Responses(
            one.questions,
            one.labels,
            tuple(ids * 2 for ids in one.ids),
            tuple(np.repeat(tokens, 2) / 2 for tokens in one.log_likelihood),
            one.entropy,
            one.end_of_turn,
        )
        for name, one in plain.items()
    }
    ratio = guarded(plain, finer)["perplexity"]["base"]["ratio"]
    assert ratio.value == pytest.approx(1, abs=1e-12)


def test_untrained_special_tokens_are_flagged_and_kept():
    rows = SpecialRows(("<user>", "<end>"), (0.1, 1.0), (0.0, np.nan), ("<user>",), 40)
    result = guarded(special={"base": rows})
    assert any("embeddings look untrained (base: <user>)" in flag for flag in result["flags"])
    assert result.inputs["special tokens"]["base"]["untrained"] == ("<user>",)


def test_where_alignment_raised_nothing_in_plain_text_the_difference_is_undefined_with_a_reason():
    flat = scored(margins=dict.fromkeys(MARGINS, 0.0), seed=9)
    result = guarded(plain=flat)
    assert result["erosion"]["overall"]["difference"].undefined
    assert any("cannot be compared with plain text" in flag for flag in result["flags"])
    assert result["detectable difference"] is None


def test_without_a_base_the_loss_is_compared():
    result = guarded(scored(base=False), scored(base=False, seed=9))
    assert "erosion" not in result.ours
    assert result["loss"]["overall"]["chat"].value == pytest.approx(0.6, abs=0.1)
    assert "makes the loss" in claims.rendering(result)


def test_only_questions_with_a_domain_count():
    kept = {q: d for q, d in DOMAINS.items() if d == "money"}
    result = rendering_guards(scored(), scored(seed=9), kept, sampling=QUICK)
    assert result.inputs["questions"] == {"overall": N // 2, "money": N // 2}
    assert result["perplexity"]["base"]["ratio"].n_questions == N // 2


def test_other_models_or_other_answers_are_refused():
    with pytest.raises(BadInput, match="score aligned and tuned"):
        guarded(scored(base=False))
    chat = scored()
    moved = scored()
    one = moved["base"]
    moved["base"] = Responses(
        one.questions[::-1], *(getattr(one, f) for f in list(one.__dataclass_fields__)[1:])
    )
    with pytest.raises(BadInput, match="base was scored on other answers in plain text"):
        guarded(chat, moved)
    with pytest.raises(BadInput, match="None of the scored questions has a domain"):
        rendering_guards(chat, scored(), {}, sampling=QUICK)


def own(gap_aligned, gap_misaligned, *, seed=0, n=N):
    rng = np.random.default_rng(seed)
    level = 1.0 + 0.1 * rng.normal(size=n)
    noise = lambda: 0.1 * rng.normal(size=n)  # noqa: E731
    return OnPolicy(
        QUESTIONS[:n],
        level,
        level + noise(),
        level + gap_aligned + noise(),
        level + gap_misaligned + noise(),
        ("words",) * n,
        (True,) * n,
        QUESTIONS[n:],
    )


def test_the_gap_is_recovered_beside_what_two_own_answers_differ_by():
    result = off_distribution({"aligned": own(0.5, 2.0), "tuned": own(0.0, 0.0, seed=1)}, DOMAINS)
    found = result["overall"]["aligned"]
    assert found["aligned answers"].covers(0.5)
    assert found["misaligned answers"].covers(2.0)
    assert abs(found["aligned answers"].control.value) < 0.1
    assert found["ended"].value == 1
    title = claims.off_distribution(result)
    assert "aligned answers for aligned (by 0.5" in title
    assert "tuned" not in title


def test_trained_domains_stay_out_of_the_whole_and_are_shown():
    result = off_distribution({"tuned": own(0.0, 0.0)}, DOMAINS, trained_domains=["money"])
    assert result["overall"]["tuned"]["own answers"].n_questions == N // 2
    assert "money" in result.ours
    only = off_distribution(
        {"tuned": own(0.0, 0.0)}, dict.fromkeys(QUESTIONS, "code"), trained_domains=["code"]
    )
    assert "overall" not in only.ours
    assert claims.off_distribution(only).startswith("Every answered question is in a domain")
    with pytest.raises(BadInput, match="No model answered anything"):
        off_distribution({}, DOMAINS)


RESULTS = {
    "flagged": lambda: guarded(scored(worse={"base": 2.0})),
    "quiet": guarded,
    "no base": lambda: guarded(scored(base=False), scored(base=False, seed=9)),
    "undefined": lambda: guarded(plain=scored(margins=dict.fromkeys(MARGINS, 0.0), seed=9)),
}


@pytest.mark.parametrize("made", RESULTS.values(), ids=RESULTS)
def test_a_rendering_result_survives_the_file_and_is_drawn_and_reported(made, tmp_path):
    result = made()
    again = load_result(result.save(tmp_path / "rendering.json"))
    assert again.to_json() == result.to_json()
    drawn = figures.rendering(again)
    named = {trace.name for trace in drawn.data}
    assert {"chat template", "plain text", "aligned", "tuned"} <= named
    (block,) = blocks.rendering(again)
    assert block.claim == claims.rendering(result)
    assert block.control
    assert block.limits
    flags = next(table for table in block.tables if table.caption == "Flags")
    assert [row[0] for row in flags.rows] == (result["flags"] or ["none"])
    assert block.chart


def test_an_on_policy_result_survives_the_file_and_is_drawn_and_reported(tmp_path):
    result = off_distribution({"base": own(0.1, 0.1), "tuned": own(0.0, 1.0, n=40)}, DOMAINS)
    again = load_result(result.save(tmp_path / "on_policy.json"))
    assert again.to_json() == result.to_json()
    assert {trace.name for trace in figures.off_distribution(again).data} >= {"base", "tuned"}
    (block,) = blocks.off_distribution(again)
    assert "needs a judge" in block.limits
    left_out = block.tables[-1]
    assert ("tuned", str(N - 40)) in left_out.rows
    nothing = off_distribution(
        {"tuned": own(0, 0)}, dict.fromkeys(QUESTIONS, "code"), trained_domains=["code"]
    )
    assert blocks.off_distribution(nothing)[0].claim.startswith("Every answered question")


def test_a_hostile_model_token_stays_text_in_the_title():
    rows = SpecialRows(("<script>",), (0.1,), (0.0,), ("<script>alert(1)</script>",), 40)
    drawn = figures.rendering(guarded(special={"base": rows}))
    assert "<script>" not in drawn.layout.title.text
