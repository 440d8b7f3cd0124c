"""Laws of sweeps: each number is that of a full run by itself, and a sweep that was stopped goes on."""

import json

import numpy as np
import pytest
import torch
import zoo
from asked import a_direction, contrast_of, normal

import erosion as er
from erosion.errors import BadDirection, BadInput, BadRun, ErosionError
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
from erosion.metrics import choice_margin_of, harm_margin_of, score_choices
from erosion.sites import Site
from erosion.sweeps import grid, load_sweep, sweep
from erosion.sweeps.grid import Cell

NAMES = pytest.mark.parametrize("name", tuple(name for name in zoo.CONFIGS if name != "qwen2"))
CONTRAST = contrast_of()
V = {layer: a_direction(Site(layer), seed=layer) for layer in range(zoo.LAYERS)}
MARGINS = {"harm margin": harm_margin_of, "choice margin": choice_margin_of}
EDITS = {
    "steer": lambda layer: steer(V[layer], by=0.5),
    "places": lambda layer: norm_preserving(steer(V[layer], by=2, scope=positions(0, -1))),
    "mlp": lambda layer: zero_ablate(at=Site(layer, "mlp_out")),
    "resample": lambda layer: resample_ablate(normal(5, zoo.WIDTH), at=Site(layer), scope="response"),
    "two": lambda layer: (ablate(V[layer]), conditional(steer(V[2], by=1), on=V[2], below=0)),
}
CELLS = grid(lambda layer, edit: EDITS[edit](layer), layer=range(zoo.LAYERS), edit=list(EDITS))


@pytest.fixture
def with_tokens():
    """Set how many tokens a model's batches hold, for one test."""
    were = []

    def to(model, tokens):
        were.append((model, model.batch_tokens))
        model.batch_tokens = tokens
        return model

    yield to
    for model, tokens in reversed(were):
        model.batch_tokens = tokens


@pytest.fixture
def small(zoo_model, with_tokens):
    """Qwen3 with room for one exchange in a batch and one cell in a pass."""
    return with_tokens(zoo_model("qwen3"), 1)


def hooked_runs(model, cells=CELLS, contrast=CONTRAST):
    """Metric -> [cell, question], each cell by full passes of its own."""
    rendered = model.render(contrast.exchanges)
    found = {name: [] for name in MARGINS}
    for cell in cells:
        with model.applied(cell.edits):
            responses = score_choices(model, rendered, contrast.exchanges)
        for name, of in MARGINS.items():
            found[name].append(of(responses).values)
    return {name: np.stack(rows) for name, rows in found.items()}


@NAMES
def test_a_replayed_sweep_equals_full_hooked_runs_bit_for_bit(name, zoo_model, with_tokens):
    model = with_tokens(zoo_model(name), 30)  # batches of one to three exchanges, one cell in a pass
    found = sweep(model, CONTRAST, CELLS)
    assert found.replayed
    expected = hooked_runs(model)
    rendered = model.render(CONTRAST.exchanges)
    for metric, of in MARGINS.items():
        assert np.array_equal(found.after[metric], expected[metric])
        clean = of(score_choices(model, rendered, CONTRAST.exchanges)).values
        assert np.array_equal(found.before[metric], clean)
        assert (np.abs(found.effects(metric)).max(-1) > 1e-4).sum() >= len(CELLS) - 3


@NAMES
def test_a_packed_sweep_equals_full_hooked_runs(name, zoo_model, with_tokens):
    model = with_tokens(zoo_model(name), 100_000)
    passes = model.passes.count
    found = sweep(model, CONTRAST, CELLS)
    passes, expected = model.passes.count - passes, hooked_runs(model)
    assert passes < 2 + len(CELLS)  # several cells shared one
    for metric, values in expected.items():
        assert np.allclose(found.after[metric], values, rtol=1e-5, atol=1e-5 * np.abs(values).max())


def test_a_cells_number_does_not_depend_on_the_other_cells(small):
    whole = sweep(small, CONTRAST, CELLS)
    for i in (0, 7, 14):
        alone = sweep(small, CONTRAST, [CELLS[i]])
        assert np.array_equal(alone.after["harm margin"][0], whole.after["harm margin"][i])


def test_blocks_before_an_edit_run_once_for_each_batch_and_not_for_each_cell(small):
    ran = []
    block = small.bridge.blocks[1].original_component
    handle = block.mlp.register_forward_hook(lambda *_: ran.append(1))
    cells = grid(lambda by: steer(V[2], by=by), by=[1, 2, 3, 4])
    try:
        sweep(small, CONTRAST, cells)
    finally:
        handle.remove()
    assert len(ran) == len(CONTRAST.exchanges)


def test_a_model_whose_replay_is_not_exact_is_swept_by_full_runs_and_says_so(small, monkeypatch):
    import erosion.models.replay as replay

    copied = replay._copied
    monkeypatch.setattr(
        replay,
        "_copied",
        lambda output, copies: replay._each_tensor(copied(output, copies), lambda x: x + 1e-3),
    )
    found = sweep(small, CONTRAST, CELLS)
    assert not found.replayed
    assert np.array_equal(found.after["harm margin"], hooked_runs(small)["harm margin"])


