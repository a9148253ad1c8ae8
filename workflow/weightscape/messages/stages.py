"""How far a study is: a line when a stage begins, now and then one while it lasts, one at its end.

On a terminal a line below shows all the time how far the stages are, instead of now and then. The
time left of a stage is told when no earlier one lasts, which would decide it.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import NamedTuple

from weightscape.messages.journal import Known
from weightscape.messages.logs import MESSAGE, STARTED, read_tail, seconds_compiling
from weightscape.messages.terminal import LiveLine, format_time

SECONDS_BETWEEN_LINES = 60.0
SECONDS_ON_TERMINAL = 1.0
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_OF_LONG_JOB = 10.0
COMPILES = "compil"  # in each message on it
QUIETER = 20  # of a study that lasts long, lines on a long job come after this part of its time


class Job(NamedTuple):
    """A job that is to run."""

    stage: str
    runs: int = 0
    """that it trains or imports"""
    cost: float = 1.0
    """beside the other jobs of its stage, in any unit"""


class Stage:
    """Jobs of one kind, and how far they are."""

    def __init__(self, name: str, jobs: Mapping[int, Job]):
        self.name, self.jobs = name, jobs
        self.runs = sum(job.runs for job in jobs.values())
        self.cost = sum(job.cost for job in jobs.values())
        self.jobs_done = self.runs_done = 0
        self.cost_done = 0.0
        self.failed: set[int] = set()
        self.has_begun = False
        self.begun = self.told = self.last = self.left = 0.0
        """when it began, was last told of, and had a job done; the seconds that seemed left then"""
        self.compiling = 0.0
        """seconds of its first jobs, which wait for each other's compiled code"""

    @property
    def is_done(self) -> bool:
        return self.jobs_done == len(self.jobs)

    def begin(self, now: float) -> str:
        """What is to be done."""
        self.has_begun, self.begun, self.told = True, now, now
        jobs = _count(len(self.jobs), "job")
        return self._line(f"{_count(self.runs, 'run')} in {jobs}" if self.runs else jobs)

    def finish(self, number: int, now: float, compiling: float = 0.0) -> None:
        """Of a job that is done for the first time; for `compiling` seconds as no other will."""
        job = self.jobs[number]
        self.compiling = max(self.compiling, compiling)
        self.jobs_done += 1
        self.runs_done += job.runs
        self.cost_done += job.cost
        left = self.cost - self.cost_done
        seconds = max(0.0, now - self.begun - self.compiling)
        self.last, self.left = now, left * seconds / self.cost_done

    def end(self, now: float) -> str:
        """How long it took."""
        return self._line(f"done in {format_time(now - self.begun)}")

    def tell(self, now: float, is_known: bool = True) -> str:
        """How far it is, with the time left once a job is done, if it `is_known`."""
        if self.runs:
            parts = [f"{self.runs_done:,} of {_count(self.runs, 'run')}"]
        else:
            parts = [f"{self.jobs_done:,} of {_count(len(self.jobs), 'job')}"]
        if self.failed:
            parts.append(f"{_count(len(self.failed), 'job')} failed")
        if is_known and (left := self.left - (now - self.last)) >= 1:
            parts.append(f"about {format_time(left)} left")
        return self._line(", ".join(parts))

    def _line(self, text: str) -> str:
        return f"{self.name}: {text}"


