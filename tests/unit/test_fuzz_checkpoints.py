"""Checkpoints and their tables under fire: right numbers or a sentence, and nothing else.

WEIGHTSCAPE_FUZZ is the number of examples of each test; the same ones each time, unless it is set.
"""

import csv
import io
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_files import WRITERS
from fuzzing import EXAMPLES, damage, fuzzed
from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import read_tensors
from weightscape.foreign.listing import COLUMNS, read_listing

SMALL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


def write_npz(path, tensors):
    np.savez(path.with_suffix(".npz"), **tensors)
    return path.with_suffix(".npz").rename(path)


def write_compressed(path, tensors):
    np.savez_compressed(path.with_suffix(".npz"), **tensors)
    return path.with_suffix(".npz").rename(path)


def write_stream(path, tensors):
    content = {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def write_pickle(path, tensors):
    path.write_bytes(pickle.dumps(tensors, protocol=4))
    return path


# HDF5 may loop for ever on damage, so it is read in a process apart
FORMATS = {
    "torch": WRITERS[".pt"],
    "safetensors": WRITERS[".safetensors"],
    "stream": write_stream,
    "pickle": write_pickle,
    "npz": write_npz,
    "compressed npz": write_compressed,
}
CHECKED = {"torch", "npz", "compressed npz"}
"""Formats with checksums: other numbers than were written can't come out."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    writers = FORMATS | {"hdf5": WRITERS[".h5"]}
    return {name: write(folder / name, SMALL).read_bytes() for name, write in writers.items()}


def read(path):
    """What is read, or None; anything but a WeightscapeError in one line ends the test."""
    try:
        return read_tensors(path, ["w", "b"])
    except WeightscapeError as error:
        text = str(error)
    assert str(path) in text
    assert text.isprintable()
    assert len(text) < len(str(path)) + 2000
    return None


@pytest.mark.parametrize("name", list(FORMATS))
@fuzzed
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_its_numbers_are_in_it(sound, tmp_path, name, data):
    path, content = tmp_path / "net", data.draw(damage(sound[name]))
    path.write_bytes(content)
    found = read(path)
    if found is None:
        return
    for array in found.values():
        assert array.dtype == np.float32
        assert array.size <= len(content)
    if name in CHECKED:
        for key, array in found.items():
            np.testing.assert_array_equal(np.sort(array.ravel()), np.sort(SMALL[key].ravel()))


@fuzzed
@given(data=st.data())
def test_a_damaged_hdf5_file_is_refused_or_read_and_does_not_hang(sound, damaged_files, data):
    found = damaged_files.read("checkpoint", data.draw(damage(sound["hdf5"])))
    assert found == "refused" or found.startswith("read ")


OPCODES = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
PIECES = st.one_of(
    OPCODES,
    st.binary(max_size=6),
    st.sampled_from(
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch._utils\n_rebuild_parameter\n",
            b"ctorch._tensor\n_rebuild_from_type_v2\n",
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"ccollections\nOrderedDict\n",
            b"cposix\nsystem\n",
            b"Vw\n",
            b"Vstorage\n",
            b"K\x00",
            b"h\x00q\x01",
            b"(K\x02K\x03t",
            b"tR.",
        ]
    ),
)


@settings(fuzzed, max_examples=10 * EXAMPLES)
@given(st.lists(PIECES, max_size=40))
def test_no_pickle_does_anything_but_describe(tmp_path, pieces):
    (tmp_path / "net").write_bytes(b"\x80\x02" + b"".join(pieces) + b".")
    read(tmp_path / "net")


@fuzzed
@given(st.lists(PIECES, max_size=40))
def test_no_pickle_in_an_archive_does_either(tmp_path, pieces):
    with zipfile.ZipFile(tmp_path / "net", "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + b"".join(pieces) + b".")
        archive.writestr("net/data/0", bytes(24))
    read(tmp_path / "net")


FLOATS = [np.float16, np.float32, np.float64]
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
PARTS = st.text("abcdefgh_0123456789", min_size=1, max_size=6)
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(".".join)


@pytest.mark.parametrize("name", [*FORMATS, "hdf5"])
@fuzzed
@given(data=st.data())
def test_whatever_is_written_is_read_as_it_was(tmp_path, name, data):
    asked = data.draw(NAMES)
    shape, dtype = data.draw(SHAPES), data.draw(st.sampled_from(FLOATS))
    bits = np.random.default_rng(data.draw(st.integers(0, 2**32))).bytes(8 * 5**4)
    dtype = np.dtype(dtype)
    values = np.frombuffer(bits[: dtype.itemsize * int(np.prod(shape))], dtype).reshape(shape)
    if name == "safetensors" or not data.draw(st.booleans()):
        values = np.ascontiguousarray(values).reshape(shape)
    else:
        values = values.T
    prefix = data.draw(st.sampled_from(["", "module.", "module._orig_mod.", "state_dict.model."]))
    if name == "hdf5" and 0 in values.shape:
        return  # it keeps no array without numbers
    path = tmp_path / "net"
    (FORMATS | {"hdf5": WRITERS[".h5"]})[name](path, {f"{prefix}{asked}": values})
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(read_tensors(path, [asked])[asked], values.astype("f4"))


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["4", "20x50", "a.pt", "./a.pt", "97.5", "0.97", "1_0", "nan", "inf", "-inf", "1e999", "=1"]
    ),
    st.from_regex(r"[0-9.eE+-]{1,8}", fullmatch=True),
    st.text("a/.\\\0\n\u202e", min_size=1, max_size=3).map(lambda text: text * 2000),
)


@pytest.mark.parametrize("unit", ["percent", "fraction"])
@settings(fuzzed, max_examples=10 * EXAMPLES)
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=9), max_size=5), data=st.data())
def test_any_table_has_right_rows_or_faults_in_a_sentence(tmp_path, unit, rows, data):
    columns = data.draw(st.permutations(COLUMNS))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *rows])
    (tmp_path / "runs.csv").write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    check_listing(str(tmp_path / "runs.csv"), unit)


HEADER = b"file,width,test_accuracy\n"


@settings(fuzzed, max_examples=10 * EXAMPLES)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(HEADER.__add__)))
def test_any_bytes_are_a_table_or_faults(tmp_path, content):
    (tmp_path / "runs.csv").write_bytes(content)
    check_listing(str(tmp_path / "runs.csv"), "percent")


def check_listing(path, unit):
    rows, faults, *_ = read_listing(path, unit)
    assert rows or faults
    for fault in faults:
        assert path in fault
        assert fault.isprintable()
        assert len(fault) < len(path) + 400
    if faults:
        return
    for row in rows:
        assert row.file.isprintable()
        assert row.file == os.path.normpath(row.file)
        assert not row.file.startswith(("/", "..", "="))
        assert 0 <= row.final["test_accuracy"] <= 100
    assert len({row.file for row in rows}) == len({(r.width, r.seed) for r in rows}) == len(rows)


def test_the_numbers_of_a_table_are_those_that_it_says(tmp_path):
    random = np.random.default_rng(0)
    accuracies = random.uniform(0, 100, 200)
    lines = [f"{n}.pt,4,{value!r}" for n, value in enumerate(accuracies.tolist())]
    (tmp_path / "runs.csv").write_text("file,width,test_accuracy\n" + "\n".join(lines))
    rows, *_ = read_listing(str(tmp_path / "runs.csv"))
    assert [row.final["test_accuracy"] for row in rows] == accuracies.tolist()
