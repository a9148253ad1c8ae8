"""What a Snakemake knows of its jobs, in a file, for those who ask beside it or after it."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole

SECONDS_BETWEEN_ENTRIES = 5.0


class Known(NamedTuple):
    """What the last Snakemake knew. All times are by its own clock."""

    process: int = 0
    """its number"""
    begun: float = 0.0
    """when its first job was about to start"""
    stages: dict[str, dict[str, int]] = {}
    """stage -> jobs, and how many of them are done and failed"""
    started: dict[str, tuple[float, str]] = {}
    """log of a job that was started or submitted and has not ended -> when, and its stage"""
    failed: dict[str, str] = {}
    """log of a job that failed -> why, where that is known"""


class Journal:
    """Keeps a file like what `ask` tells, until `end`; a few seconds behind."""

    def __init__(self, path: Path, ask: Callable[[], Known]):
        self.path, self.ask = path, ask
        self._ended = threading.Event()
        self._written: Known | None = None
        self._write()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The last entry."""
        self._ended.set()
        self._thread.join(SECONDS_BETWEEN_ENTRIES)  # a signal may have come amid an event of a job
        self._write()

    def _follow(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_ENTRIES):
            self._write()

    def _write(self) -> None:
        known = self.ask()
        if known == self._written:
            return
        with suppress(OSError, WeightscapeError), replace_whole(self.path) as aside:
            aside.write_text(json.dumps(known._asdict()))
            self._written = known


def read_journal(path: Path) -> Known:
    """Nothing where there is no such file, or none that can be read."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return Known(**values)
    except (OSError, ValueError, TypeError):
        return Known()
