"""What happens when things die: the same command completes the study, and little is done twice.

Every shard has the bytes of one that nothing happened to, whatever was killed while it was made.
"""

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import ONE_JOB, SHARD, ClusterProject, until
from slurm import NODES


def training_process(job: dict[str, str]) -> int:
    """The process that trains the runs of a job."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
            is_script = any(part.endswith(b".train_runs.py") for part in line)
            if is_script and f"SLURM_JOB_ID={job['id']}".encode() in environment:
                return int(process.name)
    raise AssertionError(f"no process trains for the job {job}")


def seeds_of(job: dict[str, str]) -> range:
    first, last = re.search(r"_(\d+)-(\d+)$", job["comment"]).groups()
    return range(int(first), int(last) + 1)


def with_a_finished_run(project: ClusterProject) -> list[dict[str, str]]:
    """Training jobs that run and have at least one run finished, and at least one not."""
    done = project.finished()
    return [
        job
        for job in project.training("RUNNING")
        if 0 < len(done.intersection(seeds_of(job))) < len(seeds_of(job)) - 1
    ]


def next_with_a_finished_run(project: ClusterProject, *taken: dict[str, str]) -> dict[str, str]:
    """One such job, as soon as there is one that trains other runs than those taken."""
    seeds = [seeds_of(job) for job in taken]
    jobs = until(lambda: [j for j in with_a_finished_run(project) if seeds_of(j) not in seeds])
    return jobs[0]


def resumed(log: str) -> int:
    """Runs that an attempt found finished by an earlier one."""
    match = re.search(r"(\d+) of \d+ runs were finished by an earlier attempt", log)
    return int(match[1]) if match else 0


def resumed_runs(project: ClusterProject) -> int:
    """The same of all last attempts together."""
    return sum(resumed(path.read_text()) for path in project.results.glob("logs/**/seeds-*.log"))


def test_a_killed_a_cancelled_and_a_late_job_go_on_where_they_were(project, undisturbed):
    snakemake = project.start("weights")
    jobs = []
    while len(jobs) < 3:  # each stands still at once, or it would end while others are looked for
        jobs.append(next_with_a_finished_run(project, *jobs))
        os.kill(training_process(jobs[-1]), signal.SIGSTOP)
    late, killed, cancelled = jobs
    project.slurm.output("scontrol", "update", f"jobid={late['id']}", "EndTime=now")
    os.kill(training_process(killed), signal.SIGKILL)
    project.slurm.output("scancel", cancelled["id"])
    snakemake.wait()
    assert project.shards() == undisturbed
    assert not project.finished()
    ends = {job["id"]: job["state"] for job in project.training()}
    assert ends.pop(killed["id"]) == "FAILED"
    assert ends.pop(cancelled["id"]) == "CANCELLED"
    assert ends.pop(late["id"]) == "TIMEOUT"
    assert list(ends.values()) == ["COMPLETED"] * 3
    for job in (killed, cancelled, late):
        assert resumed(project.log(job)) >= 1
    again = next(
        job
        for job in project.training()
        if job["comment"] == late["comment"] and job["id"] != late["id"]
    )
    assert again["minutes"] == "20:00"  # twice the first attempt's


def test_a_job_out_of_memory_is_given_more(project, undisturbed):
    plan = project.folder / "workflow/weightscape/monitor/plan.py"
    before = "BASE_MEMORY_MB, TORCH_MEMORY_MB, CUDA_MEMORY_MB = 700, 1200"
    assert before in plan.read_text()
    plan.write_text(plan.read_text().replace(before, before.replace("1200", "150")))
    output = project.succeed(ONE_JOB)
    first, second = project.training()
    assert (first["state"], second["state"]) == ("FAILED", "COMPLETED")
    assert re.search(r"failed \(out of memory, used \d+ of 151 MB\)", output)
    assert re.search(r"0000-0003: out of memory, used \d+ of 151 MB, asks 302 MB now", output)
    assert (first["memory"], second["memory"]) == ("151M", "302M")
    assert project.shards() == {SHARD: undisturbed[SHARD]}


def test_jobs_of_a_node_that_goes_down_go_on_elsewhere(project, undisturbed):
    """Slurm starts them again by itself, and Snakemake does not start them a second time."""
    snakemake = project.start("weights")
    job = next_with_a_finished_run(project)
    try:
        project.slurm.kill_node(job["node"])
        snakemake.wait(project.start_requeued)
    finally:
        project.slurm.start_node(job["node"])
    assert project.shards() == undisturbed
    assert len(project.training()) == 3
    assert resumed(project.log(job)) >= 1
    project.slurm.wait_for(
        "the node to be back", lambda: project.slurm.states() == dict.fromkeys(NODES, "idle")
    )


def test_a_preempted_job_goes_on_where_it_was(project, undisturbed):
    snakemake = project.start(
        "weights", "--default-resources", "slurm_partition=spot", "mem_mb=1500", "runtime=10"
    )
    job = next_with_a_finished_run(project)
    urgent = [
        "sbatch",
        "--partition=main",
        f"--nodelist={job['node']}",
        "--exclusive",
        "--mem=0",
        f"--chdir={project.folder.parent}",
        "--wrap",
        "sleep 1",
    ]
    project.slurm.output(*urgent)
    snakemake.wait(project.start_requeued)
    assert project.shards() == undisturbed
    assert len(project.training()) == 3
    assert resumed(project.log(job)) >= 1


def test_the_end_of_its_terminal_ends_snakemake_and_leaves_its_jobs(project):
    project.study["training"] = {"epochs": 100_000}  # longer than this test
    snakemake = project.start("weights")
    (job, *_) = until(lambda: project.training("RUNNING"))
    snakemake.process.send_signal(signal.SIGHUP)
    assert snakemake.process.wait(60) == 128 + signal.SIGHUP
    assert "SIGHUP: Snakemake ends, and its jobs stay in the queue or go on." in snakemake.text
    # for the next one, which takes care of them
    assert job["name"] in (project.results / ".lock").read_text()
    status = project.succeed("status")
    assert "No Snakemake is at work: the last one (process " in status
    # not before it is sure that others can be submitted
    nowhere = ["--default-resources", "slurm_partition=nowhere", "mem_mb=1500", "runtime=5"]
    assert project.run("weights", *nowhere).returncode == 1
    assert {left["state"] for left in project.training()} <= {"RUNNING", "PENDING"}


def test_a_full_disk_loses_no_finished_run(project, undisturbed):
    if os.getuid():
        pytest.skip("only root can make the small disk that this test fills")
    disk = project.results / "unfinished"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        done = project.run("weights", "--retries", "0")
        assert done.returncode == 1
        assert "the disk or your quota is full" in done.stdout + done.stderr
        kept = project.finished()
        assert kept
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        project.succeed("weights")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    assert project.shards() == undisturbed
    assert resumed_runs(project) == len(kept)


def test_files_may_come_late(project, undisturbed):
    """A network file system shows the shard seconds after Slurm says that its job has ended."""
    folder = project.results / "weights/dnn/digits/width-30"
    project.slurm.set_epilog(
        f"find {folder} -name 'seeds-*.h5' -newermt '30 seconds ago' | while read -r shard; do "
        'mv "$shard" "$shard.late"; setsid sh -c "sleep 7; mv $shard.late $shard" '
        "</dev/null >/dev/null 2>&1 & done; sleep 0.5"
    )
    output = project.start(ONE_JOB).wait()
    assert "Waiting at most 60 seconds for missing files" in output
    assert project.shards() == {SHARD: undisturbed[SHARD]}
    assert {job["state"] for job in project.training()} == {"COMPLETED"}