class Stages:
    """Tells a stream of the stages of a study, whose jobs are known by number.

    The methods may be called from several threads.
    """

    def __init__(
        self,
        study: str,
        jobs: Mapping[int, Job],
        terminal: LiveLine,
        order: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self.terminal, self.clock, self.jobs = terminal, clock, jobs
        self.study = Stage(f"Study {study}", {number: Job("") for number in jobs})
        by_stage: dict[str, dict[int, Job]] = {name: {} for name in order}
        for number, job in jobs.items():
            by_stage.setdefault(job.stage, {})[number] = job
        self.stages = {name: Stage(name, its) for name, its in by_stage.items() if its}
        self.running: dict[int, tuple[float, str]] = {}
        """since when, and the job's log"""
        self.begun = time.time()
        self.started: dict[str, tuple[float, str]] = {}
        self.failures: dict[str, str] = {}
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._said, self._looked = 0.0, ""
        """when the last line was said, and what was said of a long job"""

    def begin(self) -> None:
        """Say how many jobs there are; from now on lines come by themselves."""
        if self.jobs:
            self._say(self.study.begin(self.clock()))
            threading.Thread(target=self._tick, daemon=True).start()

    def start(self, number: int, log: str = "") -> None:
        """Notes that a job has started, perhaps again."""
        with self._lock:
            if stage := self._find(number):
                self.running[number] = self.clock(), log
                self.started[log] = time.time(), stage.name
                self.failures.pop(log, None)
                stage.failed.discard(number)
                self.study.failed.discard(number)

    def finish(self, number: int) -> None:
        """Notes that a job is done."""
        with self._lock:
            if stage := self._find(number):
                now, log = self.clock(), self._stop(number)
                # the first job's log alone: Snakemake must not wait for a file server at each
                compiling = 0.0 if stage.jobs_done else seconds_compiling(log)
                self.study.finish(number, now, compiling)
                stage.finish(number, now, compiling)
                if stage.is_done:
                    self._say(stage.end(now))
                elif not self.terminal.is_live and now - stage.told >= SECONDS_BETWEEN_LINES:
                    stage.told = now
                    self._say(stage.tell(now, self._is_known(stage)))

    def fail(self, number: int, reason: str = "") -> None:
        """Notes that a job has failed, and of what, where its log may not tell."""
        with self._lock:
            if stage := self._find(number):
                self.failures[self._stop(number)] = reason
                stage.failed.add(number)
                self.study.failed.add(number)

    def know(self) -> Known:
        """All that is known of the jobs."""
        with self._lock:
            stages = {
                name: {"jobs": len(its.jobs), "done": its.jobs_done, "failed": len(its.failed)}
                for name, its in self.stages.items()
            }
            started, failures = dict(self.started), dict(self.failures)
            return Known(os.getpid(), self.begun, stages, started, failures)

    def _stop(self, number: int) -> str:
        """Notes that a job has ended, and tells its log."""
        _, log = self.running.pop(number, (0.0, ""))
        self.started.pop(log, None)
        return log

    def end(self) -> None:
        """Say how long the study took, or how far it and what has begun of it came."""
        self._ended.set()
        with self._lock:
            now = self.clock()
            for stage in self._lasting():
                stage.left = 0.0  # what is left will not be done
                self._say(stage.tell(now))
            if self.jobs:
                study = self.study
                study.left = 0.0
                self._say(study.end(now) if study.is_done else study.tell(now))

    def show(self) -> None:
        """Show on a terminal how far the stages are that have begun."""
        number, message = self._long_job()
        with self._lock:
            if not self._ended.is_set():
                parts = [*self._tell(self.clock(), number), message]
                self.terminal.show("; ".join(filter(None, parts)))

    def look(self) -> None:
        """Say what a job has logged that runs long: that it compiles at once, all else where no
        other line has come for a while."""
        number, message = self._long_job()
        with self._lock:
            now = self.clock()
            lasts = now - self.study.begun
            is_quiet = now - self._said >= max(SECONDS_BETWEEN_LINES, lasts / QUIETER)
            is_new = message != self._looked and not self._ended.is_set()
            if number is not None and is_new and (is_quiet or COMPILES in message):
                self._looked = message
                stage = self.stages[self.jobs[number].stage]
                stage.told = now
                self._say(f"{stage.tell(now, self._is_known(stage, number))}; {message}")

    def _tell(self, now: float, long: int | None) -> Iterator[str]:
        yield f"{self.study.jobs_done:,} of {_count(len(self.jobs), 'job')} done"
        for stage in self._lasting():
            yield stage.tell(now, self._is_known(stage, long))

    def _is_known(self, stage: Stage, long: int | None = None) -> bool:
        """Whether the time left follows from that so far: not where an earlier stage lasts, nor
        where a job runs `long`, in a stage of unlike jobs, and tells its own."""
        is_own = long is not None and self.jobs[long].stage == stage.name
        return stage is next(iter(self._lasting()), stage) and (bool(stage.runs) or not is_own)

    def _say(self, line: str) -> None:
        self._said = self.clock()
        self.terminal.say(line)

    def _lasting(self) -> list[Stage]:
        """Those that have begun and are not done."""
        stages = self.stages.values()
        return [stage for stage in stages if stage.has_begun and not stage.is_done]

    def _long_job(self) -> tuple[int | None, str]:
        """The job that has run longest, if it has run for long, and what it has logged last."""
        with self._lock:
            running = [(begun, number, log) for number, (begun, log) in self.running.items()]
        begun, number, log = min(running, default=(self.clock(), 0, ""))
        # without the lock: Snakemake must not wait for a file server
        is_long = self.clock() - begun >= SECONDS_OF_LONG_JOB
        message = _last_message(log) if is_long else ""
        return (number, f"{_job_name(log)}: {message}") if message else (None, "")

    def _find(self, number: int) -> Stage | None:
        """The stage of a job, which begins with the first that is heard of one."""
        if number not in self.jobs:  # a target, or a question
            return None
        stage = self.stages[self.jobs[number].stage]
        if not stage.has_begun:
            self._say(stage.begin(self.clock()))
        return stage

    def _tick(self) -> None:
        is_live = self.terminal.is_live
        tell, seconds = (
            (self.show, SECONDS_ON_TERMINAL) if is_live else (self.look, SECONDS_BETWEEN_LOOKS)
        )
        tell()
        while not self._ended.wait(seconds):
            tell()


def _last_message(log: str) -> str:
    """Of a job, about its work."""
    with suppress(OSError):
        for match in filter(None, map(MESSAGE.fullmatch, reversed(read_tail(log)))):
            return "" if match[1].startswith(STARTED) else match[1]
    return ""


def _job_name(log: str) -> str:
    """`measure_nulls dnn mnist`, by where its log lies."""
    parts = PurePath(log).with_suffix("").parts
    return " ".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