def test_memory_that_runs_out_in_a_packed_pass_makes_later_ones_smaller(zoo_model, with_tokens):
    model, most = with_tokens(zoo_model("qwen3"), 100_000), 12
    expected = sweep(model, CONTRAST, CELLS[:5])

    def narrow(h):
        if len(h) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model.bridge.blocks[2].original_component.register_forward_pre_hook(
        lambda _, args: narrow(args[0])
    )
    try:
        found = sweep(model, CONTRAST, CELLS[:5])
    finally:
        handle.remove()
    assert np.allclose(found.after["harm margin"], expected.after["harm margin"], atol=1e-5)


def test_any_function_of_the_responses_is_a_metric(small):
    def length(responses):
        scores = harm_margin_of(responses)
        return type(scores)(scores.values * 0 + 3.0, scores.questions, "three", "words")

    found = sweep(small, CONTRAST, CELLS[:2], of=[length])
    assert np.array_equal(found.after["three"], np.full((2, 5), 3.0))
    assert found.units == {"three": "words"}


# Stopped and taken up again.


def stopped_after(steps):
    """Progress that stops a sweep like Ctrl-C after so many passes over cells."""
    left = [steps]

    def hear(step):
        if step.name == "cells" and step.done:
            left[0] -= 1
            if left[0] <= 0:
                raise KeyboardInterrupt

    return er.progress(hear)


def counted(model, *args, **kwargs):
    before = model.passes.count
    found = sweep(model, *args, **kwargs)
    return found, model.passes.count - before


def same(one, other):
    return all(np.array_equal(one.after[m], other.after[m]) for m in MARGINS) and all(
        np.array_equal(one.before[m], other.before[m]) for m in MARGINS
    )


def test_a_stopped_sweep_goes_on_without_doing_anything_twice_and_ends_bit_for_bit_the_same(small, tmp_path):
    whole, passes = counted(small, CONTRAST, CELLS)
    batches = len(CONTRAST.exchanges)
    assert passes == batches * (1 + len(CELLS)) + 1  # clean, cells, and one replay as a proof
    half = batches * len(CELLS) // 2
    with pytest.raises(KeyboardInterrupt), stopped_after(half):
        sweep(small, CONTRAST, CELLS, keep=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == half
    assert not small.bridge.list_hooks()
    assert (small.passes.replayed, small.passes.copies, small.passes.watching) == (None, 1, False)
    resumed, passes = counted(small, CONTRAST, CELLS, keep=tmp_path)
    assert passes == batches + 1 + batches * len(CELLS) - half
    assert same(resumed, whole)
    again, passes = counted(small, CONTRAST, CELLS, keep=tmp_path)
    assert passes == batches + 1
    assert same(again, whole)


def test_what_was_kept_is_found_again_among_other_cells(small, tmp_path):
    sweep(small, CONTRAST, CELLS[:4], keep=tmp_path)
    found, passes = counted(small, CONTRAST, CELLS[2:6], keep=tmp_path)
    assert passes == 10 + 1 + 10 * 2
    assert same(found, sweep(small, CONTRAST, CELLS[2:6]))


@pytest.mark.parametrize(
    "changed",
    [
        steer(V[1], by=0.25),
        steer(V[1], by=0.5, scope="prompt"),
        steer(a_direction(Site(1), seed=99), by=0.5),
        steer(V[1] * 1.01, by=0.5),
        norm_preserving(steer(V[1], by=0.5)),
        resample_ablate(normal(5, zoo.WIDTH), at=Site(1), seed=1),
        resample_ablate(normal(5, zoo.WIDTH, seed=1), at=Site(1)),
        patch(normal(zoo.WIDTH), at=Site(1)),
        patch(normal(zoo.WIDTH, seed=1), at=Site(1)),
    ],
    ids=str,
)
def test_a_changed_edit_is_not_taken_for_one_that_was_measured(changed, small, tmp_path):
    kept = [
        steer(V[1], by=0.5),
        resample_ablate(normal(5, zoo.WIDTH), at=Site(1)),
        patch(normal(zoo.WIDTH) + 1e-6, at=Site(1)),
    ]
    one = CONTRAST.only(["q0"])
    sweep(small, one, [Cell({}, (edit,)) for edit in kept], keep=tmp_path)
    _, passes = counted(small, one, [Cell({}, (edit,)) for edit in kept], keep=tmp_path)
    assert passes == 3  # two clean passes and a proof
    found, passes = counted(small, one, [Cell({}, (changed,))], keep=tmp_path)
    assert passes == 5
    assert same(found, sweep(small, one, [Cell({}, (changed,))]))


def test_other_words_another_adapter_and_another_batch_size_are_not_taken_for_what_was_measured(
    adapted_model, zoo_folder, with_tokens, tmp_path
):
    from erosion.triads import Checkpoint

    model = with_tokens(adapted_model("qwen3"), 1)
    cells = [CELLS[5]]
    first, full = counted(model, CONTRAST, cells, keep=tmp_path)
    _, resumed = counted(model, CONTRAST, cells, keep=tmp_path)
    assert resumed == full - 10
    other, passes = counted(model, contrast_of(seed=5), cells, keep=tmp_path)
    assert passes == full
    with model.using(Checkpoint(str(zoo_folder("qwen3") / "weights"))):
        without, passes = counted(model, CONTRAST, cells, keep=tmp_path)
    assert passes == full
    assert not np.allclose(without.after["harm margin"], first.after["harm margin"])
    assert not np.allclose(other.after["harm margin"], first.after["harm margin"])
    with_tokens(model, 2)
    assert counted(model, CONTRAST, cells, keep=tmp_path)[1] == full


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"copies": 3}',
        '{"copies": []}',
        '{"copies": [[]]}',
        '{"copies": [[[1, 2]]]}',
        "\xff",
    ],
)
def test_a_damaged_file_is_refused_in_one_line_with_its_name(content, small, tmp_path):
    one = CONTRAST.only(["q0"])
    sweep(small, one, CELLS[:1], keep=tmp_path)
    path = sorted(tmp_path.glob("*.json"))[0]
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadRun, match=f"{path.name} cannot be read .*: delete it") as refused:
        sweep(small, one, CELLS[:1], keep=tmp_path)
    assert "\n" not in str(refused.value)
    path.unlink()
    sweep(small, one, CELLS[:1], keep=tmp_path)


