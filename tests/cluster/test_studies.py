"""Whole studies on Slurm, and what the profiles and the checks before submission do."""

import csv
import json
import shutil

import pytest
import yaml

from conftest import ONE_JOB, SHARD
from project import ROOT
from slurm import NODES

FEW_EPOCHS = {"epochs": 20}


def test_a_whole_study_on_all_nodes(project):
    """Every rule but those that join tables as a job."""
    shutil.rmtree(project.folder / "results")
    project.study = yaml.safe_load((ROOT / "config" / "test.yaml").read_text())
    project.study["runs_per_job"] = 2
    project.succeed()
    assert project.planned() == {}
    jobs = project.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert {job["node"] for job in jobs} == set(NODES)
    for name in ("density-dnn-digits.png", "projection-dnn-digits.svg"):
        assert (project.results / "figures" / name).stat().st_size
    with (project.results / "tables" / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_a_study_of_200_runs_and_what_is_told_at_its_end(project):
    project.study["populations"][0] |= {"widths": [5, 10, 20, 40], "seeds": 50}
    project.study |= {"runs_per_job": 25, "training": FEW_EPOCHS}
    project.study["notify"] = 'cat > "$WEIGHTSCAPE_STUDY-$WEIGHTSCAPE_OUTCOME.txt"'
    project.succeed(
        "results/cluster/tables/runs.csv",
        "--slurm-efficiency-report",
        "--slurm-efficiency-report-path",
        "efficiency",
    )
    with (project.results / "tables" / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 200
    jobs = project.training()
    assert len(jobs) == 8
    assert {job["node"] for job in jobs} == set(NODES)
    told = (project.folder / "cluster-finished.txt").read_text()
    assert "200 of 200 runs done" in told
    records = [
        json.loads(path.read_text().splitlines()[-1])
        for path in project.results.glob("benchmarks/train_runs/**/*.jsonl")
    ]
    assert len(records) == 8
    with next(project.folder.glob("efficiency/*.csv")).open() as file:
        rows = list(csv.DictReader(file))
    rules = [row["RuleName"] for row in rows]
    assert sum("train_runs" in rule for rule in rules) == 8
    assert all(0 < float(row["Memory Usage (%)"]) < 100 for row in rows)


@pytest.mark.parametrize(
    ("partition", "reason"),
    [
        ("short", "train_runs asks for 10 minutes, but the partition short allows 5"),
        ("nowhere", "the cluster has no partition nowhere"),
    ],
)
def test_what_would_wait_for_ever_is_refused(project, partition, reason):
    done = project.run(
        "weights", "--default-resources", f"slurm_partition={partition}", "mem_mb=1500", "runtime=5"
    )
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert not project.jobs()


def test_a_second_attempt_asks_for_no_more_than_the_partition_gives(project):
    """The plan's ten minutes and 1,201 MB twice would be over its limits."""
    limits = ["MaxTime=12", "MaxMemPerNode=1500"]
    project.slurm.output("scontrol", "update", "PartitionName=short", *limits)
    (project.folder / "results/datasets/digits.h5").write_bytes(b"no images")
    try:
        done = project.run(
            ONE_JOB, "--default-resources", "slurm_partition=short", "mem_mb=1500", "runtime=5"
        )
    finally:
        limits = ["MaxTime=5", "MaxMemPerNode=16000"]
        project.slurm.output("scontrol", "update", "PartitionName=short", *limits)
    assert done.returncode == 1
    assert "digits.h5 is refused" in done.stdout + done.stderr
    first, second = project.training()
    assert (first["minutes"], second["minutes"]) == ("10:00", "12:00")
    assert second["memory"] == "1500M"
    assert first["state"] == second["state"] == "FAILED"


def test_gpu_profile_asks_for_a_gpu_and_cuda_is_not_replaced_in_silence(project):
    project.profile = "slurm-gpu"
    project.study["training"] = FEW_EPOCHS
    project.succeed(ONE_JOB)
    (job,) = project.training()
    assert job["node"] == "n3"
    assert job["gres"] == "gres:gpu:1"
    project.study |= {"device": "cuda", "study": "other"}
    done = project.run(ONE_JOB.replace("cluster", "other"), "--retries", "0")
    assert done.returncode == 1
    assert "device is cuda, but torch finds no GPU here" in done.stdout + done.stderr


def test_training_on_scratch_disks_of_the_nodes(project, undisturbed):
    scratch = project.folder.parent / "scratch"
    output = project.succeed(
        ONE_JOB,
        "--printshellcmds",  # and with them Snakemake's own lines
        "--default-storage-provider",
        "fs",
        "--default-storage-prefix",
        "",
        "--shared-fs-usage",
        "persistence",
        "software-deployment",
        "sources",
        "source-cache",
        "--local-storage-prefix",
        str(scratch / "main"),
        "--remote-job-local-storage-prefix",
        f"{scratch}/$SLURM_JOB_ID",
    )
    assert project.shards() == {SHARD: undisturbed[SHARD]}
    assert f"output: {ONE_JOB} (send to storage)" in output
