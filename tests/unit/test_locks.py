"""A lock that ends with its process, and what a killed holder leaves."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from weightscape.errors import WeightscapeError
from weightscape.monitor.locks import hold

HOLDER = """
import sys, time
from pathlib import Path
from weightscape.monitor.locks import hold
lock = hold(Path(sys.argv[1]), "the study x")
lock.note_queue_name(sys.argv[2])
print(flush=True)
time.sleep(600)
"""

WRITER = """
import json, os, signal, sys
from pathlib import Path
from weightscape.monitor.locks import hold
lock = hold(Path(sys.argv[1]), "the study x")
json.dumps = lambda line: os.kill(os.getpid(), signal.SIGKILL)  # before any line is written
lock.note_queue_name("jobs-2")
"""

PARENT = """
import subprocess, sys, time
from pathlib import Path
from weightscape.monitor.locks import hold
lock = hold(Path(sys.argv[1]), "the study x")
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, close_fds=False)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / ".lock"


@pytest.fixture
def start(path):
    """Start a process that holds the lock, with a name for its jobs."""
    processes = []

    def holder(queue_name=""):
        command = [sys.executable, "-c", HOLDER, str(path), queue_name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"\n"
        return process

    yield holder
    for process in processes:
        process.kill()
        process.communicate()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_who_comes_second_is_told_who_holds_it_and_since_when(path, start):
    process = start("jobs-1")
    before = path.read_text()
    with pytest.raises(WeightscapeError) as caught:
        hold(path, "the study x")
    assert str(caught.value) == (
        f"the study x is in use by another snakemake (process {process.pid} on "
        f"{socket.gethostname()}, since {json.loads(before)['since']}). Wait until it ends, or "
        "stop it, then run again"
    )
    assert path.read_text() == before


def test_a_lock_ends_with_its_process_and_its_jobs_are_remembered(path, start):
    kill(start("jobs-1"))
    lock = hold(path, "the study x")
    assert lock.left == ["jobs-1"]
    lock.settle()
    assert lock.left == []
    lock.release()
    assert path.read_text() == ""
    assert hold(path, "the study x").left == []


def test_a_holder_that_says_goodbye_leaves_nothing(path):
    lock = hold(path, "the study x")
    lock.note_queue_name("jobs-1")
    lock.release()
    assert path.read_text() == ""
    assert hold(path, "the study x").left == []


def test_of_several_killed_holders_none_is_forgotten(path, start):
    for number in range(3):
        kill(start(f"jobs-{number}"))
    kill(start())  # killed before it had jobs
    assert hold(path, "the study x").left == ["jobs-0", "jobs-1", "jobs-2"]


def test_who_did_not_cancel_their_jobs_leaves_them_to_the_next(path, start):
    kill(start("jobs-1"))
    hold(path, "the study x").release()  # a local run, say
    assert hold(path, "the study x").left == ["jobs-1"]


def test_who_is_killed_while_writing_forgets_no_one(path, start):
    kill(start("jobs-1"))
    done = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert hold(path, "the study x").left == ["jobs-1"]


@pytest.mark.parametrize(
    "rest", ['{"host": "a", "queue_na', "\n", "[]\n", "7", "\0\0\0", b"\xff\xfe".decode("latin1")]
)
def test_a_damaged_line_is_passed_over(path, start, rest):
    path.parent.mkdir()
    path.write_text('{"queue_name": "jobs-1"}\n' + rest, encoding="latin1")
    kill(start("jobs-2"))
    assert hold(path, "the study x").left == ["jobs-1", "jobs-2"]


def test_an_unreadable_holder_is_still_one(path, start):
    start()
    path.write_text('{"host"')
    with pytest.raises(WeightscapeError, match=r"process . on ., since ."):
        hold(path, "the study x")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_everyone_gets_it(path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = hold(path, "the study x"), hold(path, "the study x")
    first.release()
    second.release()
    assert path.read_text() == ""


def test_a_child_does_not_inherit_it(path):
    holder = subprocess.Popen([sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE)
    child = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.communicate()
        os.kill(child, 0)  # is there still
        assert hold(path, "the study x").left == []
    finally:
        os.kill(child, signal.SIGKILL)


def make_folder(path):
    path.mkdir(parents=True)


def make_loop(path):
    path.parent.mkdir()
    path.symlink_to(path.name)


def make_file_of_results(path):
    path.parent.write_text("")


def make_pipe(path):
    path.parent.mkdir()
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_folder, make_loop, make_file_of_results, make_pipe])
def test_a_lock_that_can_t_be_a_file_is_one_sentence(path, make):
    make(path)
    with pytest.raises(
        WeightscapeError, match=r"^the study x can't be locked: .+ can't be written"
    ):
        hold(path, "the study x")


def test_results_that_can_t_be_written_are_one_sentence(path, monkeypatch):
    def refuse(self, *_args, **_kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(WeightscapeError) as caught:
        hold(path, "the study x")
    assert f"{path} can't be written (Permission denied). Make its folder" in str(caught.value)
