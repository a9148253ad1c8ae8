"""One Snakemake at a time for a study; what a dead one left in a queue is remembered.

Snakemake's own lock outlives a killed process and has to be removed by hand. This one is the
operating system's and ends with its process, however that ends. But some file systems have no such
locks, and others keep them for each node. So a holder also has a heartbeat, the date of its file,
and what the operating system gives away is still refused while the last holder lives.
"""

import fcntl
import json
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from weightscape.errors import WeightscapeError
from weightscape.messages.logs import SECONDS_TO_SILENCE, keep_touching
from weightscape.messages.terminal import format_time


class Holder(NamedTuple):
    """A snakemake that has a lock, or had it and has not ended as it should."""

    host: str
    process: int | str
    since: str
    silence: float
    """seconds since its last heartbeat"""
    is_alive: bool
    """its process is there, or, on another host, its heartbeat is young"""
    queue_name: str = ""
    """of its jobs in a queue"""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"


class Lock:
    """Held until `release`, or until the process ends.

    Its file has a line of JSON for each holder that has not ended as it should: host, process, when
    that started, since, and the name of its jobs in a queue. The file's date is the heartbeat of
    the last one.
    """

    def __init__(self, file: TextIO, is_sure: bool = True):
        self._file, self.is_sure = file, is_sure
        """whether the operating system keeps others off"""
        self._left = [line for line in _read_lines(file) if line.get("queue_name")]
        self._own = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "started": _when_started(os.getpid()),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "queue_name": "",
        }
        self._write([*self._left, self._own])
        self._ended = keep_touching(file.name)

    @property
    def left(self) -> list[str]:
        """Names, in the queue, of the jobs of earlier holders that were killed."""
        return [line["queue_name"] for line in self._left]

    def settle(self) -> None:
        """Notes that none of their jobs is left."""
        others = [line for line in self._others() if line not in self._left]
        self._left = []
        self._write([*others, self._own])

    def note_queue_name(self, name: str) -> None:
        others = self._others()
        self._own["queue_name"] = name
        self._write([*others, self._own])

    def release(self) -> None:
        """Notes that this holder has no jobs left, and lets go."""
        self._ended.set()
        self._write(self._others())
        self._file.close()

    def _others(self) -> list[dict[str, Any]]:
        return [line for line in _read_lines(self._file) if line != self._own]

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self._file.seek(0)
        self._file.writelines(json.dumps(line) + "\n" for line in lines)
        self._file.flush()
        self._file.truncate()  # last: a holder killed here forgets no one
        os.fsync(self._file.fileno())


def hold(path: Path, what: str) -> Lock:
    """The lock at `path`.

    Raises WeightscapeError, which says who has it, if another process holds it, or that it can't
    be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # else its date would change, which is a heartbeat
            path.touch()
        return _hold(path.open("r+", encoding="utf-8", errors="replace"), path, what)
    except OSError as error:
        found, reason = error.filename or path, error.strerror or error
        raise WeightscapeError(
            f"{what} can't be locked: {found} can't be written ({reason}). Make its folder "
            "writable, or remove what is there in its place"
        ) from None


def _hold(file: TextIO, path: Path, what: str) -> Lock:
    is_sure = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unreadable = Holder("?", "?", "?", 0.0, True)
        refusal = _refuse(what, _last_holder(file, _now(path.parent)) or unreadable)
        file.close()
        raise refusal from None
    except OSError:
        is_sure = False
    holder = _last_holder(file, _now(path.parent))
    if holder is not None and holder.is_alive:
        file.close()
        raise _refuse(what, holder)
    return Lock(file, is_sure)


def _refuse(what: str, holder: Holder) -> WeightscapeError:
    message = (
        f"{what} is in use by another snakemake ({holder}). Wait until it ends, or stop it, then "
        "run again"
    )
    if holder.host not in (socket.gethostname(), "?"):
        message += (
            f". It gave a sign of life {format_time(holder.silence)} ago; without another, it "
            f"counts as dead after {format_time(SECONDS_TO_SILENCE)}"
        )
    return WeightscapeError(message)


def find_holder(path: Path, now: float) -> Holder | None:
    """The last holder of a lock, if it has not ended as it should; `now` is by the file's clock."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _last_holder(file, now)
    except OSError:
        return None


def _last_holder(file: TextIO, now: float) -> Holder | None:
    line: dict[str, Any] = next(reversed(_read_lines(file)), {})
    if "process" not in line:
        return None
    host, process = line.get("host", "?"), line["process"]
    silence = max(0.0, now - os.fstat(file.fileno()).st_mtime)
    is_alive = silence <= SECONDS_TO_SILENCE
    if host == socket.gethostname() and (started := line.get("started")):
        is_alive = started == _when_started(process)
    return Holder(
        host, process, line.get("since", "?"), silence, is_alive, line.get("queue_name", "")
    )


def _when_started(process: int) -> str:
    """When a process of this host started, in ticks since that did; empty if it has ended, or where
    no such thing is told."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # what is before may have blanks
    has_ended = fields[0] in "ZX"
    return "" if has_ended else fields[19]


def _now(folder: Path) -> float:
    """By the clock of the file server, which dates heartbeats."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b".")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _read_lines(file: TextIO) -> list[dict[str, Any]]:
    file.seek(0)
    lines = []
    for line in file:
        try:
            value = json.loads(line)
        except ValueError:  # its writer was killed
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines
