"""The status: how far a study is, by the files that Snakemake and its jobs leave.

The runs of a shard are done if it was made by the config's recipe, and so are those that a job
keeps until its shard is whole. What remains of a job is told by its log. It is failed if the log
ends in an error, or if the job has not touched it for SECONDS_TO_SILENCE, as it was killed, ran out
of time or memory or lost its node; else running. A log without a line tells nothing, nor does one
from before the job was started, or from before the Snakemake that is at work now: such a job is
queued if Snakemake has started it, failed if Snakemake knows that, and else left. Once Snakemake
has ended as it should, which ends its jobs, what has not failed is left.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from weightscape.messages.journal import Known, read_journal
from weightscape.messages.logs import SECONDS_TO_SILENCE, read_tail, tells_error
from weightscape.messages.terminal import align, format_time
from weightscape.monitor.found import find_shards, tell_replaced
from weightscape.monitor.locks import Holder, find_holder
from weightscape.monitor.plan import Cost, estimate_cost
from weightscape.monitor.queue import find_queue, tell_stuck
from weightscape.study.paths import (
    journal_file,
    lock_file,
    on_disk,
    run_name,
    seeds_text,
    unfinished_folder,
)
from weightscape.study.population import Population, populations
from weightscape.study.sections import Config

STATES = ("done", "running", "queued", "failed", "left")
FAILURES_SHOWN, LINES_SHOWN = 10, 3


class StatusRow(NamedTuple):
    """The status of one population."""

    model: str
    dataset: str
    runs: dict[str, int]
    """by each of STATES"""
    jobs_running: int
    cpu_seconds: float
    """of all runs that are not done"""
    source: str
    """what cpu_seconds comes from"""
    runs_replaced: int = 0
    """of those left, that are there by another recipe"""


class UnfinishedJob(NamedTuple):
    """A training job whose shard is not there."""

    width: str
    runs: int
    """that the study asks for and the job has not finished"""
    state: str
    """running, queued, failed or left"""
    log: str
    silence: float
    """seconds since it last touched its log; 0 where that tells nothing"""
    replaced: int = 0
    """runs of its shard that is there by another recipe"""


class Failure(NamedTuple):
    """What is known of a failed job."""

    log: str
    lines: list[str]
    """the log's last"""
    silence: float | None
    """seconds since it last touched its log; None if the log tells the error"""
    reason: str = ""
    """that Snakemake was told"""


class Context(NamedTuple):
    """What else a job's log is to be read by."""

    now: float
    heard: Known
    """from the Snakemake that is at work"""
    is_over: bool
    """Snakemake has ended as it should, and so have its jobs"""


class Status(NamedTuple):
    rows: list[StatusRow]
    failures: list[Failure]
    """the latest"""
    n_failed: int
    """jobs, with those that are not among `failures`"""
    holder: Holder | None
    """the Snakemake that is at work, or was and has not ended as it should"""
    known: Known
    """what it knows of its jobs, or the last one knew"""
    stuck: list[str]
    """sentences about its jobs in Slurm's queue that do not start by themselves"""

    @property
    def is_alive(self) -> bool:
        return self.holder is not None and self.holder.is_alive


def make_status(config: Config, now: float) -> Status:
    """Of a checked config; `now` is by the clock of the file system."""
    holder = find_holder(on_disk(config, lock_file(config["study"])), now)
    known = read_journal(on_disk(config, journal_file(config["study"])))
    if holder and known.process != holder.process:
        known = Known()  # one that is about to start has not written it yet
    # of a Snakemake that was killed nothing is known to be queued, and jobs may go on
    heard = known if holder and holder.is_alive else Known(failed=known.failed)
    context = Context(now, heard, is_over=holder is None and known.begun > 0)
    rows: list[StatusRow] = []
    failed: list[UnfinishedJob] = []
    for population in populations(config):
        jobs = list(_find_jobs(config, population, context))
        rows.append(_count(config, population, jobs))
        failed += [job for job in jobs if job.state == "failed"]
    latest = sorted(failed, key=lambda job: job.silence)[:FAILURES_SHOWN]
    failures = [_explain(job, known.failed.get(job.log, "")) for job in latest]
    return Status(rows, failures, len(failed), holder, known, _find_stuck(holder))


