"""Checkpoints: what others wrote is read as it is, and nothing bad gets through."""

import argparse
import datetime
import errno
import fcntl
import json
import math
import os
import pickle
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune

from checkpoint_files import WRITERS, entry, write_raw, write_safetensors
from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import read_tensors
from weightscape.foreign.formats.base import Refused

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


@pytest.mark.parametrize("name", ["net", "net.pkl", "net.pth.tar", "net.pt", "net.safetensors"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_first_bytes_tell_the_format_and_not_the_suffix(tmp_path, tensors, suffix, name):
    found = read_tensors(WRITERS[suffix](tmp_path / name, tensors), ["fc1.weight"])
    np.testing.assert_array_equal(found["fc1.weight"], tensors["fc1.weight"])


@pytest.mark.parametrize("length", range(20, 200))
def test_a_safetensors_header_may_begin_like_another_format(tmp_path, length):
    """Its first byte is its length: that of a bracket or of a pickle, too."""
    name = "w" * (length - len('{"":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'))
    header = json.dumps({name: entry("F32", (), 0, 4)}, separators=(",", ":")).encode()
    path = write_raw(tmp_path / "net", header, struct.pack("<f", 2.5))
    assert read_tensors(path, [name])[name] == 2.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "run git lfs pull"),
        (b"<!DOCTYPE html><title>Sign in</title>", "it is a web page"),
        (b'{"weight_map": {}}', "it is JSON text"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "unpack it with gunzip"),
        (b"what is left after the disk was full", "no safetensors, torch, HDF5 or npz file"),
        (bytes(1000), "no safetensors, torch, HDF5 or npz file"),
        (b"name".ljust(257, b"\0") + b"ustar\0", "unpack it with tar -xf"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_checkpoint_is_told_by_what_it_is(tmp_path, suffix, content, words):
    (tmp_path / f"net{suffix}").write_bytes(content)
    assert words in refused(tmp_path / f"net{suffix}", "w")


def test_a_zip_archive_of_another_kind_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not one of torch's" in refused(tmp_path / "net.pt", "w")


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_arrays_of_numpy_s_npz(tmp_path, tensors, compress):
    compress(tmp_path / "net.npz", **tensors, turned=tensors["double"].T, big=tensors["half"] > 0)
    wanted = [name for name in tensors if name != "whole"]
    for name, values in read_tensors(tmp_path / "net.npz", wanted).items():
        np.testing.assert_array_equal(values, tensors[name].astype(np.float32))
    turned = read_tensors(tmp_path / "net.npz", ["turned"])["turned"]
    np.testing.assert_array_equal(turned, tensors["double"].T.astype(np.float32))
    assert "'whole' is int64" in refused(tmp_path / "net.npz", "whole")


PROTOCOLS = [2, 3, 4, 5]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_all_protocols_and_both_forms_of_torch(tmp_path, tensors, protocol, is_zip):
    content = {name: torch.from_numpy(values) for name, values in tensors.items()}
    content["arrays"] = dict(tensors)
    content["shared"] = content["conv.weight"][1].transpose(0, 2)
    content["empty"] = torch.ones(0, 3)
    torch.save(
        content,
        tmp_path / "net.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_zip,
    )
    wanted = [name for name in tensors if name != "whole"]
    found = read_tensors(tmp_path / "net.pt", [*wanted, *(f"arrays.{n}" for n in wanted)])
    for name in wanted:
        np.testing.assert_array_equal(found[name], tensors[name].astype(np.float32))
        np.testing.assert_array_equal(found[f"arrays.{name}"], tensors[name].astype(np.float32))
    others = read_tensors(tmp_path / "net.pt", ["shared", "empty"])
    np.testing.assert_array_equal(others["shared"], content["shared"].numpy())
    assert others["empty"].shape == (0, 3)
    assert "'whole' is torch.int64" in refused(tmp_path / "net.pt", "whole")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_arrays_alone(tmp_path, tensors, protocol):
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"net": tensors}, protocol=protocol))
    found = read_tensors(tmp_path / "net.pkl", ["net.fc1.weight", "net.double"])
    np.testing.assert_array_equal(found["net.fc1.weight"], tensors["fc1.weight"])
    np.testing.assert_array_equal(found["net.double"], tensors["double"].astype(np.float32))


