"""The status: how far a study's training is, by the files that its jobs leave.

The runs of a shard are done if it was made by the config's recipe, and so are those that a job
keeps until its shard is whole. What remains of a job is told by its log: left before there is one;
failed if the log ends in an error, or if the job has not touched it for SECONDS_TO_SILENCE, as it
was killed, ran out of time or memory or lost its node; else running. A failed job that waits for
another attempt is failed until it starts. One that ended before it could open its log is left.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from weightscape.messages.logs import SECONDS_TO_SILENCE, read_tail, tells_error
from weightscape.messages.terminal import align, format_time
from weightscape.monitor.found import find_shards, tell_replaced
from weightscape.monitor.plan import Cost, estimate_cost
from weightscape.study.paths import on_disk, run_name, seeds_text, unfinished_folder
from weightscape.study.population import Population, populations
from weightscape.study.sections import Config

STATES = ("done", "running", "failed", "left")
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
    """running, failed or left"""
    log: str
    silence: float
    """seconds since it last touched its log"""
    replaced: int = 0
    """runs of its shard that is there by another recipe"""


class Failure(NamedTuple):
    """What is known of a failed job."""

    log: str
    lines: list[str]
    """the log's last"""
    silence: float | None
    """seconds since it last touched its log; None if the log tells the error"""


class Status(NamedTuple):
    rows: list[StatusRow]
    failures: list[Failure]
    """the latest"""
    n_failed: int
    """jobs, with those that are not among `failures`"""


def make_status(config: Config, now: float) -> Status:
    """Of a checked config; `now` is by the clock of the file system."""
    rows: list[StatusRow] = []
    failed: list[UnfinishedJob] = []
    for population in populations(config):
        jobs = list(_find_jobs(config, population, now))
        rows.append(_count(config, population, jobs))
        failed += [job for job in jobs if job.state == "failed"]
    latest = sorted(failed, key=lambda job: job.silence)[:FAILURES_SHOWN]
    return Status(rows, [_explain(job) for job in latest], len(failed))


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
    lines = [_title(config, rows), *align([head, *body], left={0, 1, len(head) - 1})]
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


def _find_jobs(config: Config, population: Population, now: float) -> Iterator[UnfinishedJob]:
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
            state, silence = _read_log(None if is_replaced else logs.get(name), now)
            replaced = len(imported or seeds) if is_replaced else 0
            yield UnfinishedJob(width, runs, state, str(folder / name), silence, replaced)


def logs_folder(rule: str, study: str, model: str, dataset: str, width: str) -> Path:
    return Path("results", study, "logs", rule, model, dataset, f"width-{width}")


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}
    return {}


def _read_log(log: os.DirEntry[str] | None, now: float) -> tuple[str, float]:
    """A job's state, and the seconds since it last touched its log."""
    if log is None:
        return "left", 0.0
    silence = max(0.0, now - log.stat().st_mtime)
    failed = silence > SECONDS_TO_SILENCE or tells_error(read_tail(log.path))
    return "failed" if failed else "running", silence


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


def _explain(job: UnfinishedJob) -> Failure:
    tail = read_tail(job.log)
    return Failure(job.log, tail[-LINES_SHOWN:], None if tells_error(tail) else job.silence)


def _render_failure(failure: Failure) -> Iterator[str]:
    why = (
        ""
        if failure.silence is None
        else f" (its log has not changed for {format_time(failure.silence)})"
    )
    yield f"failed: {failure.log}{why}"
    yield from (f"    {line}" for line in failure.lines)


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
