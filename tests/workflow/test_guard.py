"""One Snakemake at a time for a study, however the last one ended; and whom the config tells."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

DATASET = "results/datasets/digits.h5"
SHARD = "dnn/digits/width-2/seeds-0000.h5"


@pytest.fixture
def start():
    """Start `snakemake ARGUMENTS` in a process group of its own."""
    processes = []

    def run(project, *arguments):
        process = subprocess.Popen(
            project.command(*arguments),
            cwd=project.folder,
            env=project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def refused(project, *arguments):
    """The one line that says why."""
    done = project.run(*arguments)
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    assert "Traceback" not in output
    (line,) = (line for line in output.splitlines() if "is in use by" in line)
    return line


def test_a_second_snakemake_is_refused_and_the_first_loses_nothing(fresh, finished_study, start):
    target = f"results/test/weights/{SHARD}"
    first = start(fresh, target)
    wait_for((fresh.results / ".jobs.json").exists)
    os.killpg(first.pid, signal.SIGSTOP)  # as if it took long

    words = f"is in use by another snakemake (process {first.pid} on "
    assert f"the study test {words}" in refused(fresh, target)
    # another study would prepare the same images
    assert f"the dataset digits {words}" in refused(fresh, DATASET, "--config", "study=other")
    status = fresh.succeed("status")
    assert "0 of 4 runs done" in status
    assert f"\nSnakemake is at work: process {first.pid} on " in status
    assert re.search(r"\nIts jobs: data 0 of 1 done; training 0 of \d+ done", status)
    assert "Study test" in fresh.succeed("plan")

    os.killpg(first.pid, signal.SIGCONT)
    output = first.communicate(timeout=300)[0]
    assert first.returncode == 0, output
    assert fresh.shards() == {SHARD: finished_study.shards()[SHARD]}
    fresh.succeed(DATASET, "--config", "study=other")
    assert not list((fresh.folder / "results").rglob("*.part"))


@pytest.mark.parametrize("kill", [os.killpg, os.kill])  # with its jobs, and it alone
def test_after_a_kill_the_same_command_finishes_the_study(fresh, finished_study, start, kill):
    fresh.study["populations"][0]["widths"] = [2]
    process = start(fresh, "weights", "--cores", "2")
    wait_for(lambda: len(list(fresh.results.rglob("logs/train_runs/**/*.log"))) == 2)
    kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(fresh.shards()) < 2
    fresh.succeed("weights", "--cores", "2")
    shards = finished_study.shards()
    assert fresh.shards() == {name: shards[name] for name in shards if "width-2" in name}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_snakemake_and_its_jobs_in_order(fresh, start, number):
    fresh.study |= {"runs_per_job": 4, "training": {"epochs": 100_000}}
    process = start(fresh, "weights", "--cores", "2")
    wait_for(lambda: len(list(fresh.results.rglob("logs/train_runs/**/*.log"))) == 2)
    jobs = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    told = f"{number.name}: jobs that run are ended. The same command continues the study."
    assert output.count(told) == 1
    assert "Traceback" not in output
    assert jobs
    assert not psutil.wait_procs(jobs, timeout=10)[1]
    assert (fresh.results / ".lock").read_text() == ""


NOTIFY = 'cat > told; echo "$WEIGHTSCAPE_STUDY $WEIGHTSCAPE_OUTCOME" >> told'


def test_notify_tells_the_outcome_and_the_status(fresh):
    fresh.study["notify"] = NOTIFY
    told = fresh.folder / "told"
    fresh.succeed("plan")
    assert not told.exists()  # nothing was done
    fresh.succeed(DATASET)
    *lines, last = told.read_text().splitlines()
    assert "0 of 4 runs done" in "\n".join(lines)
    assert last == "test finished"


def test_notify_tells_of_a_failure_even_where_there_is_no_status(fresh):
    (fresh.folder / "mine.npz").write_bytes(b"no archive")
    fresh.study |= {
        "notify": NOTIFY,
        "datasets": {"mine": {"file": "mine.npz"}},
        "populations": [{"model": "dnn", "dataset": "mine", "widths": [3], "seeds": 1}],
    }
    done = fresh.run("results/datasets/mine.h5")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    reason, last = (fresh.folder / "told").read_text().splitlines()
    assert reason.startswith("mine.npz is not a readable .npz or HDF5 file")
    assert last == "test failed"


def test_a_notify_that_fails_is_one_warning(fresh):
    fresh.study["notify"] = "exit 3"
    output = fresh.succeed(DATASET)
    assert output.count("The notify command failed with exit status 3.") == 1