def test_torch_on_a_machine_of_other_byte_order(tmp_path):
    """The same archive with its numbers turned and the mark that torch writes there."""
    torch.save({"w": torch.tensor([1.5, -3.0])}, tmp_path / "little.pt")
    with (
        zipfile.ZipFile(tmp_path / "little.pt") as source,
        zipfile.ZipFile(tmp_path / "big.pt", "w") as target,
    ):
        for part in source.namelist():
            content = source.read(part)
            if part.endswith("byteorder"):
                content = b"big"
            if part.endswith("data/0"):
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            target.writestr(part, content)
    assert read_tensors(tmp_path / "big.pt", ["w"])["w"].tolist() == [1.5, -3]


class Settings:
    """An object as scripts leave them beside the weights."""

    def __init__(self):
        self.rate, self.best = 0.1, torch.ones(2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_beside_the_weights_do_no_harm(tmp_path, protocol):
    beside = {
        "args": argparse.Namespace(lr=0.1),
        "path": Path("/data"),
        "when": datetime.datetime(2024, 1, 1),
        "best": np.float64(0.9),
        "losses": np.arange(3.0),
        "own": Settings(),
        "set": {1, 2},
        "frozen": frozenset([3]),
        "bytes": bytearray(b"abc"),
        "number": 2**70,
        "optimiser": {0: {"step": torch.tensor(3.0)}},
    }
    torch.save({"w": torch.ones(2), **beside}, tmp_path / "net.pt", pickle_protocol=protocol)
    found = read_tensors(tmp_path / "net.pt", ["w", "losses", "own.best", "optimiser.0.step"])
    assert found["w"].tolist() == [1, 1]
    assert found["losses"].tolist() == [0, 1, 2]
    assert found["optimiser.0.step"] == 3
    assert "'args' is argparse.Namespace, no tensor" in refused(tmp_path / "net.pt", "args")


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda net, path: torch.save(torch.nn.DataParallel(net), path),
        lambda net, path: torch.save({"model": net}, path),
        lambda net, path: torch.save(dict(net.named_parameters()), path),
        lambda net, path: torch.jit.script(net).save(str(path)),
        lambda net, path: torch.jit.trace(net, torch.zeros(1, 3)).save(str(path)),
        lambda net, path: torch.save({"state_dict": net.state_dict()}, path),
        lambda net, path: torch.save(
            {f"module._orig_mod.{k}": v for k, v in net.state_dict().items()}, path
        ),
        lambda net, path: torch.save(
            {"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}}, path
        ),
    ],
)
def test_one_name_finds_a_tensor_however_the_network_was_saved(tmp_path, save):
    net = small_network()
    save(net, tmp_path / "net.pt")
    for name, values in read_tensors(tmp_path / "net.pt", list(net.state_dict())).items():
        np.testing.assert_array_equal(values, net.state_dict()[name].numpy())


def test_a_prefix_may_be_left_out_of_names_in_any_format(path, tmp_path):
    write = WRITERS[path.suffix]
    write(tmp_path / f"wrapped{path.suffix}", {"module.fc.weight": np.ones((2, 2), np.float32)})
    assert read_tensors(tmp_path / f"wrapped{path.suffix}", ["fc.weight"])["fc.weight"].sum() == 4
    write(tmp_path / f"other{path.suffix}", {"ema.fc.weight": np.ones((2, 2), np.float32)})
    assert "no tensor 'fc.weight'; it has ema" in refused(
        tmp_path / f"other{path.suffix}", "fc.weight"
    )


def test_a_name_with_two_meanings_is_refused(tmp_path):
    one, other = torch.ones(2), torch.zeros(2)
    torch.save({"model": {"w": one}, "module": {"w": other}}, tmp_path / "two.pt")
    text = refused(tmp_path / "two.pt", "w")
    assert "'w' may be 'model.w' and 'module.w'; name one of them under layers" in text
    # all names stand behind one prefix, and the plain one goes before any
    torch.save({"model": {"w": one}, "module": {"w": other, "b": other}}, tmp_path / "one.pt")
    assert read_tensors(tmp_path / "one.pt", ["w", "b"])["w"].tolist() == [0, 0]
    torch.save({"w": other, "module": {"w": one}}, tmp_path / "plain.pt")
    assert read_tensors(tmp_path / "plain.pt", ["w"])["w"].tolist() == [0, 0]


