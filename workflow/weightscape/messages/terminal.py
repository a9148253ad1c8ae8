"""A terminal: tables and amounts of time as it shows them, and a line that is written anew."""

import os
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import TextIO

WIPE = "\r\x1b[K"
OWNED = "WEIGHTSCAPE_LINE_IS_OWNED"
"""Set in the environment of jobs whose terminal has a line already: they show none of their own."""


def align(lines: list[list[str]], left: Collection[int]) -> list[str]:
    """Lines of cells in columns: those numbered in `left` flush left, all others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def format_time(seconds: float) -> str:
    """12 min, in the largest unit of which there are at least two."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def can_rewrite(stream: TextIO) -> bool:
    """Whether a line on it can be written anew."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wipe(stream: TextIO) -> None:
    """Take away what stands in the last line, whoever wrote it."""
    if can_rewrite(stream):
        print(WIPE, end="", file=stream, flush=True)


class LiveLine:
    """A stream on which, if it is a terminal, a line stands below all else that is written to it.

    Other processes write to the terminal without knowing of the line. The cursor stands at its
    start, so that they write over it.
    """

    def __init__(self, stream: TextIO):
        self.stream, self.is_live = stream, can_rewrite(stream)
        self._stands, self._is_at_start = False, True
        self._lock = threading.RLock()

    def show(self, line: str) -> None:
        """Put this line in place of the one before, cut to the terminal's width."""
        with self._lock, suppress(OSError):  # a terminal that has gone is no reason to stop
            if self.is_live and self._is_at_start:
                columns = os.get_terminal_size(self.stream.fileno()).columns or sys.maxsize
                self.stream.write(f"{WIPE}{line[: columns - 1]}\r")
                self.stream.flush()
                self._stands = True

    def say(self, line: str) -> None:
        """Write a line that stays."""
        with suppress(OSError):
            self.write(f"{line}\n")
            self.flush()

    def write(self, text: str) -> int:
        with self._lock:
            if self._stands:
                self._stands = False
                self.stream.write(WIPE)
            if text:
                self._is_at_start = text.endswith("\n")
            return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()
