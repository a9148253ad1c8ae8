"""The executor over a plugin of planted answers: what it submits, waits for and reports."""

import asyncio
import functools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm  # noqa: F401 - while `which` is on the PATH

from weightscape.monitor import queue
from weightscape.monitor.queue import Ledger, QueuedJob

RULES = Path(__file__).parents[2] / "workflow" / "rules"
FAILED = "sbatch: error: Batch job submission failed: "
COMMENT = "rule_train_runs_wildcards_dnn_0000"


class Output(str):
    __slots__ = ()

    async def exists(self):
        return Path(self).exists()


class Job(SimpleNamespace):
    __hash__ = object.__hash__


class Scheduler:
    """As Snakemake's, as far as it is used."""

    def __init__(self):
        self.keepgoing, self.dropped, self.errors = True, [], []
        self._lock, self._open_jobs = threading.Lock(), threading.Semaphore(0)

    def _handle_error(self, job, postprocess_job):
        assert not postprocess_job
        self.dropped.append(job)

    def executor_error_callback(self, error):
        self.errors.append(error)


class Plugin:
    """As the Slurm plugin's executor; sbatch gives the `answers`."""

    __module__ = "snakemake_executor_plugin_slurm"

    def __init__(self, workflow, folder):
        self.workflow, self.logger = workflow, logging.getLogger("planted")
        self.run_uuid, self.slurm_logdir = "9b2f", folder
        self._job_submission_executor = ThreadPoolExecutor(1)
        self.next_seconds_between_status_checks = 40
        self.answers, self.calls = [], 0
        self.submitted, self.succeeded, self.failed = [], [], {}

    def run_job(self, job):
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        info = SimpleNamespace(job=job, external_jobid=answer, aux={"slurm_logfile": Path("x")})
        if answer.isdecimal():
            self._report_job_submission_threadsafe(info)
        else:
            self._report_job_error_threadsafe(info, answer)

    def _report_job_submission_threadsafe(self, info):
        self.submitted.append(info)

    def _report_job_error_threadsafe(self, info, msg):
        raise AssertionError(msg)

    def report_job_success(self, info):
        self.succeeded.append(info.external_jobid)

    def report_job_error(self, info, msg, aux_logs):
        self.failed[info.external_jobid] = msg

    def get_job_exec_prefix(self, job):
        return ""


@pytest.fixture
def job(tmp_path):
    return Job(
        jobid=1,
        name="train_runs",
        rule=SimpleNamespace(name="train_runs"),
        wildcards=["dnn", "0000"],
        output=[Output(tmp_path / "seeds-0000.h5")],
        log=[str(tmp_path / "seeds-0000.log")],
        resources={"slurm_account": "lab, other", "mem_mb": 800},
        attempt=1,
        restart_times=1,
        is_group=lambda: False,
    )


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """The executor, in whose queue are `there`; it waits for no time."""
    workflow = SimpleNamespace(
        scheduler=Scheduler(),
        modifier=None,
        is_main_process=True,
        execution_settings=SimpleNamespace(latency_wait=60),
        executor_settings=SimpleNamespace(
            init_seconds_before_status_checks=40, keep_successful_logs=False
        ),
    )
    names = {"__name__": "rules", "workflow": workflow, "config": {}}
    for path in (RULES / "adapter.smk", RULES / "submit.smk"):
        exec(compile(path.read_text(), path, "exec"), names)
    executor = Plugin(workflow, tmp_path)
    workflow.scheduler._executor = executor
    names["be_careful"](executor)
    look(executor)  # the plugin's thread does so before there is a job
    assert (executor._names, executor.ledger.left()) == (["9b2f"], [])
    begin = functools.partial(names["begin_submissions"], executor, Ledger({COMMENT}))
    executor.begin_again = functools.partial(begin, ["9b2f"], {"train_runs"})
    executor.begin_again(1000)
    executor.there, executor.waits = [], []
    monkeypatch.setattr(queue, "find_queue", lambda names: executor.there)
    monkeypatch.setattr(type(executor), "_pause", lambda self, s: self.waits.append(s))
    monkeypatch.setenv("PATH", str(tmp_path))  # no sacct, no scancel
    return executor


def queued(number, state, reason="None"):
    return QueuedJob(number, state, reason, "9b2f", "main", COMMENT)


def look(executor, *infos):
    async def collect():
        return [info.external_jobid async for info in executor.check_active_jobs(list(infos))]

    return asyncio.run(collect())


def submit(executor, job, *answers):
    executor.answers = answers
    executor.run_job(job)
    assert executor.workflow.scheduler.errors == []
    return executor.submitted[-1] if executor.submitted else None


def test_a_healthy_submission_is_one_call(executor, job):
    assert submit(executor, job, "7").external_jobid == "7"
    assert (executor.calls, executor.waits) == (1, [])


