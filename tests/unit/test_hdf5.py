"""HDF5 files of ours: whole, of one version, and with attributes that nobody changed."""

import errno
import fcntl
import hashlib
import os

import h5py
import numpy as np
import pytest

from read_damaged import texts_of
from weightscape.errors import WeightscapeError
from weightscape.storage.hdf5 import read_file, write_file

ATTRIBUTES = {"format_version": 3, "name": "dnn", "classes": 10, "source": '{"a":1}', "who": "Å"}


@pytest.fixture
def path(tmp_path):
    with write_file(tmp_path / "f.h5", ATTRIBUTES) as file:
        file["x"] = np.arange(5)
    return tmp_path / "f.h5"


def reading(path, version=3):
    return read_file(path, "the thing", version, "make it anew")


def refusal(path, version=3):
    with pytest.raises(WeightscapeError) as caught, reading(path, version):
        pytest.fail("a damaged file was opened")
    text = str(caught.value)
    assert all(words in text for words in ("the thing", str(path), "make it anew"))
    return text


def test_what_is_written_is_read(path):
    with reading(path) as file:
        assert file["x"][()].tolist() == [0, 1, 2, 3, 4]
        found = texts_of(file.attrs)
        assert {key: found[key] for key in ATTRIBUTES} == ATTRIBUTES


def test_a_file_is_closed_after_reading(path):
    with reading(path) as file:
        pass
    assert not file
    with h5py.File(path, "a") as again:
        again["y"] = 1


def test_a_refused_file_is_closed_too(path):
    refusal(path, version=4)
    with h5py.File(path, "a") as again:
        again["y"] = 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_that_is_not_complete_is_not_there(tmp_path, error):
    def write_half():
        with write_file(tmp_path / "f.h5", ATTRIBUTES) as file:
            file["x"] = 1
            raise error

    with pytest.raises(error):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_reader_is_its_own(path):
    def read():
        with reading(path):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "dnm"), ("name", "dnn "), ("classes", 11), ("who", "A")],
)
def test_a_changed_attribute_is_refused(path, key, value):
    with h5py.File(path, "a") as file:
        file.attrs[key] = value
    refusal(path)


def test_a_missing_attribute_is_refused(path):
    with h5py.File(path, "a") as file:
        del file.attrs["name"]
    refusal(path)


def test_another_version_is_refused_by_both_numbers(path):
    text = refusal(path, version=4)
    assert "3" in text
    assert "4" in text


def test_a_file_of_others_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    refusal(tmp_path / "other.h5")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "f.h5").write_bytes(content)
    refusal(tmp_path / "f.h5")


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(WeightscapeError, match=r"away\.h5 is not there; if the results were moved"):
        read_whole(tmp_path / "away.h5")


def test_a_file_is_read_where_locks_fail(path):
    """Some network file systems refuse every lock; here another holds it."""
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert read_whole(path) == [0, 1, 2, 3, 4]


def test_a_file_that_is_open_in_this_process_can_be_read(path):
    """As in a notebook; HDF5 wants the same of both."""
    with h5py.File(path):
        assert read_whole(path) == [0, 1, 2, 3, 4]
    with reading(path), h5py.File(path, locking=False):
        pass


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_what_the_file_system_refuses_is_not_called_damage(path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, "no")

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", fail)
        with pytest.raises(WeightscapeError, match="can't be read") as error:
            read_whole(path)
    assert "delete" not in str(error.value)


def read_whole(path):
    with reading(path) as file:
        return file["x"][()].tolist()


def flip(path):
    """Flip a bit of the numbers, which HDF5 itself does not see."""
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(5).tobytes())] ^= 2
    with path.open("r+b") as raw:
        raw.write(content)


def set_time(path, status, nanoseconds):
    """Set when the file was changed to so long after what its status said."""
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + nanoseconds))


def test_a_flipped_bit_is_seen_by_the_seal_alone(path):
    flip(path)
    with h5py.File(path) as file:
        assert file["x"][()].tolist() == [2, 1, 2, 3, 4]
    refusal(path)


@pytest.mark.parametrize("nanoseconds", [-(10**9), 1000, 10**9])
def test_a_file_that_was_read_and_then_damaged_is_refused(path, nanoseconds):
    assert read_whole(path) == [0, 1, 2, 3, 4]
    status = path.stat()
    flip(path)
    set_time(path, status, nanoseconds)
    refusal(path)


def test_a_file_that_was_read_and_then_grew_is_refused(path):
    read_whole(path)
    status = path.stat()
    with path.open("ab") as raw:
        raw.write(b"\0")
    set_time(path, status, 0)
    refusal(path)


def test_a_file_that_took_the_place_of_one_that_was_read_is_refused(path, tmp_path):
    read_whole(path)
    status = path.stat()
    other = tmp_path / "other.h5"
    other.write_bytes(path.read_bytes())
    flip(other)
    set_time(other, status, 0)
    other.replace(path)
    refusal(path)


def test_a_damaged_file_is_refused_each_time_and_read_when_it_is_whole_again(path):
    whole = path.read_bytes()
    flip(path)
    refusal(path)
    refusal(path)
    path.write_bytes(whole)
    assert read_whole(path) == [0, 1, 2, 3, 4]


def test_a_file_that_was_written_anew_is_read_anew(path):
    read_whole(path)
    with write_file(path, ATTRIBUTES) as file:
        file["x"] = np.arange(5, 10)
    assert read_whole(path) == [5, 6, 7, 8, 9]


def test_a_file_that_stays_is_digested_once_wherever_it_is_read_from(path, monkeypatch):
    digested, digest = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda *call: digested.append(call) or digest(*call)
    )
    monkeypatch.chdir(path.parent)
    for name in (path, str(path), path.name, path.name):
        read_whole(name)
    assert len(digested) == 1


def test_a_version_is_checked_each_time(path):
    read_whole(path)
    refusal(path, version=4)
