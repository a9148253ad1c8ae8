"""The jobs of a study as Slurm's queue has them, and which of them wait in vain."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from weightscape.errors import WeightscapeError
from weightscape.monitor.slurm import ask

SECONDS_TO_CANCEL = 180.0

ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
# Slurm starts such a job again, unless the cluster is told not to: it is ended if it stays so
MAY_RETURN = {"NODE_FAIL", "PREEMPTED"}
SECONDS_TO_RETURN = 60.0

FIELDS = "%i|%T|%r|%j|%P|%k"  # the comment last: it may have anything in it

# why a job waits that does not start however long it waits, by how Slurm's word for it begins, and
# what to do; the first that fits holds
_HELD = "`scontrol release` starts what you hold, and the administrators what they hold"
_LESS = "press Ctrl-C, ask for less or use another slurm_partition, and give the same command"
_STUCK = {
    "JobHeld": _HELD,
    "launch_failed_requeued_held": _HELD,
    "launch failed requeued held": _HELD,
    "PartitionDown": "the partition is down: be patient, or press Ctrl-C and use another",
    "PartitionInactive": "the partition is down: be patient, or press Ctrl-C and use another",
    "PartitionTimeLimit": _LESS,
    "PartitionNodeLimit": _LESS,
    "MaxMemPerLimit": _LESS,
    "BadConstraints": _LESS,
    "DependencyNeverSatisfied": "press Ctrl-C and give the same command",
    "InvalidAccount": "press Ctrl-C, set slurm_account in the profile, and give the same command",
    "InvalidQOS": "press Ctrl-C, set slurm-qos in the profile, and give the same command",
}
# a limit on one job, as QOSMaxWallDurationPerJobLimit, and none on all jobs of a user together
_PER_JOB = ("PerJobLimit", "PerJob", "PerNodeLimit", "PerNode", "MinCPU", "MinGRES", "MinMemory")


class QueuedJob(NamedTuple):
    """A job that Slurm knows, whether or not it has ended."""

    number: str
    state: str
    """PENDING, RUNNING, COMPLETED ..."""
    reason: str
    """why it waits; None where there is no reason"""
    name: str
    """of all jobs of one snakemake"""
    partition: str
    comment: str
    """its rule and wildcards"""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def cure(self) -> str:
        """What to do about a job that waits in vain; nothing if it does not."""
        if self.state != "PENDING":
            return ""
        if self.reason.endswith(_PER_JOB):
            return _LESS
        return next((cure for word, cure in _STUCK.items() if self.reason.startswith(word)), "")


def find_jobs(names: Iterable[str], user: int | None = None) -> list[QueuedJob]:
    """All jobs of these names that Slurm still knows, in the order of their submission.

    A user's own are far quicker to find than all jobs of a large cluster. Raises WeightscapeError
    if Slurm does not answer.
    """
    wanted = ",".join(names)
    if not wanted:  # squeue would list everyone's
        return []
    who = [] if user is None else [f"--user={user}"]
    options = ("--states=all", "--noheader", "--sort=i", f"--format={FIELDS}", f"--name={wanted}")
    return read_jobs(ask("squeue", *who, *options))


def find_queue(names: Iterable[str]) -> list[QueuedJob] | None:
    """The same of the user's own jobs; None if Slurm does not answer."""
    try:
        return find_jobs(names, os.getuid())
    except WeightscapeError:
        return None


def read_jobs(text: str) -> list[QueuedJob]:
    """squeue's lines."""
    lines = (line.split("|", 5) for line in text.splitlines())
    return [QueuedJob(*fields) for fields in lines if len(fields) == 6]


def count_jobs(jobs: Iterable[QueuedJob]) -> dict[tuple[str, str], int]:
    """How many jobs are in each state and, of those that wait, for each reason."""
    reasons = ((job.state, job.reason if job.state == "PENDING" else "") for job in jobs)
    return dict(Counter(reasons))


def tell_stuck(jobs: Iterable[QueuedJob]) -> dict[str, str]:
    """Reason -> one sentence about the jobs that wait for what does not come by itself."""
    stuck = [job for job in jobs if job.cure]
    counts = Counter(job.reason for job in stuck)
    return {
        job.reason: (f"{_count(counts[job.reason])} ({job.reason}; job {job.number}): {job.cure}.")
        for job in reversed(stuck)
    }


