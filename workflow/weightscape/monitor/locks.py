"""One Snakemake at a time for a study; what a dead one left in a queue is remembered.

Snakemake's own lock outlives a killed process and has to be removed by hand. This one is the
operating system's and ends with its process, however that ends.
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, TextIO

from weightscape.errors import WeightscapeError


class Lock:
    """Held until `release`, or until the process ends.

    Its file has a line of JSON for each holder that has not ended as it should: host, process,
    since, and the name of its jobs in a queue.
    """

    def __init__(self, file: TextIO, earlier: list[dict[str, Any]]):
        self._file = file
        self._others = [line for line in earlier if line.get("queue_name")]
        self._own = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "queue_name": "",
        }
        self._write(self._own)

    @property
    def left(self) -> list[str]:
        """Names, in the queue, of the jobs of earlier holders that were killed."""
        return [line["queue_name"] for line in self._others]

    def settle(self) -> None:
        """Notes that none of their jobs is left."""
        self._others = []
        self._write(self._own)

    def note_queue_name(self, name: str) -> None:
        self._own["queue_name"] = name
        self._write(self._own)

    def release(self) -> None:
        """Notes that this holder has no jobs left, and lets go."""
        self._write()
        self._file.close()

    def _write(self, *own: dict[str, Any]) -> None:
        self._file.seek(0)
        self._file.writelines(json.dumps(line) + "\n" for line in [*self._others, *own])
        self._file.flush()
        self._file.truncate()  # last: a holder killed here forgets no one
        os.fsync(self._file.fileno())


def hold(path: Path, what: str) -> Lock:
    """The lock at `path`.

    Raises WeightscapeError, which says who has it, if another process holds it, or that it can't
    be written. A file system that knows no locks gives it to everyone; nobody there is taken for
    dead.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        file = path.open("r+", encoding="utf-8", errors="replace")
        return _hold(file, what)
    except OSError as error:
        found, reason = error.filename or path, error.strerror or error
        raise WeightscapeError(
            f"{what} can't be locked: {found} can't be written ({reason}). Make its folder "
            "writable, or remove what is there in its place"
        ) from None


def _hold(file: TextIO, what: str) -> Lock:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder: dict[str, Any] = next(reversed(_read_lines(file)), {})
        file.close()
        raise WeightscapeError(
            f"{what} is in use by another snakemake (process {holder.get('process', '?')} on "
            f"{holder.get('host', '?')}, since {holder.get('since', '?')}). Wait until it ends, or "
            "stop it, then run again"
        ) from None
    except OSError:
        return Lock(file, [])
    return Lock(file, _read_lines(file))


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
