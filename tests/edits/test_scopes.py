"""Laws of scopes: a place is the same on either padding side, in a batch, and while answers are written."""

from itertools import product

import agreement
import pytest
import torch
import zoo

from erosion.directions import Subspace, difference_of_means
from erosion.errors import BadContrast, BadInput
from erosion.interventions import (
    SCOPES,
    ablate,
    clamp,
    conditional,
    mean_ablate,
    norm_preserving,
    positions,
    resample_ablate,
    rescoped,
    steer,
    zero_ablate,
)
from erosion.interventions.scopes import disjoint
from erosion.models import generate
from erosion.prompts import Exchange, Message, Rendered
from erosion.prompts.rendering import conversation_ids
from erosion.sites import Site

NAMES = tuple(name for name in zoo.CONFIGS if name != "qwen2")
SITE = Site(1)
RENDERED = agreement.words(*agreement.LENGTHS)
SIDES = pytest.mark.parametrize("side", ["left", "right"])
TALK = (Message("system", "w1 w2"), Message("user", "w3 w4 w5"))
SPOKEN = (
    Exchange("q0", TALK, "w6 w7 w8"),
    Exchange(
        "q1", (TALK[0], Message("user", "w9"), Message("assistant", "w10"), Message("user", "w11")), "w12"
    ),
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_direction(seed=0, at=SITE):
    aligned, misaligned = normal(2, 5, zoo.WIDTH, seed=seed)
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


V, W = a_direction(0), a_direction(1)
POOL = normal(7, zoo.WIDTH, seed=11)


def touched(model, batch, scope):
    """Which real positions of each exchange an edit with this scope changes, counted in its own tokens."""
    seen = []
    watch = [(SITE, lambda h: seen.append(h.clone()))]
    with model.hooked(watch), model.applied([steer(V, by=1, scope=scope)]), model.hooked(watch):
        model.run(batch)
    changed = (seen[0] != seen[1]).any(-1)
    assert not changed[~batch.mask.bool()].any() or scope == "all"
    rows = zip(changed, batch.rendered, batch.offset, strict=True)
    return [row[o : o + len(one)].nonzero().flatten().tolist() for row, one, o in rows]


@SIDES
@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (positions(0), [0]),
        (positions(-1), [2]),
        (positions(0, -1), [0, 2]),
        (positions(-3, 2), [0, 2]),
        (positions(1, -2), [1]),  # one place by two names
        (positions(0, within="response"), [3]),
        (positions(1, within="response"), [4]),
        (positions(0, within="end_of_turn"), [-1]),
        (positions(-1, within="response"), [-1]),
        (positions(0, -1, within="all"), [0, -1]),
        ("end_of_turn", [-1]),
    ],
    ids=str,
)
def test_places_are_counted_from_both_ends_on_either_padding_side(scope, expected, side, zoo_model):
    model, batch = zoo_model("qwen3"), agreement.batch_of(RENDERED, side=side)
    for one, found in zip(RENDERED, touched(model, batch, scope), strict=True):
        assert found == [place % len(one) for place in expected]


@SIDES
def test_spans_are_scopes_and_are_where_the_words_are(side, zoo_model):
    model = zoo_model("llama")
    rendered = model.render(SPOKEN)
    batch = model.batch_of(rendered, range(2), side=side)
    words = {
        "system": [["w1", "w2"], ["w1", "w2"]],
        "user": [["w3", "w4", "w5"], ["w11"]],
        "last_prompt": [["<assistant>"], ["<assistant>"]],
        "last_response": [["w8"], ["w12"]],
        "end_of_turn": [["<end>"], ["<end>"]],
        "response": [["w6", "w7", "w8", "<end>"], ["w12", "<end>"]],
        positions(-1, within="user"): [["w5"], ["w11"]],
        positions(0, within="system"): [["w1"], ["w1"]],
    }
    for scope, expected in words.items():
        found = touched(model, batch, scope)
        ids = [[one.ids[place] for place in places] for one, places in zip(rendered, found, strict=True)]
        assert [model.tokenizer.convert_ids_to_tokens(row) for row in ids] == expected, scope


