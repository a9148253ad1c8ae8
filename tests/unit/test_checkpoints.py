"""Checkpoints: what others wrote is read as it is, and nothing bad gets through."""

import math
import os
import pickle
import struct
from contextlib import suppress

import h5py
import numpy as np
import pytest
import torch
from checkpoint_files import WRITERS, entry, write_raw, write_safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import read_tensors

SUFFIXES = list(WRITERS)
ONE = entry("F32", (2,), 0, 8)  # of a safetensors header, whose data have eight bytes


@pytest.fixture(scope="module")
def tensors():
    random = np.random.default_rng(0)
    found = {
        "fc1.weight": random.normal(size=(4, 6)).astype(np.float32),
        "fc1.bias": np.array([math.nan, math.inf, -math.inf, -0.0], np.float32),
        "conv.weight": random.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "double": random.normal(size=(5, 2)),
        "half": random.normal(size=(5, 2)).astype(np.float16),
        "scalar": np.array(1.5, np.float32),
        "whole": np.arange(6, dtype=np.int64),
    }
    return found


@pytest.fixture(params=SUFFIXES)
def path(request, tensors, tmp_path):
    return WRITERS[request.param](tmp_path / f"net{request.param}", tensors)


def refused(path, *names):
    """Why a checkpoint is refused; its name is in front."""
    with pytest.raises(WeightscapeError) as caught:
        read_tensors(path, names)
    text = str(caught.value)
    assert text.startswith(f"the checkpoint {path} is refused: ")
    assert "\n" not in text
    assert "; " in text  # what to do
    return text


def test_tensors_are_read_as_they_were_written(path, tensors):
    wanted = [name for name in tensors if name != "whole"]
    found = read_tensors(path, wanted)
    assert list(found) == wanted
    for name in wanted:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensors[name].astype(np.float32))


def test_only_what_is_asked_for_has_to_be_right(path):
    assert read_tensors(path, ["half"])["half"].shape == (5, 2)
    assert "'whole' is " in refused(path, "half", "whole")


def test_a_missing_tensor_is_named_beside_those_that_are_there(path):
    text = refused(path, "fc9.weight")
    assert "no tensor 'fc9.weight'" in text
    assert "fc1" in text
    assert "under layers in the config" in text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_and_a_folder_are_refused(tmp_path, suffix):
    assert "there is no such file" in refused(tmp_path / f"away{suffix}", "a")
    (tmp_path / f"folder{suffix}").mkdir()
    assert "there is no such file" in refused(tmp_path / f"folder{suffix}", "a")


@pytest.mark.parametrize("name", ["net.npz", "net", "net.pkl"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path, name):
    (tmp_path / name).touch()
    text = refused(tmp_path / name, "a")
    assert all(suffix in text for suffix in (".safetensors", ".pt", ".h5"))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_all_suffixes_of_torch(tmp_path, suffix):
    torch.save({"w": torch.ones(2)}, tmp_path / f"net{suffix}")
    assert read_tensors(tmp_path / f"net{suffix}", ["w"])["w"].tolist() == [1, 1]


def test_every_bfloat16_is_the_float32_that_torch_makes_of_it(tmp_path):
    bits = np.arange(2**16, dtype=np.uint16)
    expected = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()
    raw = write_raw(
        tmp_path / "net.safetensors", {"w": entry("BF16", (256, 256), 0, 2**17)}, bits.tobytes()
    )
    found = read_tensors(raw, ["w"])["w"]
    np.testing.assert_array_equal(found.view(np.uint32).ravel(), expected.view(np.uint32))
    torch.save({"w": torch.tensor([1.5, -3]).bfloat16()}, tmp_path / "net.pt")
    assert read_tensors(tmp_path / "net.pt", ["w"])["w"].tolist() == [1.5, -3]


def test_a_state_dict_within_others_has_names_with_dots(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "net.ckpt")
    found = read_tensors(tmp_path / "net.ckpt", ["state_dict.0.weight", "state_dict.1.bias"])
    np.testing.assert_array_equal(found["state_dict.0.weight"], network[0].weight.detach().numpy())
    assert found["state_dict.1.bias"].tolist() == [0, 0]


def test_a_parameter_and_a_view_are_read_too(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"p": torch.nn.Parameter(whole), "t": whole.T}, tmp_path / "net.pt")
    found = read_tensors(tmp_path / "net.pt", ["p", "t"])
    np.testing.assert_array_equal(found["p"], whole)
    np.testing.assert_array_equal(found["t"], whole.T)


