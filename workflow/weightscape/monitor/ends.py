"""Why a job failed: from Slurm's accounts where there are any, else from what its log says."""

import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from weightscape.errors import WeightscapeError
from weightscape.messages.logs import EXPECTED, read_tail
from weightscape.monitor.slurm import ask

SECONDS_TO_ANSWER = 20  # accounts are worth no long wait
SHARE_OF_MEMORY = 0.95  # that a killed job has used if it was killed for its memory
MISSING = "MISSING"  # in place of a state: Slurm has forgotten the job
_SIZES = {"": 1e-6, "K": 2**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20}  # in MB
# Slurm's own guard tells both numbers; the kernel's tells none
_EXCEEDED = re.compile(r"exceeded memory limit \((\d+) > (\d+)\)")
_KILLED = re.compile(r"oom[-_ ]kill|[Oo]ut [Oo]f [Mm]emory|Exceeded job memory limit")


class End(NamedTuple):
    """How a job ended."""

    state: str
    used_mb: float | None = None
    """the most that a step of it used"""
    asked_mb: float | None = None
    is_out_of_memory: bool = False

    def tell(self) -> str:
        """A few words, as "out of memory, used 421 of 400 MB"."""
        if self.state == MISSING:
            return "left Slurm's queue without its output"
        if not self.is_out_of_memory:
            return self.state
        if self.used_mb is None or self.asked_mb is None:
            return "out of memory"
        return f"out of memory, used {self.used_mb:.0f} of {self.asked_mb:.0f} MB"


def find_ends(states: dict[str, str]) -> dict[str, End]:
    """Number -> end of jobs that failed, from their states in the queue: one look for all."""
    ends = {number: End(state, None, None, _is_memory(state)) for number, state in states.items()}
    if not states or not shutil.which("sacct"):
        return ends
    fields = "--format=JobID,State,MaxRSS,ReqMem,ExitCode"
    options = ("--noheader", "--parsable2", fields, f"--jobs={','.join(states)}")
    try:
        text = ask("sacct", *options, seconds=SECONDS_TO_ANSWER)
    except WeightscapeError:  # no accounting here
        return ends
    return ends | {number: end for number, end in read_ends(text).items() if number in states}


def read_ends(text: str) -> dict[str, End]:
    """Number -> end, from sacct's lines: each job's own, then those of its steps."""
    lines: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if len(fields := line.split("|")) == 5:
            lines.setdefault(re.split(r"[._]", fields[0])[0], []).append(fields)
    return {number: _read_end(fields) for number, fields in lines.items()}


def _read_end(lines: list[list[str]]) -> End:
    _, state, _, asked, _ = lines[0]
    sizes = [size for line in lines if (size := read_size(line[2])) is not None]
    used, limit = max(sizes, default=None), read_size(asked)
    was_killed = any(line[4].endswith(":9") or "CANCELLED" in line[1] for line in lines)
    is_full = bool(used and limit and used > SHARE_OF_MEMORY * limit)
    is_memory = any(_is_memory(line[1]) for line in lines) or (was_killed and is_full)
    return End(state.split()[0] if state else "FAILED", used, limit, is_memory)


def _is_memory(state: str) -> bool:
    return state.startswith("OUT_OF_ME")


def read_size(text: str) -> float | None:
    """Megabytes of 300657K, 100M, 4Gn or 4Gc; None of nothing."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)[nc]?", text.strip())
    return float(match[1]) * _SIZES[match[2]] if match else None


def read_log(end: End, lines: Iterable[str]) -> End:
    """What the last lines of Slurm's log of a job add to how it ended."""
    if end.is_out_of_memory and end.used_mb is not None:
        return end
    text = "\n".join(lines)
    if match := _EXCEEDED.search(text):
        used, limit = (int(number) / 2**20 for number in match.groups())
        return end._replace(used_mb=used, asked_mb=limit, is_out_of_memory=True)
    return end._replace(is_out_of_memory=True) if _KILLED.search(text) else end


def find_end(end: End, log: str) -> End:
    """The same, of a log that may not be there."""
    try:
        return read_log(end, read_tail(log))
    except OSError:
        return end


def note_end(log: str, end: End) -> None:
    """Has the job's own log say how Slurm ended it; a job that failed by itself has said why."""
    if end.state == "FAILED" and not end.is_out_of_memory:
        return
    with suppress(OSError), open(log, "a", encoding="utf-8") as file:
        file.write(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} {EXPECTED}ended by Slurm ({end.tell()})\n"
        )