def test_a_weight_that_is_computed_from_others_is_told(tmp_path):
    net = small_network()
    prune.l1_unstructured(net[0], "weight", 0.5)
    torch.nn.utils.parametrizations.weight_norm(net[2])
    torch.save(net.state_dict(), tmp_path / "net.pt")
    assert "no tensor '0.weight', but 0.weight_" in refused(tmp_path / "net.pt", "0.weight")
    assert "save it after torch.nn.utils.prune.remove" in refused(tmp_path / "net.pt", "2.weight")


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


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("is_beside", [True, False])
def test_a_pickle_that_runs_a_command_does_not_run(tmp_path, suffix, how, protocol, is_beside):
    path, mark = tmp_path / f"net{suffix}", tmp_path / "ran"
    content = {"evil": Evil(mark), "w": np.ones(2)} if is_beside else Evil(mark)
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    else:
        is_zip = how == "zip"
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    if is_beside:
        assert read_tensors(path, ["w"])["w"].tolist() == [1, 1]
        assert "'evil' is posix.mkdir, no tensor" in refused(path, "evil")
    else:
        assert "no tensor 'w'" in refused(path, "w")
    assert not mark.exists()
    # the mark would tell: unpickled in earnest, it is made
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cposix\nmkdir\n(V{mark}\ntR.",
        b"(iposix\nmkdir\n(V{mark}\nt.",
        b"(cposix\nmkdir\nV{mark}\no.",
        b"cposix\nmkdir\n(V{mark}\nt\x81.",
        b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93(V{mark}\nt}\x92.",
        b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93(V{mark}\ntR.",
        b"}(V__setstate__\ncposix\nmkdir\nubV{mark}\nb.",
        b"cbuiltins\ngetattr\n(cposix\nsystem\nV__call__\ntR(Vmkdir {mark}\ntR.",
        b"\x82\x01(V{mark}\ntR.",
        b"cbuiltins\nexec\n(Vimport os; os.mkdir('{mark}')\ntR.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nmkdir\nN(V{mark}\ntNtR.",
    ],
)
@pytest.mark.parametrize("place", ["alone", "as the weight"])
def test_no_opcode_calls_or_builds_anything(tmp_path, code, place):
    mark = tmp_path / "ran"
    code = code.replace(b"{mark}", str(mark).encode())
    if place != "alone":
        code = b"}Vw\n" + code.removesuffix(b".").removeprefix(b"\x80\x04") + b"s."
    (tmp_path / "net.pt").write_bytes(code)
    refused(tmp_path / "net.pt", "w")
    assert not mark.exists()


def most_memory(act):
    """Bytes that Python held at most while `act` ran."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LONG = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6 + b"q\x00"  # a text, kept as 0
CHAIN = b"Nq\x02" + b"ctorch._utils\n_rebuild_parameter\nh\x02\x85Rq\x02" * 10_000
PICKLES = {
    "bytearray": b"cbuiltins\nbytearray\nJ\x00\x00\x00\x70\x85R",
    "memo": b"}r\xff\xff\xff\x7f",
    "length": b"\x8e" + (2**40).to_bytes(8, "little"),
    # what is large and stands here once is asked for again and again
    "texts": LONG + b"c_codecs\nencode\nh\x00\x85R" * 3000,
    "arguments": b"]q\x00(" + b"N" * 10**5 + b"e" + b"cos\nsystem\nh\x00R" * 10_000,
    "names": LONG + b"h\x00h\x00\x93" * 3000,
    "chain": CHAIN + b"}(" + b"".join(b"X\x05\0\0\0%05dh\x02" % n for n in range(10_000)) + b"u",
}
"""Small pickles that ask for gigabytes, or for hours."""


def bomb(path, kind):
    match kind:
        case pickled if pickled in PICKLES:
            path.write_bytes(b"\x80\x04" + PICKLES[kind] + b".")
        case "storage":
            torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
            path.write_bytes(path.read_bytes()[:-16] + (2**40).to_bytes(8, "little") + bytes(8))
        case "deflated":
            torch.save({"w": torch.ones(2)}, path.with_suffix(".small"))
            with (
                zipfile.ZipFile(path.with_suffix(".small")) as source,
                zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
            ):
                for part in source.namelist():
                    is_data = part.endswith("data/0")
                    target.writestr(part, bytes(10**8) if is_data else source.read(part))
        case "npz":
            np.savez_compressed(path.with_suffix(".npz"), w=np.zeros(10**8, np.float32))
            path.with_suffix(".npz").rename(path)
        case "hdf5":
            with h5py.File(path, "w") as file:
                file.create_dataset("w", data=np.zeros(10**8, np.float32), compression="gzip")
        case "chunk":
            with h5py.File(path, "w") as file:
                chunk = {"maxshape": (None,), "chunks": (10**8,)}
                file.create_dataset("w", data=[1.0], compression="gzip", dtype="f4", **chunk)


@pytest.mark.parametrize("kind", [*PICKLES, "storage", "deflated", "npz", "hdf5", "chunk"])
def test_a_small_file_takes_little_memory(tmp_path, kind):
    bomb(tmp_path / "net.pt", kind)
    assert most_memory(lambda: refused(tmp_path / "net.pt", "w")) < 100e6


def test_a_pickle_of_too_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("weightscape.foreign.formats.pickles.MOST_STEPS", 100)
    torch.save({"w": torch.ones(2), "history": list(range(200))}, tmp_path / "net.pt")
    assert "more than 100 steps" in refused(tmp_path / "net.pt", "w")


def test_what_compresses_well_is_no_bomb(tmp_path):
    """Biases begin as zeros."""
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("w", data=np.zeros((1000, 100), np.float32), compression="gzip")
    np.savez_compressed(tmp_path / "net.npz", w=np.zeros((1000, 100), np.float32))
    for name in ("net.h5", "net.npz"):
        assert read_tensors(tmp_path / name, ["w"])["w"].shape == (1000, 100)


def fail_with(monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.open", fail)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOENT, "there is no such file; correct the table"),
        (errno.EACCES, "it may not be read; allow it with chmod"),
        (errno.ENAMETOOLONG, "its name is too long"),
        (errno.EINVAL, "it is damaged"),
    ],
)
def test_what_the_system_says_of_a_file_leaves_it_out(path, monkeypatch, number, words):
    fail_with(monkeypatch, number)
    assert words in refused(path, "half")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "Too many open files; allow more with ulimit -n"),
        (errno.EIO, "run again when the disk or the network is well"),
        (errno.ESTALE, "run again when the disk or the network is well"),
    ],
)
def test_where_the_machine_fails_the_job_ends_and_no_run_is_left_out(
    path, monkeypatch, number, words
):
    fail_with(monkeypatch, number)
    with pytest.raises(WeightscapeError, match=words) as caught:
        read_tensors(path, ["half"])
    assert not isinstance(caught.value, Refused)
    assert str(path) in str(caught.value)


def test_an_error_that_hdf5_quotes_is_one_of_the_machine(path, monkeypatch):
    def fail(*_):
        raise OSError("Can't read data (file read failed: errno = 5, error message = '...')")

    monkeypatch.setattr("weightscape.foreign.checkpoints._read", fail)
    with pytest.raises(WeightscapeError, match="run again when the disk") as caught:
        read_tensors(path, ["half"])
    assert not isinstance(caught.value, Refused)


def test_without_memory_the_job_ends(path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("weightscape.foreign.checkpoints._read", fail)
    with pytest.raises(WeightscapeError, match="give the job more") as caught:
        read_tensors(path, ["half"])
    assert not isinstance(caught.value, Refused)


def test_hdf5_is_read_while_another_has_locked_it(tmp_path, tensors):
    path = WRITERS[".h5"](tmp_path / "net.h5", tensors)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_tensors(path, ["half"])["half"].shape == (5, 2)


def test_a_name_of_300_letters_is_told(tmp_path):
    assert "its name is too long" in refused(tmp_path / ("a" * 300 + ".pt"), "w")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(2, 2).to_sparse(), "'w' is sparse; save it dense: tensor.to_dense()"),
        (torch.ones(2).to(torch.float8_e4m3fn), "'w' is torch.float8_e4m3fn; save it as 16, 32"),
        (torch.ones(2, dtype=torch.complex64), "torch.complex64"),
        (torch.ones(2, dtype=torch.int8), "torch.int8"),
        (torch.ones(1).expand(10**9, 10**9), "is larger than the file"),
        ("text", "'w' is no tensor, but str"),
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
    assert "it is damaged (Bad CRC-32" in refused(tmp_path / "net.pt", "w")


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
