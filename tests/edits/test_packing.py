"""Laws of packs and replays: many edits in one pass, and blocks skipped, change no number."""

import agreement
import pytest
import torch
import zoo

from erosion.directions import difference_of_means
from erosion.errors import BadInput, ErosionError
from erosion.interventions import (
    ablate,
    conditional,
    norm_preserving,
    patch,
    positions,
    resample_ablate,
    steer,
    zero_ablate,
)
from erosion.models.packing import packed
from erosion.models.replay import recording, replayed, replaying
from erosion.sites import Site

NAMES = pytest.mark.parametrize("name", tuple(zoo.CONFIGS))
RENDERED = agreement.words(*agreement.LENGTHS)
BATCH = agreement.batch_of(RENDERED)
LAST = zoo.LAYERS - 1


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_direction(at, seed=0, width=zoo.WIDTH):
    aligned, misaligned = normal(2, 5, width, seed=seed)
    return difference_of_means(aligned + 1, misaligned - 1, at=at)


V, U = a_direction(Site(1)), a_direction(Site(2), seed=3)
FILED = {one.id: normal(len(one), zoo.WIDTH, seed=i) for i, one in enumerate(RENDERED)}
PACK = (
    [steer(V, by=1)],
    [],
    [ablate(V, scope="response"), norm_preserving(steer(U, by=2, scope=positions(0, -1)))],
    [patch(FILED, at=Site(1), scope="prompt"), zero_ablate(at=Site(2, "mlp_out"))],
    [conditional(resample_ablate(normal(5, zoo.WIDTH), at=Site(1)), on=V, above=0)],
    [steer(V, by=1), steer(V, by=-0.5)],
)


def one_by_one(model, batch=BATCH):
    found = []
    for edits in PACK:
        with model.applied(edits):
            found.append(model.logits(batch))
    return found


@NAMES
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_pack_equals_its_edits_one_by_one(name, side, zoo_model):
    model, batch = zoo_model(name), agreement.batch_of(RENDERED, side=side)
    with packed(model, PACK):
        together = model.logits(batch).chunk(len(PACK))
    expected = one_by_one(model, batch)
    for copy, alone in zip(together, expected, strict=True):
        assert agreement.off([copy], [alone], batch.mask) < 1e-5
    for copy in together[:1] + together[2:]:  # the copies are told apart
        assert agreement.off([copy], [expected[1]], batch.mask) > 1e-3


@NAMES
def test_blocks_that_are_played_back_change_no_bit_alone_and_nothing_in_a_pack(name, zoo_model):
    model = zoo_model(name)
    expected = one_by_one(model)
    with recording(model, [0, 1]) as outputs:
        clean = model.logits(BATCH)
    assert sorted(outputs) == [0, 1]
    for layer, output in outputs.items():
        with replayed(model, layer, output):
            assert torch.equal(model.logits(BATCH), clean)
            for edits, alone in zip(PACK, expected, strict=True):
                with model.applied(edits):
                    assert torch.equal(model.logits(BATCH), alone)
        with replayed(model, layer, output), packed(model, PACK):
            for copy, alone in zip(model.logits(BATCH).chunk(len(PACK)), expected, strict=True):
                assert agreement.off([copy], [alone], BATCH.mask) < 1e-5
    with replaying(model, 1):
        model.run(BATCH)
        with packed(model, PACK):
            for copy, alone in zip(model.logits(BATCH).chunk(len(PACK)), expected, strict=True):
                assert agreement.off([copy], [alone], BATCH.mask) < 1e-5
    assert torch.equal(model.logits(BATCH), clean)


def test_a_recording_is_taken_before_any_edit_and_what_is_played_back_decides(zoo_model):
    model = zoo_model("qwen3")
    clean = model.logits(BATCH)
    with recording(model, [1]) as outputs, model.applied([steer(V, by=1)]):
        model.run(BATCH)
    with replayed(model, 1, outputs[1]):
        assert torch.equal(model.logits(BATCH), clean)
    wrong = torch.utils._pytree.tree_map_only(torch.Tensor, lambda x: x + normal(zoo.WIDTH), outputs[1])
    with replayed(model, 1, wrong):
        assert not torch.equal(model.logits(BATCH), clean)


@pytest.fixture
def model(zoo_model):
    return zoo_model("qwen3")


def test_every_edit_of_a_pack_proves_itself(model):
    fact = r"'steer \+1e-30 at L1.resid_post' changed nothing in 1 passes"
    with pytest.raises(ErosionError, match=fact), packed(model, [[steer(V, by=1)], [steer(V, by=1e-30)]]):
        model.run(BATCH)
    with packed(model, [[steer(V, by=1)], [steer(V, by=0)]]):
        model.run(BATCH)


def test_a_pack_leaves_nothing_behind_after_an_error(model):
    before = model.logits(BATCH)
    with pytest.raises(KeyError), packed(model, PACK):
        raise KeyError
    assert torch.equal(model.logits(BATCH), before)
    assert not model.bridge.list_hooks()
    assert not model.passes.watching
    assert model.passes.copies == 1


@pytest.mark.parametrize(
    ("pack", "fact"),
    [
        ([[steer(V, by=1), zero_ablate(at=Site(1))]], "would erase"),
        ([[], [steer(a_direction(Site(7)), by=1)]], "L7 does not exist"),
        ([[ablate(a_direction(Site(1), width=16))]], "16 wide"),
        ([[patch(normal(3, 20, zoo.WIDTH), at=Site(1))]], "read the source on the same tokens"),
        ([[patch({"q9/aligned": normal(20, zoo.WIDTH)}, at=Site(1))]], "holds nothing for 'q0/aligned'"),
    ],
)
def test_a_pack_is_refused_for_what_would_be_refused_alone(pack, fact, model):
    with pytest.raises(BadInput, match=fact), packed(model, pack):
        model.run(BATCH)
    assert not model.bridge.list_hooks()
    assert model.passes.copies == 1


def test_packs_edits_and_replays_do_not_begin_inside_one_another(model):
    fact = "begins inside edits or another"
    with model.applied([steer(V, by=1)]), pytest.raises(BadInput, match=fact), packed(model, PACK):
        pass
    with packed(model, PACK), pytest.raises(BadInput, match=fact), packed(model, PACK):
        pass
    with packed(model, PACK), pytest.raises(BadInput, match=fact), replaying(model, 0):
        pass


def test_an_edit_before_what_is_played_back_is_refused(model):
    with recording(model, [1]) as outputs:
        model.run(BATCH)
    for site in (Site(0), Site(1, "mlp_out"), Site(1, "resid_pre")):
        with (
            replayed(model, 1, outputs[1]),
            pytest.raises(BadInput, match="is not computed in a replay of L1"),
            packed(model, [[steer(a_direction(site), by=1)]]),
        ):
            pass
    with pytest.raises(BadInput, match="L9 does not exist"), recording(model, [9]):
        pass