def test_a_refusal_that_passes_is_tried_at_a_growing_interval(executor, job, caplog):
    refused = [FAILED + "Required partition not available (inactive or drain)"] * 3
    assert submit(executor, job, *refused, "7").external_jobid == "7"
    assert executor.waits == [5, 10, 20]
    assert len(caplog.messages) == 1


def test_a_submission_that_timed_out_is_looked_for_first(executor, job):
    executor.there = [queued("8", "RUNNING")]
    assert submit(executor, job, FAILED + "Socket timed out on send/recv").external_jobid == "8"
    assert executor.calls == 1


def test_a_submission_that_is_not_found_is_made_again_after_two_looks(executor, job):
    assert submit(executor, job, FAILED + "Socket timed out", "7").external_jobid == "7"
    assert executor.waits == [5, executor.SECONDS_TO_SETTLE, executor.SECONDS_TO_SETTLE]


def test_words_that_nobody_knows_end_the_study_after_three_tries(executor, job, caplog):
    assert submit(executor, job, FAILED + "not on a Sunday") is None
    scheduler = executor.workflow.scheduler
    assert (executor.calls, scheduler.dropped, scheduler.keepgoing) == (3, [job], False)
    assert caplog.messages[-1].startswith("Slurm refuses the jobs of train_runs (not on a Sunday)")
    assert job.attempt > job.restart_times  # it is not restarted
    executor.run_job(job)
    assert executor.calls == 3


@pytest.mark.parametrize(
    ("state", "is_there", "verdict"),
    [
        ("RUNNING", False, None),
        ("COMPLETED", False, True),
        ("FAILED", False, False),
        ("TIMEOUT", True, True),  # between the shard and the job's end
        ("", True, True),  # forgotten
        ("", False, None),
        ("PREEMPTED", False, None),
    ],
)
def test_a_job_is_judged_by_its_state_and_its_shard(executor, job, state, is_there, verdict):
    info = submit(executor, job, "7")
    if is_there:
        Path(job.output[0]).touch()
    executor.there = [queued("7", state)] if state else []
    assert look(executor, info) == (["7"] if verdict is None else [])
    assert executor.succeeded == (["7"] if verdict else [])
    assert list(executor.failed) == (["7"] if verdict is False else [])


@pytest.mark.parametrize(
    ("state", "words"), [("", "left Slurm's queue"), ("PREEMPTED", "PREEMPTED"), ("NODE_FAIL", "")]
)
def test_what_does_not_come_back_has_failed(executor, job, monkeypatch, state, words):
    clock = iter([0.0, 50.0, 61.0])
    monkeypatch.setattr(queue, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    info = submit(executor, job, "7")
    executor.there = [queued("7", state)] if state else []
    assert [look(executor, info) for _ in range(3)] == [["7"], ["7"], []]
    assert words in executor.failed["7"]


def test_an_old_shard_is_no_work_of_this_job(executor, job):
    Path(job.output[0]).touch()
    info = submit(executor, job, "7")
    executor.there = [queued("7", "FAILED")]
    assert look(executor, info) == []
    assert list(executor.failed) == ["7"]
    stamp = Path(job.output[0]).stat().st_mtime_ns
    assert executor.get_job_exec_prefix(job) == f"export WEIGHTSCAPE_SHARD_BEFORE={stamp}"


def test_a_silent_queue_ends_nothing_and_looks_grow_rare(executor, job):
    info = submit(executor, job, "7")
    executor.there = None
    paces = []
    for _ in range(7):
        assert look(executor, info) == ["7"]
        paces.append(executor.next_seconds_between_status_checks)
    assert paces == [15, 25, 35, 45, 55, 60, 60]
    executor.there = [queued("7", "COMPLETED")]
    look(executor, info)
    assert executor.next_seconds_between_status_checks == 40


def test_the_account_is_not_looked_up(executor, job):
    assert [*executor.get_account_arg(job)] == [" -A lab"]
    job.resources = {}
    assert [*executor.get_account_arg(job)] == [""]


@pytest.mark.parametrize(("seconds", "first"), [(0.2, 5), (12, 12), (3000, 40)])
def test_the_first_look_comes_when_the_shortest_job_may_have_ended(executor, job, seconds, first):
    executor.begin_again(seconds)
    executor.answers = ["17"]
    executor.run_job(job)
    executor.there = [queued("17", "RUNNING")]
    look(executor)  # at the start there is none
    paces = [executor.next_seconds_between_status_checks]
    for _ in range(8):
        look(executor, *executor.submitted)
        paces.append(executor.next_seconds_between_status_checks)
    assert paces[0] == first
    assert paces == sorted(paces)
    assert paces[-1] == 60