def _find_stuck(holder: Holder | None) -> list[str]:
    """None where there is no Slurm, or it does not answer."""
    if holder is None or not holder.queue_name or not shutil.which("squeue"):
        return []
    return list(tell_stuck(find_queue([holder.queue_name]) or []).values())


def render(config: Config, status: Status) -> str:
    """The status as a table for a terminal, and what the failed jobs have logged last."""
    rows = status.rows
    # a job's threads share its CPU seconds; no time can be told while nothing runs
    at_once = sum(row.jobs_running for row in rows) * config["training"]["threads"]
    head = ["model", "dataset", *STATES, "time left", "time left from"]
    body = [
        [
            row.model,
            row.dataset,
            *(f"{row.runs[state]:,}" for state in STATES),
            format_time(row.cpu_seconds / at_once) if at_once and row.source else "",
            row.source if at_once else "",
        ]
        for row in rows
    ]
    lines = [_title(config, rows), *_tell_snakemake(status), *status.stuck]
    lines += align([head, *body], left={0, 1, len(head) - 1})
    if replaced := tell_replaced(sum(row.runs_replaced for row in rows)):
        lines.append(replaced)
    for failure in status.failures:
        lines += ["", *_render_failure(failure)]
    if more := status.n_failed - len(status.failures):
        lines += ["", f"and {_plural(more, 'more failed job', 'more failed jobs')}"]
    return "\n".join(lines)


def _title(config: Config, rows: list[StatusRow]) -> str:
    runs = {state: sum(row.runs[state] for row in rows) for state in STATES}
    n_runs, done = sum(runs.values()), runs.pop("done")
    counts = "".join(f", {count:,} {state}" for state, count in runs.items())
    title = f"Study {config['study']}: {done:,} of {n_runs:,} runs done{counts}"
    jobs = sum(row.jobs_running for row in rows)
    if jobs:
        seconds = sum(row.cpu_seconds for row in rows) / jobs / config["training"]["threads"]
        running = _plural(jobs, "job that runs now", "jobs that run now")
        return f"{title}; about {format_time(seconds)} left with the {running}"
    return title if done == n_runs else f"{title}; no job is running"


def _tell_snakemake(status: Status) -> Iterator[str]:
    """Whether one is at work, and how far its stages are."""
    holder, stages = status.holder, status.known.stages
    if holder is None:
        yield "No Snakemake is at work"
    elif not holder.is_alive:
        yield (
            f"No Snakemake is at work: the last one ({holder}) was killed. Its jobs may still run, "
            "or wait in a queue; the same command continues the study"
        )
    elif holder.silence > SECONDS_TO_SILENCE:
        yield (
            f"Snakemake is suspended, or its host hangs: {holder}, without a sign of life for "
            f"{format_time(holder.silence)}"
        )
    else:
        yield f"Snakemake is at work: {holder}"
    if stages:
        started = _count_started(status.known) if status.is_alive else {}
        parts = [_tell_stage(name, started.get(name, {}) | its) for name, its in stages.items()]
        whose = "Its jobs" if status.is_alive else "Jobs of the last one"
        yield f"{whose}: {'; '.join(parts)}"


def _tell_stage(name: str, counts: dict[str, int]) -> str:
    jobs, done = counts.pop("jobs"), counts.pop("done")
    others = "".join(f", {count:,} {state}" for state, count in counts.items() if count)
    return f"{name} {done:,} of {jobs:,} done{others}"


def _count_started(known: Known) -> dict[str, dict[str, int]]:
    """Stage -> how many of its jobs are running and queued."""
    found: dict[str, dict[str, int]] = {}
    for path, (since, stage) in known.started.items():
        is_running = False
        with suppress(OSError):
            is_running = _has_line(os.stat(path), since)
        counts = found.setdefault(stage, {"running": 0, "queued": 0})
        counts["running" if is_running else "queued"] += 1
    return found