# Results as values, and what is refused.


def test_a_sweep_is_read_back_bit_for_bit(small, tmp_path):
    found = sweep(small, CONTRAST, CELLS)
    again = load_sweep(found.save(tmp_path / "sweep.json"))
    assert same(again, found)
    assert [dict(cell) for cell in again.cells] == [dict(cell) for cell in found.cells]
    assert (again.said, again.questions, again.units) == (found.said, found.questions, found.units)
    assert len(again.where(layer=1)) == len(EDITS)
    some = again.where(layer=2, edit="mlp")
    assert np.array_equal(some.effects("harm margin")[0], found.effects("harm margin")[12])
    assert some.change(0, "harm margin").value == pytest.approx(found.effects("harm margin")[12].mean())


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 2}', "[1]"])
def test_a_file_that_holds_no_sweep_is_refused(content, tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text(content)
    with pytest.raises(BadRun, match=r"sweep\.json"):
        load_sweep(path)


def test_a_metric_or_cell_that_is_not_there_is_refused(small):
    found = sweep(small, CONTRAST.only(["q0"]), CELLS[:1])
    with pytest.raises(BadInput, match="no 'warmth' here: choose one of harm margin, choice margin"):
        found.effects("warmth")
    with pytest.raises(BadInput, match=r"No cell has {'layer': 9}"):
        found.where(layer=9)


@pytest.mark.parametrize("keep", [False, True])
def test_a_margin_that_is_not_finite_is_refused_with_its_cell(keep, small, tmp_path):
    cells = [CELLS[0], Cell({}, (steer(V[2], by=1e38), steer(V[2], by=1e38)))]
    for _ in range(2):
        with pytest.raises(BadInput, match=r"gives no distribution .* This was under 'steer \+1e\+38"):
            sweep(small, CONTRAST, cells, keep=tmp_path if keep else None)


def test_an_edit_that_changes_nothing_in_the_whole_sweep_is_an_error(small):
    with pytest.raises(ErosionError, match=r"'steer \+1e-30 at L1.resid_post' changed nothing in 10 passes"):
        sweep(small, CONTRAST, [CELLS[0], Cell({}, (steer(V[1], by=1e-30),))])


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (steer(V[1].stamped(questions=("q1", "q7")), by=1), "q1"),
        (norm_preserving(ablate(V[1].stamped(questions=("q4",)))), "q4"),
        (steer(a_direction(Site(5)), by=1), "L5 does not exist"),
        (
            patch({"q0/aligned": normal(4, zoo.WIDTH)}, at=Site(1)),
            r"holds 4 tokens for 'q0/aligned'|holds nothing",
        ),
        (patch(normal(3, 2, zoo.WIDTH), at=Site(1)), "read the source on the same tokens"),
        (steer(V[1], by=1, scope=positions(30)), "Position 30 lies outside the prompt of"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line_and_leaves_nothing_behind(edit, fact, small):
    with pytest.raises((BadInput, BadDirection), match=fact) as refused:
        sweep(small, CONTRAST, [Cell({}, (edit,))])
    assert "\n" not in str(refused.value)
    assert not small.bridge.list_hooks()
    assert (small.passes.replayed, small.passes.copies) == (None, 1)


def test_what_is_kept_is_small_and_plain(small, tmp_path):
    sweep(small, CONTRAST, CELLS[:1], keep=tmp_path)
    for path in tmp_path.glob("*.json"):
        assert set(json.loads(path.read_text())) == {"schema", "copies"}
        assert path.stat().st_size < 1000
