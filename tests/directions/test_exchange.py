"""Laws of the files that other tools read: their bytes, the way back, and what is refused."""

import json
import pickle
import struct
import sys

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erosion.directions import (
    Direction,
    Passport,
    check_unseen,
    difference_of_means,
    export_gguf,
    export_tensors,
    import_directions,
    load_directions,
    moved,
    save,
)
from erosion.errors import BadDirection, BadInput
from erosion.sites import Site
from tests.directions.planted import WIDTH, draws, sides

TOLERANCE = 2e-7
HELD_OUT = {"metric": "AUC", "value": 0.1 + 0.2, "low": 0.9, "high": None, "unit": "AUC", "n_questions": 40}


def fitted(layer: int, *, width: int = WIDTH, **facts) -> Direction:
    return difference_of_means(*sides(20, seed=layer, width=width), at=Site(layer)).stamped(**facts)


@pytest.fixture
def directions() -> dict[Site, Direction]:
    facts = {"questions": ("koken-001", "Frage-ß", 'quote"\\n'), "held_out": HELD_OUT, "model": "a/model"}
    return {Site(layer): fitted(layer, **facts) for layer in (11, 2, 3)}


def as_gguf(directions, path):
    return export_gguf(directions, path, model_hint="qwen2")


EXPORTS = [pytest.param(as_gguf, id="gguf"), pytest.param(export_tensors, id="tensors")]


def refused(path, match, error=BadDirection):
    with pytest.raises(error, match=match) as caught:
        import_directions(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or error is BadInput


def written(path, tensors, *, arch="controlvector", endian=gguf.GGUFEndian.LITTLE, **strings):
    """A GGUF file by the package's own writer, as another tool would make it."""
    writer = gguf.GGUFWriter(path, arch, endianess=endian)
    for key, value in strings.items():
        writer.add_string(key.replace("__", "."), value)
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            writer.add_tensor(name, tensor[0], raw_dtype=tensor[1])
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_control_vector_is_what_llama_cpp_and_repeng_read(directions, tmp_path):
    reader = gguf.GGUFReader(as_gguf(directions, tmp_path / "v.gguf"))
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert reader.fields["controlvector.model_hint"].contents() == "qwen2"
    assert reader.fields["controlvector.layer_count"].contents() == 3
    assert reader.fields["controlvector.layer_count"].types == [gguf.GGUFValueType.UINT32]
    assert [tensor.name for tensor in reader.tensors] == ["direction.2", "direction.3", "direction.11"]
    for tensor in reader.tensors:
        v = directions[Site(int(tensor.name.split(".")[1]))]
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert tensor.shape.tolist() == [WIDTH]
        assert np.array_equal(tensor.data, v.displacement.numpy())
    travelled = json.loads(reader.fields["erosion.passports"].contents())["directions"]
    assert set(travelled) == {"L2.resid_post", "L3.resid_post", "L11.resid_post"}
    assert tuple(travelled["L3.resid_post"]["questions"]) == directions[Site(3)].passport.questions


def test_the_bytes_read_by_hand_are_a_little_endian_header_and_the_displacements(directions, tmp_path):
    content = as_gguf(directions, tmp_path / "v.gguf").read_bytes()
    magic, version, tensors, _ = struct.unpack_from("<4sIQQ", content)
    assert (magic, version, tensors) == (b"GGUF", 3, 3)
    for v in directions.values():
        assert struct.pack(f"<{WIDTH}f", *v.displacement.tolist()) in content


def test_the_tensors_are_what_steering_vectors_takes(directions, tmp_path):
    path = export_tensors(directions, tmp_path / "v.safetensors")
    layers = {int(k): t for k, t in safetensors.torch.load_file(path).items()}
    assert set(layers) == {2, 3, 11}
    for layer, tensor in layers.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, directions[Site(layer)].displacement)


def test_equal_directions_give_equal_bytes(directions, tmp_path):
    for export in (as_gguf, export_tensors):
        assert (
            export(directions, tmp_path / "a").read_bytes() == export(directions, tmp_path / "b").read_bytes()
        )