def _find_jobs(config: Config, population: Population, context: Context) -> Iterator[UnfinishedJob]:
    """The jobs of a population whose shards are not there.

    A folder is listed once, since a file server answers for a thousand files as fast as for one.
    """
    for width in population.widths:
        key = config["study"], population.model, population.dataset, width
        # before the shards: a job removes the runs that it has kept when its shard is there
        kept = set(_entries(on_disk(config, unfinished_folder(*key))))
        found = find_shards(config, population, width)
        unmade = [seeds for seeds in found.asked if seeds not in found.done]
        imported = population.imported_seeds.get(width)
        rule = "import_runs" if imported else "train_runs"
        folder = on_disk(config, logs_folder(rule, *key))
        logs = _entries(folder) if unmade else {}
        for seeds in unmade:
            name = f"seeds-{seeds_text(seeds)}.log"
            runs = sum(run_name(seed) not in kept for seed in imported or seeds)
            # a shard goes when the job starts that replaces it: the log is of the one that made it
            is_replaced = seeds in found.otherwise
            path, log = str(folder / name), None if is_replaced else logs.get(name)
            state, silence = _read_log(log, path, context)
            replaced = len(imported or seeds) if is_replaced else 0
            yield UnfinishedJob(width, runs, state, path, silence, replaced)


def logs_folder(rule: str, study: str, model: str, dataset: str, width: str) -> Path:
    return Path("results", study, "logs", rule, model, dataset, f"width-{width}")


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}
    return {}


def _read_log(log: os.DirEntry[str] | None, path: str, context: Context) -> tuple[str, float]:
    """A job's state, and the seconds since it last touched its log."""
    now, heard, is_over = context
    since, _ = heard.started.get(path, (heard.begun, ""))
    if log is None or not _has_line(log.stat(), since):
        if path in heard.started:
            return "queued", 0.0
        return ("failed" if path in heard.failed else "left"), 0.0
    silence = max(0.0, now - log.stat().st_mtime)
    if path in heard.failed or tells_error(read_tail(path)):
        return "failed", silence
    if is_over:
        return "left", 0.0
    return ("failed" if silence > SECONDS_TO_SILENCE else "running"), silence


def _has_line(log: os.stat_result, since: float) -> bool:
    """Whether a log has a line from after a time."""
    return log.st_size > 0 and log.st_mtime >= since


def _count(config: Config, population: Population, jobs: list[UnfinishedJob]) -> StatusRow:
    runs = dict.fromkeys(STATES, 0)
    for job in jobs:
        runs[job.state] += job.runs
    remaining = sum(runs.values())
    runs["done"] = population.n_runs - remaining
    cost = estimate_cost(config, population) if remaining else Cost(0.0, {}, "")
    return StatusRow(
        population.model,
        population.dataset,
        runs,
        jobs_running=sum(job.state == "running" for job in jobs),
        cpu_seconds=sum(cost.job + job.runs * cost.run[job.width] for job in jobs if job.runs),
        source=cost.source,
        runs_replaced=sum(job.replaced for job in jobs),
    )


def _explain(job: UnfinishedJob, reason: str) -> Failure:
    tail = read_tail(job.log) if os.path.exists(job.log) else []
    silence = job.silence if tail and not reason and not tells_error(tail) else None
    return Failure(job.log, tail[-LINES_SHOWN:], silence, reason)


def _render_failure(failure: Failure) -> Iterator[str]:
    why = ""
    if failure.reason:
        why = f" ({' '.join(failure.reason.split())})"
    elif failure.silence is not None:
        silence = format_time(failure.silence)
        why = (
            f" (its log has not changed for {silence}: it was killed, ran out of time or memory, "
            "or lost its node)"
        )
    yield f"failed: {failure.log}{why}"
    yield from (f"    {line}" for line in failure.lines)


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
