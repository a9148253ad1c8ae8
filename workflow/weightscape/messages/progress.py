"""How far a job is: runs done, their rate, and the time left."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TextIO

from weightscape.messages.terminal import OWNED, WIPE, format_time

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOG_LINES = 60.0
SECONDS_ON_TERMINAL = 0.2


class Progress:
    """Tells the log now and then, and a terminal all the time, how far a job's runs are."""

    def __init__(self, what: str, runs: int, terminal: TextIO | None = None, before: int = 0):
        """Of the `runs`, `before` were done by an earlier attempt, and tell nothing of the rate."""
        self.what, self.runs, self.done, self.before = what, runs, before, before
        terminal = sys.stderr if terminal is None else terminal
        self.terminal = terminal if terminal.isatty() and OWNED not in os.environ else None
        self.started = self.logged = self.shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.terminal:
            print(WIPE, end="", file=self.terminal, flush=True)

    def epoch(self, side_by_side: int, epoch: int, epochs: int) -> None:
        """Notes that the runs that train side by side have finished an epoch of theirs."""
        part = self.done + side_by_side * epoch / epochs
        if epoch == epochs:
            self.done += side_by_side
        self._tell(part, f"epoch {epoch} of {epochs}")

    def add(self, runs: int = 1) -> None:
        """Notes that so many more runs are done."""
        self.done += runs
        self._tell(self.done, "")

    def _tell(self, part: float, epoch: str) -> None:
        now = time.monotonic()
        line = self._line(part, epoch, now - self.started)
        if self.terminal and now - self.shown >= SECONDS_ON_TERMINAL:
            self.shown = now
            print(f"{WIPE}{self.what}: {line}", end="", file=self.terminal, flush=True)
        if now - self.logged >= SECONDS_BETWEEN_LOG_LINES or self.done == self.runs:
            self.logged = now
            log.info("%s", line)

    def _line(self, part: float, epoch: str, seconds: float) -> str:
        rate = (part - self.before) / seconds if seconds else 0.0
        parts = [f"{self.done:,} of {self.runs:,} runs"]
        if epoch and self.done < self.runs:
            parts.append(epoch)
        if rate:
            parts.append(f"{rate:.2f} runs/s" if rate >= 1 else f"{1 / rate:.1f} s a run")
            if part < self.runs:
                parts.append(f"about {format_time((self.runs - part) / rate)} left")
        return ", ".join(parts)