def test_dicts_that_hold_themselves_or_each_other_many_times_do_no_harm(tmp_path):
    round_about = {"w": torch.ones(2)}
    round_about["again"] = round_about
    torch.save(round_about, tmp_path / "round.pt")
    assert read_tensors(tmp_path / "round.pt", ["again.again.w"])["again.again.w"].tolist() == [
        1,
        1,
    ]
    assert "no tensor 'away'; it has w;" in refused(tmp_path / "round.pt", "away")
    pile = {"w": torch.ones(2)}
    for _ in range(60):
        pile = {"a": pile, "b": pile}
    torch.save(pile, tmp_path / "pile.pt")  # 2^60 names
    assert "no tensor 'w'; it has a.a.a." in refused(tmp_path / "pile.pt", "w")


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "beside weights"])
def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run(tmp_path, suffix, how):
    path, mark = tmp_path / f"net{suffix}", tmp_path / "ran"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Evil(mark), protocol=2))
    else:
        content = {"w": torch.ones(2), "evil": Evil(mark)} if "beside" in how else Evil(mark)
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    text = refused(path, "w")
    assert not mark.exists()
    if suffix == ".pt":
        assert "mkdir, which is not a tensor; nothing in it was run" in text
        assert "torch.save(model.state_dict(), file)" in text
    # the mark would tell: unpickled in earnest, it is made
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert mark.exists()


def test_a_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    assert "torch.nn.modules.linear.Linear, which is not a tensor" in refused(
        tmp_path / "net.pt", "weight"
    )


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(2, 2).to_sparse(), "torch.sparse_coo"),
        (torch.ones(2, dtype=torch.complex64), "torch.complex64"),
        (torch.ones(2, dtype=torch.int8), "torch.int8"),
        (torch.ones(1).expand(10**9, 10**9), "is larger than the file"),
        ("text", "it has no tensor 'w', and no other one"),
    ],
)
def test_tensors_of_torch_that_are_no_weights_are_refused(tmp_path, tensor, words):
    torch.save({"w": tensor}, tmp_path / "net.pt")
    assert words in refused(tmp_path / "net.pt", "w")


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"w": entry("F32", (2,), 0, 4)}, 4),  # fewer bytes than its shape asks
        ({"w": entry("F32", (3,), 0, 8)}, 8),
        ({"w": entry("F32", (2,), 4, 8)}, 12),  # a hole at the start
        ({"w": ONE}, 12),  # bytes at the end that are no tensor's
        ({"w": ONE}, 4),  # more than the file has
        ({"w": ONE, "v": entry("F32", (2,), 4, 8)}, 12),  # an overlap
        ({"w": ONE, "v": ONE}, 8),
        ({"w": ONE, "v": entry("F32", (1,), 12, 4)}, 16),  # a hole between
        ({"w": entry("F32", (2**62, 4), 0, 8)}, 8),
        ({"w": entry("F32", (-1, -2), 0, 8)}, 8),
        ({"w": entry("F32", (True, 2), 0, 8)}, 8),
        ({"w": entry("F32", (2.0,), 0, 8)}, 8),
        ({"w": ONE | {"data_offsets": [8, 0]}}, 8),
        ({"w": ONE | {"data_offsets": [-8, 0]}}, 8),
        ({"w": ONE | {"data_offsets": [0, 8, 8]}}, 8),
        ({"w": ONE | {"data_offsets": None}}, 8),
        ({"w": ONE | {"shape": 2}}, 8),
        ({"w": ONE | {"dtype": "F31"}}, 8),
        ({"w": ONE | {"dtype": ["F32"]}}, 8),
        ({"w": {"dtype": "F32"}}, 8),
        ({"w": 3}, 8),
        ([ONE], 8),
        (b"", 0),
        (b"{", 0),
        (b"null", 0),
        (b"\xff\xfe{}", 0),
        (b"[" * 100_000, 0),
        (b'{"w": NaN}', 0),
        (
            b'{"w": %s, "w": %s}'
            % ((b'{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}',) * 2),
            8,
        ),
    ],
)
def test_a_wrong_safetensors_header_is_refused(tmp_path, header, data):
    refused(write_raw(tmp_path / "net.safetensors", header, bytes(data)), "w")


