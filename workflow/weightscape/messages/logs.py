"""What a job writes to its log, how it ends when its input is bad, and what its log tells."""

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from weightscape.errors import WeightscapeError
from weightscape.messages.terminal import wipe

# A job touches its log however long it has nothing to write. One that has missed three beats has
# ended: file servers show a date up to a minute late.
SECONDS_PER_BEAT = 60.0
SECONDS_TO_SILENCE = 3 * SECONDS_PER_BEAT

STARTED = "process "
"""What begins the first message of a job, which tells nothing of its work."""
EXPECTED, UNEXPECTED = "error: ", "unexpected error"
COMPILED = "compiled code was there after "
"""What begins the message of how long a job compiled, or waited for another that did."""
MESSAGE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)")
SECONDS = re.compile(re.escape(COMPILED) + r"(\d+\.\d) s")
BYTES_OF_TAIL = 16_384


class _Handler(logging.FileHandler):
    """Loses lines that a full disk does not take: a traceback for each would bury the error."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def job_log(path: str) -> Iterator[logging.Logger]:
    """Log to `path`; a WeightscapeError ends the job with its sentence and no traceback."""
    log = logging.getLogger("weightscape")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = _Handler(path, mode="w")
    except OSError as error:
        sys.exit(f"weightscape: the log {path} can't be written: {error.strerror}")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    ended = keep_touching(path)
    log.info("%s%d on %s", STARTED, os.getpid(), socket.gethostname())
    try:
        yield log
    except WeightscapeError as error:
        log.error("%s%s", EXPECTED, error)
        wipe(sys.stderr)
        sys.exit(f"weightscape: {error}")
    except Exception:
        log.exception(UNEXPECTED)
        wipe(sys.stderr)
        raise
    finally:
        ended.set()  # not waited for: a touch hangs as long as the file server does
        log.removeHandler(handler)
        with suppress(OSError):  # of what a full disk did not take
            handler.close()


def leave() -> NoReturn:
    """End a job that has done its work, at once and with exit status 0.

    Python would first take down what compilers, torch or pandas have built up: 0.2 to 0.4 s.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def keep_touching(path: str) -> threading.Event:
    """Date a file anew at each beat, until the event is set or the process ends."""
    ended = threading.Event()
    threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
    return ended


def _beat(path: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_PER_BEAT):
        with suppress(OSError):  # the log is not worth the job
            touch(path)


def touch(path: str) -> float:
    """Date a file now, and tell that date: by the file server's clock, as all files' dates are."""
    os.utime(path)
    return os.stat(path).st_mtime


def read_tail(path: str) -> list[str]:
    """The last lines of a log, all whole and none blank, however long the log is."""
    with open(path, "rb") as file:
        skipped = max(0, file.seek(0, os.SEEK_END) - BYTES_OF_TAIL)
        file.seek(skipped)
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines[bool(skipped) :] if line.strip()]


def tells_error(tail: list[str]) -> bool:
    """Whether a log's last message is the error that ended the job."""
    messages = filter(None, map(MESSAGE.fullmatch, reversed(tail)))
    last = next(messages, None)
    return last is not None and last[1].startswith((EXPECTED, UNEXPECTED))


def seconds_compiling(path: str | Path) -> float:
    """How long a job compiled, by its log; 0 if there is none."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return 0.0
    return sum(map(float, SECONDS.findall(text)))
