"""A lock that ends with its process, and what a killed holder leaves."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from weightscape.errors import WeightscapeError
from weightscape.messages import logs
from weightscape.monitor.locks import find_holder, hold

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


def has_no_locks(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_living_process_has_it_and_a_dead_one_is_remembered(
    path, start, monkeypatch, number
):
    monkeypatch.setattr(fcntl, "flock", has_no_locks(number))
    process = start("jobs-1")
    with pytest.raises(WeightscapeError, match=f"process {process.pid} on"):
        hold(path, "the study x")
    kill(process)
    lock = hold(path, "the study x")
    assert lock.left == ["jobs-1"]
    assert not lock.is_sure
    lock.settle()
    lock.release()
    assert path.read_text() == ""


def test_the_number_of_a_dead_process_may_be_another_s_now(path, start, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", has_no_locks(errno.ENOLCK))
    process = start("jobs-1")
    line = json.loads(path.read_text())
    path.write_text(json.dumps(line | {"started": "7"}))
    assert hold(path, "the study x").left == ["jobs-1"]
    assert process.poll() is None


def of_another_host(path, age):
    """The line of a snakemake there, whose lock is not seen here."""
    line = {"host": "elsewhere", "process": 7, "started": "1", "since": "2026-11-25 02:30:11"}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(line | {"queue_name": "jobs-1"}) + "\n")
    os.utime(path, (time.time() - age,) * 2)


def test_a_lock_that_its_host_keeps_to_itself_is_told_by_its_heartbeat(path):
    of_another_host(path, age=100)
    before = path.read_text(), path.stat().st_mtime
    with pytest.raises(WeightscapeError) as caught:
        hold(path, "the study x")
    assert str(caught.value).startswith(
        "the study x is in use by another snakemake (process 7 on elsewhere, since "
    )
    assert "gave a sign of life 100 s ago; without another, it counts as dead after 3 min" in str(
        caught.value
    )
    assert (path.read_text(), path.stat().st_mtime) == before  # to ask is no sign of life


def test_another_host_s_is_dead_when_its_heartbeat_is_old(path):
    of_another_host(path, age=200)
    lock = hold(path, "the study x")
    assert lock.left == ["jobs-1"]
    assert lock.is_sure


def test_a_holder_gives_signs_of_life(path, monkeypatch):
    monkeypatch.setattr(logs, "SECONDS_PER_BEAT", 0.05)
    lock = hold(path, "the study x")
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 20
    while path.stat().st_mtime < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert time.time() - path.stat().st_mtime < 10
    lock.release()
    os.utime(path, (0, 0))
    time.sleep(0.2)
    assert path.stat().st_mtime == 0


def test_who_lost_it_meanwhile_does_not_take_it_from_the_next(path):
    """Of a suspended snakemake no heartbeat comes, and another host takes it for dead."""
    lock = hold(path, "the study x")
    of_another_host(path, age=0)
    there = path.read_text()
    lock.release()
    assert path.read_text() == there


def test_who_has_it_can_be_asked(path, start):
    assert find_holder(path, 0.0) is None
    process = start("jobs-1")
    holder = find_holder(path, path.stat().st_mtime + 1000)
    assert (holder.host, holder.process, holder.is_alive) == (
        socket.gethostname(),
        process.pid,
        True,
    )
    kill(process)
    holder = find_holder(path, path.stat().st_mtime + 1000)
    assert (holder.silence, holder.is_alive) == (1000, False)
    of_another_host(path, age=0)
    assert find_holder(path, path.stat().st_mtime + 60).is_alive
    assert find_holder(path.parent, 0.0) is None


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