@pytest.mark.parametrize("export", EXPORTS)
def test_ours_come_back_with_every_fact_and_within_the_stated_tolerance(directions, tmp_path, export):
    directions[Site(3)] = -directions[Site(3)]
    back = import_directions(export(directions, tmp_path / "v"))
    assert list(back) == [Site(2), Site(3), Site(11)]
    for site, v in directions.items():
        assert back[site].passport == v.passport
        assert back[site].scale == v.scale
        assert float((back[site].vector - v.vector).abs().max()) < TOLERANCE
        with pytest.raises(BadDirection, match="Frage"):
            check_unseen(back[site], ["Frage-ß"])


@pytest.mark.parametrize("export", EXPORTS)
@given(exponent=st.integers(-60, 60), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_scale_that_is_a_power_of_two_comes_back_bit_for_bit(tmp_path_factory, export, exponent, seed):
    vector = draws(9, seed=seed)
    v = Direction((vector / vector.norm()).float(), Passport(site=Site(4), fit="mine", scale=2.0**exponent))
    back = import_directions(export(v, tmp_path_factory.mktemp("any") / "v"))[Site(4)]
    assert torch.equal(back.vector, v.vector)
    assert back.passport == v.passport


@pytest.mark.parametrize("export", EXPORTS)
@given(scale=st.floats(2e-38, 1e37), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_any_scale_that_float32_holds_comes_back(tmp_path_factory, export, scale, seed):
    vector = draws(9, seed=seed)
    v = Direction((vector / vector.norm()).float(), Passport(site=Site(4), fit="mine", scale=scale))
    back = import_directions(export(v, tmp_path_factory.mktemp("any") / "v"))[Site(4)]
    assert float((back.vector - v.vector).abs().max()) < TOLERANCE
    assert back.passport == v.passport


def test_our_own_file_is_read_bit_for_bit(directions, tmp_path):
    directions[Site(1, "mlp_out")] = moved(fitted(1), to=Site(1, "mlp_out"))
    path = save(directions, tmp_path / "v.safetensors")
    back = import_directions(path)
    assert list(back) == list(load_directions(path)) == list(directions)
    assert all(torch.equal(back[site].vector, v.vector) for site, v in directions.items())
    assert all(back[site].passport == v.passport for site, v in directions.items())


def test_what_the_file_holds_decides_and_not_its_name(directions, tmp_path):
    assert set(import_directions(as_gguf(directions, tmp_path / "v.safetensors"))) == set(directions)
    assert set(import_directions(export_tensors(directions, tmp_path / "v.gguf"))) == set(directions)


def test_block_0_is_left_out_of_a_control_vector_aloud_and_refused_alone(directions, tmp_path):
    both = {**directions, Site(0): fitted(0)}
    with pytest.warns(UserWarning, match=r"L0.resid_post is left out of .*never edits the output of block 0"):
        path = as_gguf(both, tmp_path / "v.gguf")
    reader = gguf.GGUFReader(path)
    assert "direction.0" not in [tensor.name for tensor in reader.tensors]
    assert reader.fields["controlvector.layer_count"].contents() == 3
    assert set(import_directions(path)) == set(directions)
    with pytest.raises(BadDirection, match="the only direction: export another layer"):
        as_gguf(fitted(0), tmp_path / "alone.gguf")
    assert not (tmp_path / "alone.gguf").exists()
    assert set(import_directions(export_tensors(both, tmp_path / "v"))) == set(both)


@pytest.mark.parametrize("export", EXPORTS)
def test_what_other_tools_can_not_take_is_refused_and_nothing_is_written(tmp_path, export):
    path = tmp_path / "v"
    for bad, match in [
        ({}, "no direction"),
        ({Site(1): fitted(2)}, "filed under L1.resid_post was fitted at L2.resid_post"),
        (
            moved(fitted(2), to=Site(2, "attn_out")),
            r"L2.attn_out can not be exported.*moved\(v, to=Site\(2\)\)",
        ),
        ({Site(1): fitted(1), Site(2): fitted(2, width=8)}, r"24 wide \(at L1.* and 8 wide \(at L2"),
        (0 * fitted(2), "has scale 0"),
        (fitted(2).stamped(scale=1e39), r"has scale 1e\+39"),
        (fitted(2).stamped(scale=1e-40), "has scale 1e-40"),
        (fitted(2).stamped(held_out={"value": float("nan")}), "not plain JSON"),
    ]:
        with pytest.raises(BadDirection, match=match) as caught:
            export(bad, path)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_passport_nothing_is_invented(tmp_path):
    vector = draws(WIDTH, seed=3).float().numpy()
    path = written(
        tmp_path / "theirs.gguf",
        {"direction.7": vector, "direction.0": vector},
        controlvector__model_hint="mistral",
    )
    found = import_directions(path)
    assert list(found) == [Site(0), Site(7)]
    v = found[Site(7)]
    length = float(np.linalg.norm(vector.astype(np.float64)))
    expected = Passport(
        site=Site(7), fit="imported from theirs.gguf", scale=v.scale, sign=None, model="mistral"
    )
    assert v.passport == expected
    assert v.scale == pytest.approx(length, rel=1e-12)
    assert np.allclose(v.displacement.numpy(), vector, rtol=3e-7)
    assert "imported from theirs.gguf" in repr(v)
    assert "questions unknown" in repr(v)
    check_unseen(v, ["anything"])
    assert import_directions(path, model="my/model")[Site(7)].passport.model == "my/model"
    assert (-v).passport.fit == "-(imported from theirs.gguf)"


def test_a_given_model_does_not_overrule_a_passport(directions, tmp_path):
    path = as_gguf(directions, tmp_path / "v.gguf")
    assert import_directions(path, model="another")[Site(3)].passport.model == "a/model"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_plain_tensors_of_any_float_are_read_by_layer(tmp_path, dtype):
    tensors = {str(layer): draws(WIDTH, seed=layer).to(dtype) for layer in (10, 9, 0)}
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(safetensors.torch.save(tensors))
    found = import_directions(path)
    assert list(found) == [Site(0), Site(9), Site(10)]
    assert found[Site(9)].passport.model is None
    assert torch.allclose(found[Site(9)].displacement, tensors["9"].float(), rtol=3e-7, atol=0)


def test_an_imported_direction_is_saved_and_read_back(tmp_path):
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(safetensors.torch.save({"3": torch.tensor([3.0, 4.0])}))
    found = import_directions(path)
    again = load_directions(save(found, tmp_path / "ours.safetensors"))
    assert again[Site(3)].passport == found[Site(3)].passport
    assert import_directions(export_tensors(again, tmp_path / "out"))[Site(3)].scale == 5.0


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (np.zeros(4, np.float32), "all zeros"),
        (np.array([1, np.nan], np.float32), "NaN or infinity"),
        (np.array([1, np.inf], np.float32), "NaN or infinity"),
        (np.ones(4, np.float16), r"F16 \[4\].*never quantised"),
        (np.ones((2, 4), np.float32), "one axis"),
        ((np.zeros(34, np.uint8), gguf.GGMLQuantizationType.Q8_0), "Q8_0.*never quantised"),
    ],
)
def test_a_tensor_that_is_no_vector_is_refused_in_gguf(tmp_path, tensor, says):
    refused(written(tmp_path / "v.gguf", {"direction.1": tensor}), says)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"1": torch.zeros(4)}, "all zeros"),
        ({"1": torch.tensor([1.0, float("nan")])}, "NaN or infinity"),
        ({"1": torch.tensor([1e300, 1.0], dtype=torch.float64)}, "NaN or infinity"),
        ({"1": torch.ones(2, 4)}, "one vector of floats a layer"),
        ({"1": torch.ones(4, dtype=torch.int8)}, "one vector of floats a layer"),
        ({"1": torch.ones(4), "2": torch.ones(5)}, r"4 wide \(at L1.resid_post\) and 5 wide"),
        ({"model.norm.weight": torch.ones(4)}, "called by their layers"),
        ({"01": torch.ones(4)}, "called by their layers"),
        ({"-1": torch.ones(4)}, "called by their layers"),
        ({"9" * 5000: torch.ones(4)}, "called by their layers"),
        ({}, "no direction"),
    ],
)
def test_tensors_that_are_no_vectors_by_layer_are_refused(tmp_path, tensors, says):
    path = tmp_path / "v.safetensors"
    path.write_bytes(safetensors.torch.save(tensors))
    refused(path, says)