def test_an_edit_at_one_place_leaves_everything_before_it_bit_for_bit(zoo_model):
    model, batch = zoo_model("mistral"), agreement.batch_of(RENDERED)
    before = model.logits(batch)
    with model.applied([steer(V, by=1, scope=positions(1, within="response"))]):
        after = model.logits(batch)
    assert torch.equal(after[:, :4], before[:, :4])
    assert not torch.equal(after[:, 4], before[:, 4])


def test_edits_of_all_places_together_are_the_edit_of_the_whole(zoo_model):
    model, batch = zoo_model("qwen3"), agreement.batch_of(RENDERED)
    real = batch.mask.bool()
    with model.applied([norm_preserving(steer(V, by=1, scope="prompt"))]):
        whole = model.logits(batch)
    parts = [norm_preserving(steer(V, by=1, scope=positions(place))) for place in range(3)]
    for order in (parts, parts[::-1]):
        with model.applied(order):
            assert torch.equal(model.logits(batch)[real], whole[real])


def test_scopes_that_are_called_disjoint_never_share_a_token(zoo_model):
    model = zoo_model("qwen3")
    rendered = (*model.render(SPOKEN), *model.render([Exchange("q2", TALK, "w1 w2 w3 w4")]))
    batch = model.batch_of(rendered, range(3))
    named = [scope for scope in SCOPES if scope != "thinking"]
    placed = [
        positions(*places, within=within)
        for within in ("prompt", "response", "user", "all")
        for places in ((0,), (-1,), (0, -1))
    ]
    where = {scope: batch.scope(scope) for scope in (*named, *placed)}
    apart = [(a, b) for a, b in product(where, where) if disjoint(a, b)]
    assert len(apart) > 50
    assert not any((where[a] & where[b]).any() for a, b in apart)
    assert disjoint(positions(0), positions(1))
    assert not disjoint(positions(0), positions(-1))  # the same token where a prompt has one
    assert not disjoint("all", positions(0))


# What is refused, in one line.


@pytest.mark.parametrize("place", [3, -4, 99])
def test_a_place_outside_the_prompt_is_refused_in_one_line(place, zoo_model):
    model = zoo_model("qwen3")
    fact = rf"Position {place} lies outside the prompt of 'q0/aligned', which has 3 tokens \(0 to 2\): choose"
    edit = steer(V, by=1, scope=positions(0, place))
    with pytest.raises(BadInput, match=fact) as refused, model.applied([edit]):
        model.run(agreement.batch_of(RENDERED))
    assert "\n" not in str(refused.value)
    assert not model.bridge.list_hooks()


def test_the_exchange_whose_response_is_too_short_is_named(zoo_model):
    model = zoo_model("qwen3")
    edit = steer(V, by=1, scope=positions(2, within="response"))
    with pytest.raises(BadInput, match="'q2/aligned', which has 2 tokens"), model.applied([edit]):
        model.run(agreement.batch_of(RENDERED))


def test_a_span_that_an_exchange_has_not_is_refused(zoo_model):
    model = zoo_model("qwen3")
    batch = model.batch_of(model.render([Exchange("q0", TALK[1:], "w1")]), [0])
    for scope in ("system", "thinking", positions(0, within="system")):
        with (
            pytest.raises(BadContrast, match=r"system|thinking"),
            model.applied([steer(V, by=1, scope=scope)]),
        ):
            model.run(batch)


@pytest.mark.parametrize(
    ("places", "within", "fact"),
    [
        ((), "prompt", "at least one"),
        ((0, 0), "prompt", "name one place twice"),
        ((True,), "prompt", "whole numbers"),
        ((0,), "answer", "no scope 'answer'"),
    ],
)
def test_places_that_mean_nothing_are_refused(places, within, fact):
    with pytest.raises(BadInput, match=fact):
        positions(*places, within=within)


# While answers are written, with a cache.

ASKED = tuple(
    (Message("user", " ".join(f"w{3 * i + j}" for j in range(length))),) for i, length in enumerate((9, 2, 5))
)
WRITTEN = ("all", "prompt", "last_prompt", "response", positions(0, -1), positions(0, 2, within="response"))
EDITS = {
    "steer": steer(V, by=1),
    "ablate": ablate(V),
    "ablate a subspace": ablate(Subspace(torch.linalg.qr(normal(zoo.WIDTH, 3).double()).Q.T, SITE)),
    "clamp": clamp(V, to=4),
    "norm kept": norm_preserving(steer(V, by=4)),
    "where it lies below": conditional(steer(V, by=1.5), on=W, below=0),
    "zero": zero_ablate(at=Site(1, "mlp_out")),
    "mean": mean_ablate(POOL, at=Site(1, "attn_out")),
    "resample": resample_ablate(POOL, at=SITE),
}


