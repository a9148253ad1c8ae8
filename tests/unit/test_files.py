"""Files that are there whole or not at all."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from weightscape.files import explain, replace_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def alive():
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def part(target, process, host=None):
    host = host or socket.gethostname()
    path = target.with_name(f".{target.name}.{host}-{process}.part")
    path.write_text("left behind")
    return path


def test_the_target_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    target = tmp_path / "a" / "b" / "file"
    with replace_whole(target) as aside:
        aside.write_text("whole")
        assert aside.parent == target.parent, "a rename is atomic within one folder only"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with replace_whole(target) as aside:
        aside.write_text("half")
        assert target.read_text() == "old"
        aside.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")

    def write_half():
        with replace_whole(target) as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_an_error_before_the_first_byte_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="early"), replace_whole(tmp_path / "file"):
        raise ValueError("early")
    assert names(tmp_path) == []


def test_what_a_dead_process_left_behind_is_removed(tmp_path, dead):
    target = tmp_path / "file"
    left = part(target, dead)
    with replace_whole(target) as aside:
        aside.write_text("new")
        assert not left.exists()


def test_what_a_live_process_writes_is_kept(tmp_path, alive):
    target = tmp_path / "file"
    left = part(target, alive)
    with replace_whole(target) as aside:
        aside.write_text("new")
    assert left.read_text() == "left behind"


def test_what_another_host_or_another_file_is_written_from_is_kept(tmp_path, dead):
    target = tmp_path / "file"
    kept = [
        part(target, dead, "another.host"),
        part(tmp_path / "file2", dead),
        part(tmp_path / "xfile", dead),
    ]
    with replace_whole(target) as aside:
        aside.write_text("new")
    assert all(path.exists() for path in kept)


def test_a_name_is_no_pattern(tmp_path, dead):
    other = part(tmp_path / "axb", dead)
    with replace_whole(tmp_path / "a.b") as aside:
        aside.write_text("new")
    assert other.exists()


def test_two_processes_write_beside_each_other(tmp_path):
    target = tmp_path / "file"
    child = (
        "import sys, pathlib; from weightscape.files import explain, replace_whole\n"
        "with replace_whole(pathlib.Path(sys.argv[1])) as aside: aside.write_text('child')"
    )
    with replace_whole(target) as aside:
        aside.write_text("parent")
        subprocess.run([sys.executable, "-c", child, str(target)], check=True)
        assert target.read_text() == "child"
    assert target.read_text() == "parent"
    assert names(tmp_path) == ["file"]


def test_a_file_gets_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with replace_whole(tmp_path / "file") as aside:
        aside.write_text("new")
    assert os.stat(tmp_path / "file").st_mode == os.stat(usual).st_mode


def told(number, text="HDF5 says so"):
    error = OSError(number, text) if number else OSError(text)
    return explain(error, "the shard", "a.h5", "delete it and run again")


def test_damage_alone_is_mended_by_deleting_the_file():
    assert told(None) == "the shard a.h5 is refused: HDF5 says so; delete it and run again"
    others = [errno.ENOENT, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOLCK, errno.EMFILE]
    assert [number for number in others if "delete" in told(number)] == []


def test_what_is_wrong_with_a_file_is_told_apart():
    assert told(errno.ENOENT) == (
        "the shard a.h5 is not there; if the results were moved, run from the folder that they are "
        "in now, else run again to make it"
    )
    assert told(errno.EACCES) == (
        "the shard a.h5 can't be read: you may not read it; change its permissions"
    )
    assert told(errno.EIO) == (
        "the shard a.h5 can't be read: Input/output error. That is no damage to the file: see to "
        "the file system and run again"
    )