def test_gguf_files_of_another_kind_are_refused(tmp_path):
    one = np.ones(4, np.float32)
    refused(
        written(tmp_path / "model.gguf", {"direction.1": one}, arch="llama"), "holds llama, not a control"
    )
    refused(written(tmp_path / "odd.gguf", {"token_embd": one}), "a tensor 'token_embd'")
    refused(written(tmp_path / "name.gguf", {"direction.01": one}), "a tensor 'direction.01'")
    refused(written(tmp_path / "big.gguf", {"direction.1": one}, endian=gguf.GGUFEndian.BIG), "big-endian")
    refused(written(tmp_path / "none.gguf", {}), "holds no direction")


def test_a_control_vector_cut_short_anywhere_is_refused(directions, tmp_path):
    content = as_gguf(
        {site: v.stamped(questions=None) for site, v in directions.items()}, tmp_path / "v"
    ).read_bytes()
    path = tmp_path / "cut.gguf"
    last = len(content) - 4 * WIDTH - 32  # behind it lies the padding of the last vector at most
    for keep in range(4, last, 7):
        path.write_bytes(content[:keep])
        refused(path, "not a whole GGUF file|cut short")


def test_a_flipped_byte_is_refused_or_read(tmp_path):
    content = bytearray(as_gguf(fitted(3), tmp_path / "v").read_bytes())
    path = tmp_path / "flipped.gguf"
    for place in range(4, 160):
        for value in (9, 0xFF):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                import_directions(path)
            except BadDirection as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_a_list_that_says_it_is_endless_is_refused_at_once(tmp_path):
    content = export_gguf(fitted(3), tmp_path / "v", model_hint="q").read_bytes()
    place = content.index(b"controlvector.model_hint") + len("controlvector.model_hint")
    assert content[place] == gguf.GGUFValueType.STRING
    path = tmp_path / "endless.gguf"  # one letter and what follows, read as a list of 10^13 numbers
    path.write_bytes(content[:place] + bytes([gguf.GGUFValueType.ARRAY]) + content[place + 1 :])
    refused(path, "not a whole GGUF file .it ends too early")