def cached(model, under, steps):
    """Token by token with the cache: what was fed in each pass, and the logits that came of it."""
    fed, logits = [], []

    def keep(_, __, arguments, output):
        fed.append(arguments["input_ids"])
        logits.append(output.logits[:, -1])

    handle = model.hf.register_forward_hook(keep, with_kwargs=True)
    try:
        generate(model, ASKED, under=under, max_new_tokens=steps)
    finally:
        handle.remove()
    return fed, torch.stack(logits, dim=1)


def rows_of(model):
    """Conversation -> its row: batches are sorted by length."""
    prompts = [conversation_ids(messages, model.rendering, model.tokenizer) for messages in ASKED]
    return prompts, sorted(range(len(ASKED)), key=lambda i: (len(prompts[i]), i))


def off_from_whole_passes(model, under, steps=4):
    """How far cached logits are from those of one whole pass over the same tokens, conversation by itself."""
    fed, found = cached(model, under, steps)
    prompts, order = rows_of(model)
    worst = 0.0
    for row, i in enumerate(order):
        written = tuple(int(tokens[row, 0]) for tokens in fed[1:])
        ids, start = (*prompts[i], *written), len(prompts[i])
        spans = {"response": (start, len(ids)), "last_prompt": (start - 1, start)}
        batch = agreement.batch_of([Rendered(f"conversation {i}", "q", "", ids, spans)])
        with model.applied(under):
            whole = model.logits(batch)[:, start - 1 :]
        ones = torch.ones(1, whole.shape[1])
        worst = max(worst, agreement.off([found[row : row + 1]], [whole], ones))
    return worst


@pytest.mark.parametrize("name", NAMES)
def test_a_cached_answer_under_every_edit_and_scope_equals_whole_passes(name, zoo_model):
    model = zoo_model(name)
    for edit in EDITS.values():
        assert off_from_whole_passes(model, [edit]) < 1e-5, edit
    for scope in WRITTEN:
        under = [rescoped(edit, scope) for edit in (EDITS["norm kept"], EDITS["zero"])]
        assert off_from_whole_passes(model, under) < 1e-5, scope


def test_a_scope_that_is_taken_for_another_would_be_found_out(zoo_model):
    model, logits = zoo_model("qwen3"), {}
    for scope in (*WRITTEN, None):
        under = [] if scope is None else [steer(V, by=3, scope=scope)]
        logits[scope] = cached(model, under, 4)[1][:, :3]
    assert all(
        not torch.allclose(a, b, atol=1e-3)
        for i, a in enumerate(logits.values())
        for b in list(logits.values())[:i]
    )


def test_each_conversation_gets_a_draw_of_its_own_and_keeps_it_while_it_is_answered(zoo_model):
    model, seen = zoo_model("qwen3"), []
    watch = [(SITE, lambda h: seen.append(h[:, -1].clone()))]
    with model.applied([resample_ablate(POOL, at=SITE, seed=1)]), model.hooked(watch):
        generate(model, ASKED, max_new_tokens=3)
    assert len({tuple(row.tolist()) for row in seen[0]}) > 1
    assert all(torch.equal(later, seen[0]) for later in seen[1:])


@pytest.mark.parametrize(
    ("scope", "fact"),
    [
        ("user", "Where user lies is not known while an answer is written"),
        ("end_of_turn", "Where end_of_turn lies is not known"),
        (positions(0, within="all"), r"Where all\[0\] lies is not known"),
        (
            positions(-1, within="response"),
            r"The end of an answer .* is not known: response\[-1\] counts from it",
        ),
        (positions(20), "Position 20 lies outside the prompt of 'conversation 1', which has"),
    ],
    ids=str,
)
def test_a_place_that_cannot_be_known_while_an_answer_is_written_is_refused_in_one_line(
    scope, fact, zoo_model
):
    model = zoo_model("qwen3")
    with pytest.raises(BadInput, match=fact) as refused:
        generate(model, ASKED, under=[steer(V, by=1, scope=scope)], max_new_tokens=2)
    assert "\n" not in str(refused.value)
    assert not model.bridge.list_hooks()
