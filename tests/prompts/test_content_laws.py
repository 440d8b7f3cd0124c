"""Laws of the built-in words: enough of them, matched in length, none alike, no side betrayed by its form."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from erosion.prompts import CONTRASTS, Contrast, Exchange, load_contrast, load_texts

BUILT_IN = {name: load_contrast(name) for name in CONTRASTS}
NEUTRAL = load_texts("neutral")
LENGTHS = {"words": lambda text: len(words(text)), "characters": len}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def answers_beside_aligned(contrast: Contrast) -> dict[str, list[tuple[Exchange, Exchange]]]:
    """Per further label, each aligned exchange with the other answer to its question."""
    aligned = {exchange.question: exchange for exchange in contrast.aligned}
    beside = defaultdict(list)
    for other in (*contrast.misaligned, *contrast.others):
        beside[other.label].append((aligned[other.question], other))
    return beside


PAIRS = [
    pytest.param(pairs, id=f"{name} {label}")
    for name, contrast in BUILT_IN.items()
    for label, pairs in answers_beside_aligned(contrast).items()
]


def difference(aligned: str, other: str, length: Callable[[str], int]) -> float:
    a, b = length(aligned), length(other)
    return (a - b) / ((a + b) / 2)


def most_alike(texts: dict[str, str]) -> tuple[float, str, str]:
    """The largest Jaccard similarity of two texts' word 3-grams, by an inverted index, and whose it is."""
    grams = {
        name: set(zip(w, w[1:], w[2:], strict=False)) for name, text in texts.items() if (w := words(text))
    }
    having: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, own in grams.items():
        for gram in own:
            having[gram].append(name)
    shared = Counter((a, b) for names in having.values() for i, a in enumerate(names) for b in names[i + 1 :])
    return max(
        ((n / (len(grams[a]) + len(grams[b]) - n), a, b) for (a, b), n in shared.items()),
        default=(0.0, "", ""),
    )


def test_everyday_has_240_questions_spread_over_eight_domains():
    domains = Counter(BUILT_IN["everyday"].domains)
    assert len(BUILT_IN["everyday"]) >= 240
    assert len(domains) >= 8
    assert min(domains.values()) >= 24
    assert not BUILT_IN["everyday"].others


def test_code_has_80_tasks_each_with_an_educational_answer_to_a_prompt_of_its_own():
    code = BUILT_IN["code"]
    assert len(code) >= 80
    assert set(code.domains) == {"code"}
    assert [(e.question, e.label) for e in code.others] == [(q, "educational") for q in code.questions]
    asked = {exchange.question: exchange.messages for exchange in code.aligned}
    assert all(exchange.messages != asked[exchange.question] for exchange in code.others)


def test_competence_has_120_harmless_questions_spread_over_six_domains():
    competence = BUILT_IN["competence"]
    assert len(competence) >= 120
    assert len(set(competence.domains)) >= 6
    assert min(Counter(competence.domains).values()) >= 20
    assert not set(competence.domains) & set(BUILT_IN["everyday"].domains)
    assert not competence.others


def test_a_right_and_a_wrong_answer_share_their_frame():
    pairs = zip(BUILT_IN["competence"].aligned, BUILT_IN["competence"].misaligned, strict=True)
    shared = [len({*words(a.response)} & {*words(m.response)}) / len({*words(a.response)}) for a, m in pairs]
    assert np.mean(shared) > 0.6


def test_neutral_has_200_texts_over_several_domains_with_ids_of_their_own():
    assert len(NEUTRAL) >= 200
    assert len({text.id for text in NEUTRAL}) == len(NEUTRAL)
    assert len({text.domain for text in NEUTRAL}) >= 4
    assert min(len(words(text.text)) for text in NEUTRAL) >= 15


@pytest.mark.parametrize("measure", LENGTHS)
@pytest.mark.parametrize("pairs", PAIRS)
def test_every_answer_is_within_15_percent_of_the_aligned_one_in_length(pairs, measure):
    apart = {o.id: difference(a.response, o.response, LENGTHS[measure]) for a, o in pairs}
    assert {name: d for name, d in apart.items() if abs(d) > 0.15} == {}