def test_the_right_one_beside_them_is_read(tmp_path):
    header = {"v": entry("I64", (0,), 8, 0), "w": ONE}
    path = write_raw(tmp_path / "net.safetensors", header, struct.pack("<2f", 1.5, -2))
    assert read_tensors(path, ["w"])["w"].tolist() == [1.5, -2]


@pytest.mark.parametrize("length", [9, 2**31, 2**63, 2**64 - 1])
def test_a_header_longer_than_the_file_is_refused(tmp_path, length):
    (tmp_path / "net.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}      ")
    assert f"it is cut off: its header of {length} bytes is incomplete" in refused(
        tmp_path / "net.safetensors", "w"
    )


def test_hdf5_names_with_dots_paths_and_compression(tmp_path):
    values = np.arange(6.0, dtype=">f4").reshape(2, 3)
    with h5py.File(tmp_path / "net.hdf5", "w") as file:
        file["a.b"] = values
        file.create_dataset("c/d/e", data=values, compression="gzip", chunks=(1, 3))
    found = read_tensors(tmp_path / "net.hdf5", ["a.b", "c/d/e", "c.d.e"])
    for array in found.values():
        np.testing.assert_array_equal(array, values)


def test_hdf5_files_do_not_reach_beyond_themselves(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["w"] = np.ones(3, np.float32)
    (tmp_path / "raw").write_bytes(np.ones(3, "f4").tobytes())
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["external"] = h5py.ExternalLink(str(secret), "/w")
        file["group"] = h5py.ExternalLink(str(secret), "/")
        file["soft"] = h5py.SoftLink("/external")
        file.create_dataset("stored", (3,), "f4", external=str(tmp_path / "raw"))
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "w", (3,))
        file.create_virtual_dataset("virtual", layout)
    for name in ("external", "group/w", "group.w", "soft"):
        assert "is a link to elsewhere" in refused(tmp_path / "net.h5", name)
    for name in ("stored", "virtual"):
        assert "lies in another file" in refused(tmp_path / "net.h5", name)


def test_hdf5_arrays_that_are_not_in_the_file_are_refused_before_memory_is_taken(tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("w", (10**6, 10**6), "f4", chunks=(1000, 1000))
        file["group/x"] = 1.0
    assert "is larger than the file" in refused(tmp_path / "net.h5", "w")
    assert "no tensor 'group'" in refused(tmp_path / "net.h5", "group")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Suffix -> the bytes of a small sound checkpoint."""
    folder = tmp_path_factory.mktemp("sound")
    small = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}
    return {s: write(folder / f"net{s}", small).read_bytes() for s, write in WRITERS.items()}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@settings(max_examples=80)
@given(data=st.data())
def test_damage_is_refused_or_harmless(contents, tmp_path, suffix, data):
    damaged = bytearray(contents[suffix])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"net{suffix}"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    # anything but a WeightscapeError ends the test
    with suppress(WeightscapeError):
        found = read_tensors(path, ["w", "b"])
        assert sum(array.size for array in found.values()) < len(damaged)


def test_a_flipped_bit_of_torch_s_numbers_is_no_other_number(contents, tmp_path):
    content = bytearray(contents[".pt"])
    content[content.index(np.arange(6, dtype="<f4").tobytes()) + 5] ^= 1
    (tmp_path / "net.pt").write_bytes(content)
    assert "is damaged; save it again" in refused(tmp_path / "net.pt", "w")


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_hdf5_is_refused_or_harmless(contents, damaged_files, data):
    damaged = bytearray(contents[".h5"])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found = damaged_files.read("checkpoint", bytes(damaged))
    assert found == "refused" or found.startswith("read ")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path, content):
    for suffix in SUFFIXES:
        (tmp_path / f"net{suffix}").write_bytes(content)
        refused(tmp_path / f"net{suffix}", "w")


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 4), max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_any_shapes_and_names_go_through_safetensors(tmp_path, shapes):
    tensors = {
        name: np.random.default_rng(number).normal(size=shape).astype(np.float32)
        for number, (name, shape) in enumerate(shapes.items())
    }
    path = write_safetensors(tmp_path / "net.safetensors", tensors)
    for name, values in read_tensors(path, tensors).items():
        np.testing.assert_array_equal(values, tensors[name])
