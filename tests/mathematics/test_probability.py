"""Laws of next-token distributions, checked against exact float64 sums and torch.distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, kl_divergence

from erosion import probability
from erosion.errors import BadInput
from erosion.probability import entropy, jensen_shannon, kl, mass, rank, token_log_likelihood

INF, VOCAB = math.inf, 50
ON_ONE = [entropy]
ON_TWO = [kl, jensen_shannon]
ON_IDS = [token_log_likelihood, rank]


def logits(*batch: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(*batch, VOCAB, generator=torch.Generator().manual_seed(seed))


def ids(*batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCAB, batch, generator=torch.Generator().manual_seed(seed))


def test_every_quantity_is_that_of_torch_distributions():
    p, q, chosen = logits(6, 9).double(), logits(6, 9, seed=1).double(), ids(6, 9)
    exact = {"atol": 1e-12, "rtol": 1e-12}
    assert torch.allclose(token_log_likelihood(p, chosen), Categorical(logits=p).log_prob(chosen), **exact)
    assert torch.allclose(entropy(p), Categorical(logits=p).entropy(), **exact)
    assert torch.allclose(kl(p, q), kl_divergence(Categorical(logits=p), Categorical(logits=q)), **exact)
    middle = Categorical(probs=(p.softmax(-1) + q.softmax(-1)) / 2)
    halves = [kl_divergence(Categorical(logits=side), middle) / 2 for side in (p, q)]
    assert torch.allclose(jensen_shannon(p, q), halves[0] + halves[1], **exact)
    assert torch.allclose(mass(p, torch.tensor([3, 7])), p.softmax(-1)[..., [3, 7]].sum(-1), **exact)
    place = p.argsort(dim=-1, descending=True).argsort(dim=-1)
    assert torch.equal(rank(p, chosen), 1 + place.gather(-1, chosen.unsqueeze(-1)).squeeze(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("score", [*ON_ONE, *ON_TWO, token_log_likelihood])
def test_half_precision_logits_lose_nothing_but_their_own_rounding(score, dtype):
    p, q, chosen = logits(5, 4).to(dtype), logits(5, 4, seed=1).to(dtype), ids(5, 4)
    rest = {entropy: (), token_log_likelihood: (chosen,)}.get(score, (q,))
    made = score(p, *rest)
    wide = score(p.double(), *(x.double() if x.is_floating_point() else x for x in rest))
    assert made.dtype == torch.float32
    assert wide.dtype == torch.float64
    assert torch.allclose(made.double(), wide, atol=2e-5)


@pytest.mark.parametrize("piece", [1, VOCAB, 3 * VOCAB, 7 * VOCAB, 10**9])
@pytest.mark.parametrize("batch", [(), (5,), (3, 4), (2, 3, 4), (0,), (2, 0)])
def test_the_size_of_the_pieces_changes_nothing(piece, batch, monkeypatch):
    p, q, chosen = logits(*batch), logits(*batch, seed=1), ids(*batch)

    def everything():
        yield from (entropy(p), kl(p, q), jensen_shannon(p, q), mass(p, chosen.flatten()))
        yield from (token_log_likelihood(p, chosen), rank(p, chosen))

    whole = list(everything())
    monkeypatch.setattr(probability, "PIECE", piece)
    for small, big in zip(everything(), whole, strict=True):
        assert small.shape == torch.Size(batch)
        assert torch.allclose(small, big, atol=1e-6)


def test_no_more_than_a_piece_is_cast_at_once(monkeypatch):
    seen = []
    monkeypatch.setattr(probability, "PIECE", 4 * VOCAB)
    cast = probability._at_least_float32
    monkeypatch.setattr(probability, "_at_least_float32", lambda x: (seen.append(x.numel()), cast(x))[1])
    entropy(logits(3, 9).bfloat16())
    assert max(seen) <= 4 * VOCAB
    assert sum(seen) == 27 * VOCAB


@given(shift=st.floats(-1e4, 1e4), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_a_constant_added_to_every_logit_changes_nothing(shift, seed):
    p, q = logits(3, seed=seed).double(), logits(3, seed=seed + 1).double()
    assert torch.allclose(kl(p + shift, q), kl(p, q), atol=1e-9)
    assert torch.allclose(entropy(p + shift), entropy(p), atol=1e-9)


@given(seed=st.integers(0, 999), spread=st.floats(0.01, 200))
@settings(max_examples=60, deadline=None)
def test_divergences_stay_in_their_range(seed, spread):
    p, q = logits(4, seed=seed, spread=spread), logits(4, seed=seed + 1, spread=spread)
    assert (kl(p, q) >= 0).all()
    assert torch.equal(kl(p, p), torch.zeros(4))
    js = jensen_shannon(p, q)
    assert ((js >= 0) & (js <= math.log(2))).all()
    assert torch.allclose(js, jensen_shannon(q, p), atol=1e-6)
    assert ((entropy(p) >= 0) & (entropy(p) <= math.log(VOCAB) + 1e-5)).all()


def test_tokens_that_are_ruled_out_are_exact_zeros():
    one = torch.tensor([0.0, -INF, -INF])
    two = torch.tensor([0.0, 0.0, -INF])
    other = torch.tensor([-INF, -INF, 0.0])
    assert entropy(one) == 0
    assert entropy(two) == pytest.approx(math.log(2))
    assert kl(one, two) == pytest.approx(math.log(2))
    assert kl(two, one) == INF
    assert jensen_shannon(one, other) == pytest.approx(math.log(2))
    assert token_log_likelihood(one, torch.tensor(1)) == -INF
    assert rank(two, torch.tensor(2)) == 3
    assert mass(two, torch.tensor([2])) == 0


def test_huge_logits_neither_overflow_nor_vanish():
    p = torch.tensor([1e30, 0.0, -1e30])
    assert token_log_likelihood(p, torch.tensor(0)) == 0
    assert entropy(p) == 0
    assert kl(p, p) == 0
    small = torch.tensor([0.0, -200.0]).double()  # p = e^-200: zero in float32, exact in log space
    assert token_log_likelihood(small, torch.tensor(1)) == pytest.approx(-200)


def test_ties_share_the_better_rank():
    assert rank(torch.tensor([1.0, 2.0, 2.0, 0.0]), torch.tensor(1)) == 2 - 1
    assert rank(torch.tensor([1.0, 2.0, 2.0, 0.0]), torch.tensor(0)) == 3


@pytest.mark.parametrize("broken", [math.nan, INF, "only -inf"])
def test_logits_that_give_no_distribution_are_refused(broken):
    p = logits(2, 3)
    p[1, 1] = -INF if broken == "only -inf" else p[1, 1]
    p[1, 1, 4] = -INF if broken == "only -inf" else broken
    for result in (
        lambda: entropy(p),
        lambda: kl(p, logits(2, 3)),
        lambda: kl(logits(2, 3), p),
        lambda: jensen_shannon(logits(2, 3), p),
        lambda: token_log_likelihood(p, ids(2, 3)),
        lambda: mass(p, torch.tensor([0])),
    ):
        with pytest.raises(BadInput, match="gives no distribution"):
            result()


def test_a_rank_among_nan_is_refused():
    p = logits(3)
    p[2, 0] = math.nan
    with pytest.raises(BadInput, match="gives no distribution"):
        rank(p, ids(3))


@pytest.mark.parametrize("score", [token_log_likelihood, rank])
@pytest.mark.parametrize("wrong", [-100, VOCAB])
def test_an_id_outside_the_vocabulary_is_refused_by_number(score, wrong):
    chosen = ids(3)
    chosen[1] = wrong
    with pytest.raises(BadInput, match=f"Token id {wrong} does not exist: the logits have 50 \\(0 to 49\\)"):
        score(logits(3), chosen)


def test_the_likelihood_is_differentiable():
    p = logits(3).requires_grad_()
    token_log_likelihood(p, ids(3)).sum().backward()
    expected = torch.nn.functional.one_hot(ids(3), VOCAB) - p.detach().softmax(-1)
    assert torch.allclose(p.grad, expected, atol=1e-6)
