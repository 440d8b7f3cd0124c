"""Laws of the file: what was saved comes back bit for bit, and nothing else is read."""

import json
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.directions import Direction, Passport, difference_of_means, load_directions, save
from erosion.errors import BadDirection, BadInput
from erosion.sites import Site
from tests.directions.planted import draws, sides

HELD_OUT = {"metric": "auc", "value": 0.1 + 0.2, "low": 0.9, "high": None, "unit": "share", "n_questions": 40}


def made(site: Site, **facts) -> Direction:
    return difference_of_means(*sides(20, seed=site.layer), at=site).stamped(**facts)


@pytest.fixture
def saved(tmp_path):
    return save({Site(2): made(Site(2)), Site(0): made(Site(0))}, tmp_path / "v.safetensors")


def test_everything_comes_back_bit_for_bit_and_in_order(tmp_path):
    sites = [Site(7), Site(0, "mlp_out"), Site(3, "z", 2), Site(10)]
    directions = {
        site: made(
            site,
            questions=("koken-001", "Frage-ß", "質問/🧂", 'quote"\\n'),
            held_out=HELD_OUT,
            span="response",
        )
        for site in sites
    }
    directions[Site(10)] = -directions[Site(10)]
    loaded = load_directions(save(directions, tmp_path / "v.safetensors"))
    assert list(loaded) == sites
    for site, direction in directions.items():
        assert loaded[site].passport == direction.passport
        assert loaded[site].vector.dtype == torch.float32
        assert torch.equal(loaded[site].vector, direction.vector)


def test_one_direction_is_saved_under_its_own_site(tmp_path):
    v = made(Site(5))
    assert list(load_directions(save(v, tmp_path / "deep" / "v.safetensors"))) == [Site(5)]


@given(
    scale=st.floats(0, 1e30, allow_subnormal=True),
    questions=st.none() | st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4).map(tuple),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_any_passport_and_vector_survive(tmp_path_factory, scale, questions, seed):
    vector = draws(9, seed=seed)
    passport = Passport(site=Site(1), fit="mine", scale=scale, questions=questions)
    v = Direction((vector / vector.norm()).float(), passport)
    path = tmp_path_factory.mktemp("any") / "v.safetensors"
    loaded = load_directions(save(v, path))[Site(1)]
    assert loaded.passport == passport
    assert torch.equal(loaded.vector, v.vector)


def test_equal_directions_give_equal_bytes(tmp_path):
    paths = [save({Site(i): made(Site(i)) for i in range(4)}, tmp_path / name) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_half_precision_models_give_directions_of_full_precision(tmp_path):
    v = difference_of_means(*(side.bfloat16() for side in sides(40)), at=Site(1))
    loaded = load_directions(save(v, tmp_path / "v"))[Site(1)]
    assert loaded.vector.dtype == torch.float32
    assert torch.equal(loaded.vector, v.vector)
    assert not torch.equal(v.vector, v.vector.bfloat16().float())


def test_any_safetensors_reader_can_open_it(saved):
    assert set(safetensors.torch.load_file(saved)) == {"L0.resid_post", "L2.resid_post"}


def test_what_is_not_worth_saving_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(BadDirection, match="no direction to save"):
        save({}, path)
    with pytest.raises(BadDirection, match=r"filed under L1.resid_post was fitted at L0.resid_post"):
        save({Site(1): made(Site(0))}, path)
    with pytest.raises(BadDirection, match="not plain JSON"):
        save(made(Site(0), held_out={"value": float("nan")}), path)
    with pytest.raises(BadDirection, match="not plain JSON"):
        save(made(Site(0), held_out={"value": torch.ones(1)}), path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BadInput, match="No space left"):
        save(made(Site(0)), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def rewrite(path, tensors=None, **changes):
    """The saved file with another header or other tensors."""
    with safetensors.safe_open(path, framework="pt") as opened:
        content = json.loads(opened.metadata()["erosion"])
    content.update(changes)
    vectors = safetensors.torch.load_file(path) if tensors is None else tensors
    path.write_bytes(safetensors.torch.save(vectors, metadata={"erosion": json.dumps(content)}))
    return path


def refused(path, match):
    with pytest.raises(BadDirection, match=match) as caught:
        load_directions(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_newer_schema_is_refused(saved):
    refused(rewrite(saved, schema=2), "schema 2, newer than this version's 1")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    refused(saved, "not a whole safetensors file")


def test_a_pickle_is_refused_unread(saved):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    saved.write_bytes(pickle.dumps(Bomb()))
    refused(saved, "pickles are never read")
    torch.save({"v": torch.ones(3)}, saved)
    refused(saved, "pickles are never read")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "absent", "There is no file")
    refused(tmp_path, "There is no file")


def test_tensors_of_somebody_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(3)}))
    refused(path, "holds no passports")
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(3)}, metadata={"erosion": "{nonsense"}))
    refused(path, "cannot be read")
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(3)}, metadata={"erosion": "[]"}))
    refused(path, "cannot be read")


def test_passports_and_tensors_that_do_not_match_are_refused(saved):
    v = made(Site(0)).vector
    refused(
        rewrite(saved, tensors={"L0.resid_post": v}), "L2.resid_post has a tensor or a passport but not both"
    )


def test_a_tensor_that_is_no_unit_vector_is_refused(saved):
    tensors = safetensors.torch.load_file(saved)
    refused(rewrite(saved, tensors={**tensors, "L0.resid_post": tensors["L0.resid_post"] * 3}), "not 1")
    refused(rewrite(saved, tensors={**tensors, "L0.resid_post": torch.eye(3)}), "one axis")
    refused(rewrite(saved, tensors={**tensors, "L0.resid_post": torch.tensor([1, 0])}), "one axis")


@pytest.mark.parametrize(
    "passport",
    [
        {},
        [],
        {"site": "L0.resid_post"},
        {"site": "nowhere", "fit": "x", "scale": 1.0},
        {"site": "L0.resid_post", "fit": "x", "scale": "long"},
        {"site": "L0.resid_post", "fit": "x", "scale": 1.0, "colour": "red"},
        {"site": "L0.resid_post", "fit": 3, "scale": 1.0},
        {"site": "L0.resid_post", "fit": "x", "scale": 1.0, "questions": 3},
        {"site": "L0.resid_post", "fit": "x", "scale": -1.0},
    ],
)
def test_a_passport_that_can_not_be_read_is_refused(tmp_path, passport):
    path = save(made(Site(0)), tmp_path / "v")
    refused(rewrite(path, directions={"L0.resid_post": passport}), "passport|length")


def test_a_passport_for_another_site_is_refused(tmp_path):
    path = save(made(Site(0)), tmp_path / "v")
    passport = {"site": "L1.resid_post", "fit": "x", "scale": 1.0}
    refused(rewrite(path, directions={"L0.resid_post": passport}), "for another site")
