"""The status of a study, against files that jobs leave, planted with their dates."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

from weightscape import study
from weightscape.errors import WeightscapeError
from weightscape.messages.logs import job_log
from weightscape.monitor import plan
from weightscape.monitor.locks import hold
from weightscape.monitor.status import make_status, render
from weightscape.study.config import check

NOW = 1_800_000_000
SILENT = 12 * 60
WHY = ": it was killed, ran out of time or memory, or lost its node"
ERROR = "2026-11-25 02:30:11 error: results/datasets/digits.h5 is damaged\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(small):
    """Seven runs of width 4."""
    small["populations"][0] |= {"widths": [4], "seeds": 7}
    return check(small)


def plant(kind, name, age=0, text=""):
    path = Path("results/small", kind, "dnn/digits/width-4", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))
    return str(path)


def plant_log(seeds, age, text="2026-11-25 02:30:11 1 of 50 runs\n"):
    return plant("logs/train_runs", f"seeds-{seeds}.log", age, text)


def count(**runs):
    """Runs in all states."""
    return dict.fromkeys(("done", "running", "queued", "failed", "left"), 0) | runs


def counts_of(config):
    (row,) = make_status(config, NOW).rows
    return row.runs


def shown(config):
    return render(config, make_status(config, NOW))


def test_every_run_of_a_fresh_study_is_left(config):
    assert counts_of(config) == count(left=7)
    title, _, head, row = shown(config).splitlines()
    assert (
        title
        == "Study small: 0 of 7 runs done, 0 running, 0 queued, 0 failed, 7 left; no job is running"
    )
    assert re.split("  +", head) == [
        "model",
        "dataset",
        "done",
        "running",
        "queued",
        "failed",
        "left",
        "time left",
        "time left from",
    ]
    assert row.split() == ["dnn", "digits", "0", "0", "0", "0", "7"]


def test_a_run_is_in_the_state_that_its_files_tell(config):
    plant("weights", "seeds-0000.h5")
    plant("weights", "seeds-0001.h5")
    plant_log("0001", SILENT, ERROR)  # of an attempt before the shard
    plant("weights", ".seeds-0002.h5.host-1.part")
    plant_log("0002", 20)
    plant_log("0003", 170)
    of_error = plant_log("0004", 20, ERROR)
    silent = plant_log("0005", SILENT)
    assert counts_of(config) == count(done=2, running=2, failed=2, left=1)
    status = make_status(config, NOW)
    assert [(f.log, f.silence) for f in status.failures] == [(of_error, None), (silent, SILENT)]
    assert status.n_failed == 2


def test_a_job_is_silent_after_three_minutes(config):
    plant_log("0000", 179)
    plant_log("0001", 181)
    assert counts_of(config) == count(running=1, failed=1, left=5)


def test_a_log_dated_after_now_is_of_a_running_job(config):
    plant_log("0000", -30)
    assert counts_of(config)["running"] == 1


def test_an_empty_log_tells_nothing(config):
    plant_log("0000", 0, "")
    plant_log("0001", SILENT, "")
    assert counts_of(config) == count(left=7)


@pytest.mark.parametrize("error", [WeightscapeError("x.h5 is damaged"), ZeroDivisionError("x")])
def test_a_log_as_jobs_write_it_tells_its_error(config, error):
    path = plant_log("0000", 0)
    with pytest.raises((SystemExit, ZeroDivisionError)), job_log(path):
        raise error
    os.utime(path, (NOW, NOW))
    assert counts_of(config)["failed"] == 1
    failure = shown(config).split("\n\n")[1]
    assert failure.startswith(f"failed: {path}\n")
    assert str(error) in failure


def test_only_an_error_at_the_end_of_a_log_counts(config):
    plant_log("0000", 0, ERROR + "2026-11-25 02:30:12 seed 0: an error: of 3 %\n")
    assert counts_of(config)["running"] == 1


def test_of_a_long_log_the_end_counts(config):
    lines = "2026-11-25 02:30:11 seed 1: é\n" * 50_000
    plant_log("0000", 0, ERROR + lines)
    plant_log("0001", 0, lines + ERROR)
    assert counts_of(config) == count(running=1, failed=1, left=5)


def test_a_log_of_any_bytes_can_be_shown(config):
    path = Path(plant_log("0000", 0))
    path.write_bytes(b"\xff\xfe\x00\n\n  \none\ntwo\nthree")
    os.utime(path, (NOW - SILENT,) * 2)
    assert shown(config).endswith(
        f"(its log has not changed for 12 min{WHY})\n    one\n    two\n    three"
    )


# many runs a job


@pytest.fixture
def fifties(small):
    """120 runs in jobs of 50."""
    small["populations"][0] |= {"widths": [4], "seeds": 120}
    return check(small | {"runs_per_job": 50})


def test_runs_that_a_job_keeps_are_done(fifties):
    for seed in (*range(30), *range(50, 60)):
        plant("unfinished", f"seed-{seed:04d}.h5")
    plant("unfinished", ".seed-0030.h5.host-1.part")
    assert counts_of(fifties) == count(done=40, left=80)
    plant_log("0000-0049", 5)
    plant_log("0050-0099", SILENT)
    assert counts_of(fifties) == count(done=40, running=20, failed=40, left=20)


def test_a_job_that_fails_at_its_shard_is_told_though_all_its_runs_are_done(fifties):
    for seed in range(120):
        plant("unfinished", f"seed-{seed:04d}.h5")
    path = plant_log("0000-0049", 5, ERROR)
    assert counts_of(fifties) == count(done=120)
    assert f"failed: {path}" in shown(fifties)


def test_a_shard_that_stands_beside_kept_runs_counts_once(fifties):
    plant("unfinished", "seed-0007.h5")
    plant("weights", "seeds-0000-0049.h5")
    assert counts_of(fifties)["done"] == 50


def test_runs_that_are_not_asked_for_do_not_count(config):
    plant("weights", "seeds-0003-0052.h5")
    plant("unfinished", "seed-0060.h5")
    assert counts_of(config) == count(done=4, left=3)


def test_a_finished_study_has_no_time_left(config):
    plant("weights", "seeds-0000-0006.h5")
    title, _, _, row = shown(config).splitlines()
    assert title == "Study small: 7 of 7 runs done, 0 running, 0 queued, 0 failed, 0 left"
    assert row.split() == ["dnn", "digits", "7", "0", "0", "0", "0"]


def test_a_study_of_no_runs(config):
    config["populations"][0]["seeds"] = 0
    assert shown(config).startswith(
        "Study small: 0 of 0 runs done, 0 running, 0 queued, 0 failed, 0 left\n"
    )


# time left


def test_time_left_is_that_of_all_runs_not_done_on_the_jobs_that_run(fifties):
    plant("weights", "seeds-0000-0049.h5")
    plant("unfinished", "seed-0050.h5")
    plant_log("0050-0099", 5)
    plant_log("0100-0119", 5)
    (row,) = make_status(fifties, NOW).rows
    jobs = [plan.training_seconds(fifties, "dnn", "digits", "4", n) for n in (49, 20)]
    assert row.cpu_seconds == pytest.approx(sum(jobs))
    assert row.source == "assumptions"
    assert f"; about {sum(jobs) / 2:.0f} s left with the 2 jobs that run now\n" in shown(fifties)
    fifties["training"]["threads"] = 2
    assert f"; about {sum(jobs) / 4:.0f} s left with the 2 jobs that run now\n" in shown(fifties)


def test_time_left_is_by_benchmark_records(config):
    recipe = study.recipe(config, study.find_population(config, "dnn", "digits"))
    one = plan.training_seconds(config, "dnn", "digits", "4", 1)
    record = {"s": 600, "threads": 1, "params": {"recipe": json.dumps(recipe)}}
    for seed in range(3):
        plant("weights", f"seeds-000{seed}.h5")
        plant("benchmarks/train_runs", f"seeds-000{seed}.jsonl", text=json.dumps(record))
    plant_log("0003", 5)
    (row,) = make_status(config, NOW).rows
    assert one < 60
    assert row.cpu_seconds == pytest.approx(4 * 600)
    title, _, _, row = shown(config).splitlines()
    assert title.endswith("; about 40 min left with the 1 job that runs now")
    assert row.endswith("40 min  3 benchmark records")


def test_populations_share_the_time_left(small):
    small["populations"].append(
        {"model": "cnn", "dataset": "digits", "widths": [4], "seeds": 2000},
    )
    config = check(small)
    plant_log("0000", 5)
    dnn, cnn = make_status(config, NOW).rows
    assert (dnn.jobs_running, cnn.jobs_running) == (1, 0)
    assert cnn.cpu_seconds > 100 * dnn.cpu_seconds > 0
    title, _, _, of_dnn, of_cnn = shown(config).splitlines()
    assert title.startswith(
        "Study small: 0 of 2,006 runs done, 1 running, 0 queued, 0 failed, 2,005 left;"
    )
    assert re.search(r" 5  +\d+ s  assumptions$", of_dnn)
    assert re.search(r" 2,000  +\d+ (min|h)  assumptions$", of_cnn)


# failed jobs


def test_the_latest_failed_jobs_are_shown_with_their_last_lines(config):
    config["populations"][0]["seeds"] = 30
    for seed in range(12):
        text = "".join(f"2026-11-25 02:30:11 line {n} of {seed}\n" for n in range(5))
        plant_log(f"{seed:04d}", SILENT + 60 * seed, text)
    table, *failures, more = shown(config).split("\n\n")
    assert ", 12 failed, 18 left; no job is running" in table
    assert more == "and 2 more failed jobs"
    assert len(failures) == 10
    assert failures[3].splitlines() == [
        "failed: results/small/logs/train_runs/dnn/digits/width-4/seeds-0003.log "
        f"(its log has not changed for 15 min{WHY})",
        *(f"    2026-11-25 02:30:11 line {n} of 3" for n in (2, 3, 4)),
    ]


def test_an_import_is_counted_by_width(zoo):
    table = "file,width,seed,train_accuracy,test_accuracy\n"
    rows = ["a,4,9,90,80", "b,4,2,90,80", "c,8,0,90,80", "d,16,0,90,80", "e,32,0,90,80"]
    config = check(zoo(table, rows))
    shard = Path("results/zoo/weights/mine/pets/width-4/seeds-0002-0009.h5")
    logs = [
        Path(f"results/zoo/logs/import_runs/mine/pets/width-{w}/seeds-0000.log") for w in (8, 16)
    ]
    for path in (shard, *logs):
        path.parent.mkdir(parents=True)
        path.write_text("2026-11-25 02:30:11 process 7 on n1\n")
        os.utime(path, (NOW, NOW))
    logs[1].write_text(ERROR)
    os.utime(logs[1], (NOW, NOW))
    assert counts_of(config) == count(done=2, running=1, failed=1, left=1)
    assert f"failed: {logs[1]}" in shown(config)


# the Snakemake that is at work, and what it knows of its jobs

BEGUN = NOW - 1000
FOLDER = "results/small/logs/train_runs/dnn/digits/width-4"


def plant_lock(age, host="elsewhere"):
    line = {"host": host, "process": 7, "started": "1", "since": "2026-11-25 02:30:11"}
    path = Path("results/small/.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(line | {"queue_name": "9b2f"}))
    os.utime(path, (NOW - age,) * 2)


def plant_journal(started=(), failed=(), stages=(), process=7):
    path = Path("results/small/.jobs.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {
        "process": process,
        "begun": BEGUN,
        "stages": dict(stages),
        "started": {
            f"{FOLDER}/seeds-{seeds}.log": (when, "training")
            for seeds, when in dict(started).items()
        },
        "failed": {f"{FOLDER}/seeds-{seeds}.log": why for seeds, why in dict(failed).items()},
    }
    path.write_text(json.dumps(known))


def test_jobs_that_were_submitted_and_have_not_begun_are_queued(config):
    plant_lock(age=20)
    plant_journal(started={"0000": NOW - 50, "0001": NOW - 50, "0002": NOW - 50, "0003": NOW - 50})
    plant_log("0001", 20, "")
    plant_log("0002", 60, ERROR)  # of the attempt before
    plant_log("0003", 20)
    assert counts_of(config) == count(queued=3, running=1, left=3)
    plant_journal(
        started=dict.fromkeys(("0000", "0001", "0002", "0003"), NOW - 50),
        stages={"training": {"jobs": 7, "done": 0, "failed": 2}},
    )
    jobs = "training 0 of 7 done, 1 running, 3 queued, 2 failed"
    assert f"\nIts jobs: {jobs}\n" in shown(config)


def test_a_log_of_an_earlier_snakemake_tells_nothing_of_the_job_that_is_to_come(config):
    plant_log("0000", 1200, ERROR)
    plant_log("0001", 900, ERROR)
    assert counts_of(config) == count(failed=2, left=5)
    plant_journal()
    plant_lock(age=20)
    assert counts_of(config) == count(failed=1, left=6)


def test_a_job_that_could_not_be_submitted_is_failed_and_told_with_its_reason(config):
    plant_journal(failed={"0000": "sbatch: error:\n Invalid account"})
    for _ in range(2):  # with a Snakemake, and without one
        assert counts_of(config) == count(failed=1, left=6)
        (failure,) = shown(config).split("\n\n")[1:]
        assert failure == f"failed: {FOLDER}/seeds-0000.log (sbatch: error: Invalid account)"
        plant_lock(age=20)


def test_nothing_is_queued_and_no_time_told_after_snakemake_has_ended(config):
    plant_journal(started={"0000": NOW - 50, "0001": NOW - 50})
    plant_log("0000", 20, "")
    assert counts_of(config) == count(left=7)
    assert "; no job is running\nNo Snakemake is at work\n" in shown(config)


def test_after_an_end_in_order_no_job_runs_and_failed_is_what_failed(config):
    plant_journal(started={"0000": NOW - 50}, failed={"0001": "TIMEOUT"})
    plant_log("0000", 20)  # cancelled
    plant_log("0001", 20)
    plant_log("0002", SILENT, ERROR)  # of a Snakemake before
    plant_log("0003", SILENT)
    assert counts_of(config) == count(failed=2, left=5)
    plant_lock(age=SILENT)  # it was killed: its jobs may go on
    assert counts_of(config) == count(running=1, failed=3, left=3)


def test_what_the_snakemake_before_knew_is_not_said_of_the_next(config):
    plant_lock(age=20)
    stages = {"training": {"jobs": 7, "done": 5, "failed": 0}}
    plant_journal(started={"0000": NOW - 50}, stages=stages, process=6)
    assert counts_of(config) == count(left=7)
    assert "Its jobs" not in shown(config)


def test_a_reason_is_told_in_place_of_silence(config):
    plant_lock(age=20)
    plant_log("0000", SILENT)
    plant_journal(failed={"0000": "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'"})
    assert counts_of(config) == count(failed=1, left=6)
    assert "seeds-0000.log (SLURM-job '7' failed, SLURM status is: 'TIMEOUT')\n" in shown(config)


@pytest.mark.parametrize(
    ("age", "host", "told"),
    [
        (20, "elsewhere", "Snakemake is at work: "),
        (SILENT, "elsewhere", "No Snakemake is at work: the last one ("),
        (20, socket.gethostname(), "No Snakemake is at work: the last one ("),
    ],
)
def test_the_snakemake_is_told_with_host_and_since_when(config, age, host, told):
    plant_lock(age, host)
    (line,) = (line for line in shown(config).splitlines() if "Snakemake is" in line)
    assert line.startswith(f"{told}process 7 on {host}, since 2026-11-25 02:30:11")


def test_a_snakemake_of_this_host_that_gives_no_sign_of_life_is_suspended(config):
    lock = hold(Path("results/small/.lock"), "the study small")
    os.utime("results/small/.lock", (NOW - SILENT,) * 2)
    assert "\nSnakemake is suspended, or its host hangs: process" in shown(config)
    assert ", without a sign of life for 12 min\n" in shown(config)
    lock.release()


def test_all_stages_are_told(config):
    stages = {
        "training": {"jobs": 7, "done": 7, "failed": 0},
        "figures": {"jobs": 1200, "done": 4, "failed": 2},
    }
    plant_journal(stages=stages)
    how_far = "training 7 of 7 done; figures 4 of 1,200 done, 2 failed\n"
    assert f"\nJobs of the last one: {how_far}" in shown(config)
    plant_lock(age=20)
    assert f"\nIts jobs: {how_far}" in shown(config)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"begun": 1, "other": 2}'])
def test_a_journal_that_can_t_be_read_tells_nothing(config, text):
    plant_journal()
    Path("results/small/.jobs.json").write_text(text)
    assert counts_of(config) == count(left=7)


def test_compiling_is_no_part_of_the_time_left(config):
    recipe = study.recipe(config, study.find_population(config, "dnn", "digits"))
    record = {"s": 630, "threads": 1, "params": {"recipe": json.dumps(recipe)}}
    plant("weights", "seeds-0000.h5")
    plant("benchmarks/train_runs", "seeds-0000.jsonl", text=json.dumps(record))
    plant_log("0000", 20, "2026-11-25 02:30:11 compiled code was there after 30.0 s\n")
    (row,) = make_status(config, NOW).rows
    assert row.cpu_seconds == pytest.approx(6 * 600)


def test_jobs_that_wait_in_vain_are_told_as_slurm_has_them(config, plant):
    plant_lock(age=20)
    plant(
        "squeue",
        "case \"$*\" in *--name=9b2f*) echo '12|PENDING|JobHeldUser|9b2f|main|rule_train_runs';"
        " echo '13|PENDING|Priority|9b2f|main|rule_train_runs';; esac",
    )
    told = shown(config)
    assert "\n1 job waits in the queue and does not start by itself (JobHeldUser; job 12): " in told
    plant("squeue", "exit 1")
    assert "JobHeld" not in shown(config)


def test_without_slurm_no_queue_is_asked(config, monkeypatch):
    plant_lock(age=20)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Snakemake is at work: process 7 on elsewhere" in shown(config)
