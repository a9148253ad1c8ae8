"""What happens when Slurm is not well: nothing is done twice, and nothing is waited for in silence.

Training is pretended, since what is tested is who submits what, and when.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import until

# where the partition is to be another than the profile's
SPOT = ["--default-resources", "slurm_partition=spot", "mem_mb=1500", "runtime=5"]


def test_a_submission_that_timed_out_is_not_made_again(stubs):
    """A frozen controller takes, when it goes on, what its clients have given up."""
    controller = stubs.slurm.daemons["slurmctld"].pid
    stubs.before_submissions(f"mkdir frozen 2>/dev/null && kill -STOP {controller}")
    snakemake = stubs.start("weights")
    until(lambda: "Slurm takes no job for now" in snakemake.text)
    stubs.slurm.thaw_controller()
    output = snakemake.wait()
    stubs.check_trained_once(4)
    assert len(stubs.training()) == 4
    assert "Slurm had taken a job whose submission seemed to fail" in output
    assert "Traceback" not in output
    (log,) = (stubs.folder / ".snakemake/log").glob("*.log")
    numbers = re.findall(r"^Job \d+ (?:has been|is done).* (\d+) \(log: ", log.read_text(), re.M)
    assert sorted(numbers) == sorted(ids(stubs.training()))
    assert "rule train_runs" not in log.read_text()


def test_a_job_that_slurm_took_twice_is_cancelled_once(stubs):
    """Here before it starts: nobody waits for it."""
    sbatch = stubs.slurm.folder / "bin/sbatch"
    stubs.before_submissions(f'mkdir twin 2>/dev/null && {sbatch} --hold "$@" > twin.txt')
    stubs.set_seconds(3)
    output = stubs.start("weights").wait()
    assert "Slurm had taken a job twice" in output
    assert (stubs.folder / "twin.txt").read_text().strip() in ids(stubs.training("CANCELLED"))
    stubs.check_trained_once(4)


def test_a_job_that_slurm_starts_again_removes_no_shard(stubs):
    """As it does with one whose node is lost right after the job has done its work."""
    stubs.use_real_jobs()
    stubs.study["populations"][0]["seeds"] = 2
    stubs.set_seconds(600, "0001")
    snakemake = stubs.start("weights")
    (done,) = until(lambda: stubs.training("COMPLETED"))
    shard = next(stubs.results.glob("weights/**/*.h5"))
    inode = shard.stat().st_ino
    time.sleep(2)  # a node does not start a job again in the second in which it ended
    stubs.slurm.output("scontrol", "requeue", done["id"])
    until(lambda: stubs.start_requeued() or done["id"] in ids(stubs.training("RUNNING")))
    until(lambda: done["id"] in ids(stubs.training("COMPLETED")))
    assert shard.stat().st_ino == inode
    assert len(stubs.trained()["0000"]) == 1
    snakemake.kill()


def ids(jobs):
    return [job["id"] for job in jobs]


def test_a_job_that_slurm_has_forgotten_is_judged_by_its_output(stubs):
    """One has its shard, and one was killed without a trace."""
    stubs.set_seconds(4)
    stubs.slurm.set_memory(2)
    try:
        snakemake = stubs.start("weights", "--latency-wait", "2")
        killed = until(lambda: len(stubs.trained()) == 4 and stubs.training("RUNNING"))[0]
        snakemake.process.send_signal(signal.SIGSTOP)
        stubs.slurm.output("scancel", killed["id"])
        until(lambda: not stubs.jobs())
        snakemake.process.send_signal(signal.SIGCONT)
        stubs.set_seconds(0)
        output = snakemake.wait()
    finally:
        stubs.slurm.set_memory(300)
    assert sorted(map(len, stubs.trained().values())) == [1, 1, 1, 2]
    assert f"Slurm job {killed['id']} failed (CANCELLED)" in output  # by sacct
    assert len(stubs.shards()) == 4


def test_a_refusal_that_passes_is_waited_for(stubs):
    """A drained partition, and then a limit on jobs in the queue."""
    stubs.slurm.output("scontrol", "update", "PartitionName=spot", "State=DRAIN")
    try:
        snakemake = stubs.start("weights", *SPOT, "--slurm-qos", "few", "--retries", "0")
        until(lambda: "Required partition not available" in snakemake.text)
        time.sleep(3)
        assert stubs.submissions() <= 2  # by the two threads that submit
    finally:
        stubs.slurm.output("scontrol", "update", "PartitionName=spot", "State=UP")
    output = snakemake.wait()
    stubs.check_trained_once(4)
    assert output.count("Slurm takes no job for now") == 2
    assert "QOSMaxSubmitJobPerUserLimit" in output
    assert len(output.splitlines()) < 20


def test_the_controller_may_be_away(stubs):
    stubs.set_seconds(5)
    snakemake = stubs.start("weights")
    until(lambda: len(stubs.trained()) == 4)
    stubs.slurm.stop_controller()
    with pytest.raises(subprocess.TimeoutExpired):
        snakemake.process.wait(8)
    stubs.slurm.start_controller()
    snakemake.wait()
    stubs.check_trained_once(4)


def test_without_sacct(stubs):
    """All comes from squeue alone, and at the pace of users."""
    stubs.program = ["-m", "snakemake"]
    folder = stubs.folder / "without"
    shutil.copytree(stubs.slurm.folder / "bin", folder)
    (folder / "sacct").unlink()
    others = stubs.environment["PATH"].split(":")[2:]
    others = [place for place in others if not os.path.exists(f"{place}/sacct")]
    path = ":".join([f"{stubs.folder}/shims", str(folder), *others])
    assert shutil.which("sacct", path=path) is None
    stubs.environment["PATH"] = path
    stubs.succeed("weights")
    stubs.check_trained_once(4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["slurm_account=nobody"], "Invalid account .*set slurm_account in the profile"),
        (["cpus_per_task=9"], "node configuration is not available.*: no node has this: ask for "),
    ],
)
def test_what_slurm_would_refuse_is_told_before_anything_is_submitted(stubs, options, words):
    done = stubs.run("weights", *SPOT, *options)
    assert done.returncode == 1
    told = re.findall("Slurm refuses the jobs of train_runs .*", done.stdout + done.stderr)
    assert len(told) == 1
    assert re.search(words, told[0])
    assert "Traceback" not in done.stderr
    assert not stubs.jobs()


def test_a_refusal_that_stays_ends_the_study_after_one_submission(stubs):
    """What runs already may end."""
    stubs.set_seconds(5)
    stubs.before_submissions(
        'mkdir first 2>/dev/null || { echo "sbatch: error: Batch job submission failed: Invalid '
        'qos specification" >&2; exit 1; }'
    )
    done = stubs.run("weights", "--jobs", "2")
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert output.count("Slurm refuses the jobs of train_runs (Invalid qos specification)") == 1
    assert stubs.submissions() == 2
    assert len(output.splitlines()) < 15
    stubs.check_trained_once(1)


def test_a_job_that_waits_in_vain_is_told(stubs):
    stubs.set_seconds(5)
    stubs.before_submissions('set -- --hold "$@"')
    snakemake = stubs.start("weights")
    until(
        lambda: (
            "4 jobs wait in the queue and does not" in snakemake.text
            or "JobHeldUser" in snakemake.text
        )
    )
    stubs.slurm.output("scontrol", "release", *ids(stubs.training()))
    snakemake.wait()
    stubs.check_trained_once(4)


def test_jobs_of_a_killed_snakemake_go_on(stubs):
    stubs.set_seconds(15)
    first = stubs.start("weights")
    until(lambda: len(stubs.trained()) == 4)
    first.kill()
    output = stubs.start("weights").wait()
    assert "4 jobs that a killed snakemake had left in the queue go on" in output
    assert len(stubs.training()) == 4
    stubs.check_trained_once(4)


@pytest.mark.parametrize(
    ("training", "options"),
    [({"epochs": 3}, []), ({}, SPOT)],
    ids=["another config", "another partition"],
)
def test_jobs_that_would_do_something_else_do_not_go_on(stubs, training, options):
    stubs.set_seconds(60)
    first = stubs.start("weights")
    until(lambda: len(stubs.trained()) == 4)
    first.kill()
    stubs.study["training"] = training
    stubs.set_seconds(0)
    output = stubs.start("weights", *options).wait()
    assert "Cancelled 4 jobs that a killed snakemake had left in the queue" in output
    assert {len(jobs) for jobs in stubs.trained().values()} == {2}


def test_ctrl_c_submits_no_more(stubs):
    """Not even what waits for a limit to pass."""
    stubs.set_seconds(60)
    snakemake = stubs.start("weights", "--slurm-qos", "few")
    until(lambda: "QOSMaxSubmitJobPerUserLimit" in snakemake.text)
    snakemake.process.send_signal(signal.SIGINT)
    assert snakemake.process.wait(60) == 1
    assert {job["state"] for job in stubs.training()} <= {"CANCELLED", "COMPLETING"}
    assert len(stubs.training()) == 2
    assert "Traceback" not in snakemake.text
