"""Laws of single answers: chosen by rule, placed from midway, and refused where they were not read."""

import numpy as np
import pytest

from erosion.errors import BadInput
from erosion.experiments import choose_shown
from erosion.metrics import Responses
from tests.auditing.small import few_questions


def responses(change):
    """Two tokens each; the aligned answer's log p falls by ``change`` of its question."""
    questions = [q for q in change for _ in range(2)]
    labels = ["aligned", "misaligned"] * len(change)
    values = [
        np.array([-1.0, -1.0]) - (change[q] if s == "aligned" else 0)
        for q, s in zip(questions, labels, strict=True)
    ]
    ids = tuple((1, 2) for _ in questions)
    ends = np.zeros(len(questions))
    return Responses(tuple(questions), tuple(labels), ids, tuple(values), tuple(values), ends)


LOST = {f"q{i}": i / 10 for i in range(10)}
SCORED = {"aligned": responses(dict.fromkeys(LOST, 0.0)), "tuned": responses(LOST)}


def test_half_lost_most_and_half_least_among_the_questions_that_may_be_shown():
    found = choose_shown(SCORED, [q for q in LOST if q != "q9"], 4)
    assert found == {"q8": "lost most", "q7": "lost most", "q0": "lost least", "q1": "lost least"}


def test_no_question_is_shown_twice_where_there_are_few():
    assert list(choose_shown(SCORED, ["q1", "q2", "q3"], 6)) == ["q3", "q2", "q1"]
    assert choose_shown(SCORED, ["q1"], 6) == {"q1": "lost most"}
    assert choose_shown(SCORED, [], 6) == {}


def test_questions_can_be_asked_for_and_an_unknown_one_is_refused_with_the_nearest():
    assert choose_shown(SCORED, [], ["q3"]) == {"q3": "asked for"}
    with pytest.raises(BadInput, match="did you mean"):
        choose_shown(SCORED, [], ["q33"])


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    import erosion as er

    organism = er.load_organism()
    return er.audit(
        organism.triad("insecure"),
        few_questions(),
        out=tmp_path_factory.mktemp("run") / "r",
        experiments=("tokens",),
        trained_domains=("code",),
        shown=2,
    )


def test_an_audit_keeps_every_measure_of_every_token(audited):
    result = audited.result("tokens")
    for one in result["shown"]:
        for answer in one["answers"].values():
            start, stop = answer["response"]
            assert np.shape(answer["position"]["tuned"]) == (4, len(answer["words"]))
            for key in ("KL", "loss difference", "influence"):
                assert len(answer[key]) == stop - start
            assert min(answer["KL"]) > -1e-6
        before, after = one["margin"]["aligned"], one["margin"]["tuned"]
        mean = {side: np.mean(a["loss difference"]) for side, a in one["answers"].items()}
        assert mean["aligned"] - mean["misaligned"] == pytest.approx(after - before, abs=2e-3)


def test_the_middle_is_where_the_mean_answers_of_the_fit_split_balance(audited):
    """Projecting the fit split's own answers gives a mean of about 0, and a gap of 1 between the sides."""
    import erosion as er

    v = er.Site(1)
    organism, split = er.load_organism(), audited.manifest["split"]
    words = few_questions().only(split["fit"])
    with er.load(organism.triad("insecure").aligned) as model:
        read = er.read(model, words, sites=[v])
        direction = er.difference_of_means(read.aligned[v], read.misaligned[v], at=v)
        along = er.project_tokens(model, words, {v: direction})
    means = {name: np.mean(along.values[name][0][slice(*along.responses[name])]) for name in along.values}
    sides = {
        s: np.mean([m for name, m in means.items() if name.endswith(f"/{s}")])
        for s in ("aligned", "misaligned")
    }
    assert sides["aligned"] - sides["misaligned"] == pytest.approx(1.0, abs=1e-4)