def cancel(jobs: Iterable[QueuedJob]) -> int:
    """Cancel these jobs and wait for their end.

    Returns how many had not ended before. Raises WeightscapeError if one does not end.
    """
    wanted = {job.number: job.name for job in jobs if not job.has_ended}
    if not wanted:
        return 0
    ask("scancel", "--quiet", *wanted)  # without it, a job that has just ended is an error
    end = time.monotonic() + SECONDS_TO_CANCEL
    while left := [job.number for job in _not_ended(set(wanted.values())) if job.number in wanted]:
        if time.monotonic() > end:
            raise WeightscapeError(
                f"the jobs {' '.join(left)} of an earlier snakemake were cancelled but still run. "
                "Wait until squeue no longer shows them, then run again"
            )
        time.sleep(1)
    return len(wanted)


def cancel_quickly(which: Iterable[str]) -> None:
    """Cancel jobs by their numbers or by options of scancel, as far as Slurm answers."""
    with suppress(WeightscapeError):
        ask("scancel", "--quiet", *which)


def _not_ended(names: Iterable[str]) -> list[QueuedJob]:
    return [job for job in find_jobs(names) if not job.has_ended]


def _count(n: int) -> str:
    if n == 1:
        return "1 job waits in the queue and does not start by itself"
    return f"{n} jobs wait in the queue and do not start by themselves"


class Ledger:
    """What this snakemake has submitted: so that nothing is submitted twice.

    A submission is known by its comment, which only one job of the study has at a time, and by the
    number that Slurm gave it. It is filled by the threads that submit, and read by the one that
    looks.
    """

    def __init__(self, unique: Iterable[str] = (), left: Iterable[QueuedJob] = ()):
        """`unique` has the comments that one job of the study has alone; `left` what is taken over
        from an earlier snakemake.
        """
        self._lock = threading.Lock()
        self._unique = set(unique)
        self._left = {job.comment: job for job in left}
        self._under_way: Counter[str] = Counter()
        self._numbers: dict[str, str] = {}  # number -> comment
        self._since: dict[str, tuple[str, float]] = {}

    @contextmanager
    def submitting(self, comment: str) -> Iterator[None]:
        """Until it ends, a job of this comment that nobody knows may be what it submits."""
        with self._lock:
            self._under_way[comment] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[comment] -= 1

    def note(self, number: str, comment: str) -> None:
        """A job is in the queue, and known."""
        with self._lock:
            self._numbers[number] = comment

    def take_left(self, comment: str) -> QueuedJob | None:
        """The job of an earlier snakemake that does this work; once."""
        with self._lock:
            return self._left.pop(comment, None)

    def left(self) -> list[str]:
        """Numbers of those that were not yet taken."""
        with self._lock:
            return [job.number for job in self._left.values()]

    def find(self, comment: str, queue: Iterable[QueuedJob]) -> QueuedJob | None:
        """The job that a submission made though it seemed to fail."""
        with self._lock:
            if comment not in self._unique:
                return None
            new = (job for job in queue if job.number not in self._numbers)
            return next((job for job in new if job.comment == comment), None)

    def find_ghosts(self, queue: Iterable[QueuedJob], done: set[str]) -> list[QueuedJob]:
        """Jobs that nobody waits for: another of the same comment does their work.

        One that runs after the work is `done` is none: it finds the work done and ends.
        """
        with self._lock:
            return [
                job
                for job in queue
                if job.number not in self._numbers
                and job.comment in self._unique
                and not self._under_way[job.comment]
                and not job.has_ended
                and not (job.state == "RUNNING" and job.comment in done)
            ]

    def seconds(self, number: str, what: str) -> float:
        """For how long this has been so of a job, by the looks that found it so."""
        now = time.monotonic()
        known, since = self._since.get(number, ("", now))
        if known != what:
            since = now
        self._since[number] = what, since
        return now - since

    def forget(self, number: str) -> None:
        """All is well with it."""
        self._since.pop(number, None)