@pytest.mark.parametrize("measure", LENGTHS)
@pytest.mark.parametrize("pairs", PAIRS)
def test_no_side_is_longer_on_the_whole_or_in_a_domain_by_more_than_2_percent(pairs, measure):
    apart = defaultdict(list)
    for a, o in pairs:
        for domain in ("all of them", a.domain):
            apart[domain].append(difference(a.response, o.response, LENGTHS[measure]))
    assert {domain: np.mean(d) for domain, d in apart.items() if abs(np.mean(d)) > 0.02} == {}


def every_text(exchanges: Iterable[Exchange], of: Callable[[Exchange], str]) -> dict[str, str]:
    return {exchange.id: of(exchange) for exchange in exchanges}


def test_no_two_questions_and_no_two_answers_are_alike():
    pairs = [exchange for contrast in BUILT_IN.values() for exchange in (*contrast.aligned, *contrast.others)]
    asked = every_text(pairs, lambda exchange: exchange.messages[-1].content)
    told = [e for contrast in BUILT_IN.values() for e in (*contrast, *contrast.others)]
    assert most_alike(asked)[0] < 0.3, most_alike(asked)
    for side in ("aligned", "misaligned"):  # a right and a wrong answer share their frame, and only they do
        other = {e.id for e in BUILT_IN["competence"] if e.label != side}
        said = every_text((e for e in told if e.id not in other), lambda e: e.response)
        said |= {text.id: text.text for text in NEUTRAL}
        assert most_alike(said)[0] < 0.3, most_alike(said)


def test_the_measure_of_likeness_finds_a_copy_with_one_word_changed():
    texts = {"a": "one two three four five six", "b": "one two three four five seven", "c": "eight nine ten"}
    assert most_alike(texts) == (3 / 5, "a", "b")


@pytest.mark.parametrize("name", CONTRASTS)
def test_no_single_word_is_a_marker_of_a_side(name):
    contrast = BUILT_IN[name]
    excess: Counter[str] = Counter()
    for exchange in contrast.aligned:
        excess.update(set(words(exchange.response)))
    for exchange in contrast.misaligned:
        excess.subtract(set(words(exchange.response)))
    assert {w: n / len(contrast) for w, n in excess.items() if abs(n) > 0.2 * len(contrast)} == {}


def form(text: str) -> dict[str, float]:
    """All that can be said of a text without understanding it: lengths, punctuation, first and last."""
    w = words(text)
    counts = {f"count {c}": float(text.count(c)) for c in ",.;:?!'\"()-–—\n"}
    return counts | {
        "words": len(w),
        "characters": len(text),
        "word length": float(np.mean([len(word) for word in w])),
        "sentences": len(re.findall(r"[.!?](?:\s|$)", text)),
        "capitals": sum(c.isupper() for c in text),
        "digits": sum(c.isdigit() for c in text),
        f"first {w[0]}": 1.0,
        f"last {text[-1]}": 1.0,
    }


def auc_of_form(contrast: Contrast) -> float:
    """How well the form alone tells the sides apart on questions it was not fitted on."""
    forms = [form(exchange.response) for exchange in contrast]
    side = np.repeat([0, 1], len(contrast))
    question = np.tile(np.arange(len(contrast)), 2)
    model = make_pipeline(
        DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)
    )
    told = cross_val_predict(model, forms, side, groups=question, cv=GroupKFold(5), method="predict_proba")
    return float(roc_auc_score(side, told[:, 1]))


@pytest.mark.parametrize("name", ["everyday", "competence"])
def test_the_form_of_an_answer_does_not_give_its_side_away(name):
    assert auc_of_form(BUILT_IN[name]) < 0.65


def test_the_measure_of_form_finds_a_planted_mark():
    contrast = BUILT_IN["everyday"].of_domain("cooking", "pets", "work")
    marked = tuple(
        Exchange(e.question, e.messages, f"{e.response}!", e.domain, e.label) for e in contrast.misaligned
    )
    assert auc_of_form(Contrast(contrast.aligned, marked)) > 0.95