def test_passports_that_do_not_belong_to_the_vectors_are_refused(directions, tmp_path):
    path = export_tensors(directions, tmp_path / "v.safetensors")
    with safetensors.safe_open(path, framework="pt") as opened:
        header = opened.metadata()["erosion.passports"]
    tensors = safetensors.torch.load(path.read_bytes())

    def rewritten(tensors, header):
        path.write_bytes(safetensors.torch.save(tensors, metadata={"erosion.passports": header}))
        return path

    refused(rewritten({**tensors, "3": tensors["3"] * 2}, header), "is damaged: the vector at L3.resid_post")
    refused(
        rewritten({**tensors, "5": tensors["3"].clone()}, header), "L5.resid_post has a tensor or a passport"
    )
    refused(rewritten({"3": tensors["3"]}, header), "has a tensor or a passport but not both")
    refused(rewritten(tensors, "{nonsense"), "cannot be read")
    newer = json.dumps({**json.loads(header), "schema": 2})
    refused(rewritten(tensors, newer), "schema 2, newer")
    passports = json.loads(header)
    passports["directions"]["L3.resid_post"]["scale"] = 0.0
    refused(rewritten(tensors, json.dumps(passports)), "is damaged")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


@pytest.mark.parametrize("name", ["v.pt", "v.bin", "v.gguf", "v.safetensors"])
def test_pickles_are_refused_unread_whatever_they_are_called(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb()))
    refused(path, "is a pickle, and pickles are never read")
    torch.save({"1": torch.ones(3)}, path)
    refused(path, "is a pickle, and pickles are never read")


def test_missing_files_folders_and_noise_are_refused(tmp_path):
    refused(tmp_path / "absent.gguf", "There is no file")
    refused(tmp_path, "There is no file")
    path = tmp_path / "noise"
    for content in (b"", b"GG", b"hello world, this is no file of tensors"):
        path.write_bytes(content)
        refused(path, "not a whole safetensors file")
    path.write_bytes(b"GGUF")
    refused(path, "cut short")


def test_without_the_gguf_package_one_line_says_what_to_install(directions, tmp_path, monkeypatch):
    path = as_gguf(directions, tmp_path / "v.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(path, r"pip install 'alignment-erosion\[exchange\]'", BadInput)
    with pytest.raises(BadInput, match="exchange"):
        as_gguf(directions, tmp_path / "w.gguf")
    assert not (tmp_path / "w.gguf").exists()
    assert set(import_directions(export_tensors(directions, tmp_path / "v"))) == set(directions)


def test_a_failed_write_leaves_the_old_file(directions, tmp_path, monkeypatch):
    path = as_gguf(directions, tmp_path / "v.gguf")
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BadInput, match="No space left"):
        as_gguf(fitted(4), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
