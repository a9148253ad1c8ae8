"""A study of 200 runs on a real Slurm, by runs_per_job; `make bench-slurm` calls it.

python -m benchmarks.cluster OUT.csv

The Slurm is that of tests/cluster: three nodes of two cores on one machine. CPU seconds are those
of the whole machine, so nothing else should run on it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from weightscape.storage.tables import write_table

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "cluster")]

from project import Project  # noqa: E402
from slurm import Programs, Slurm  # noqa: E402

RUNS, RUNS_PER_JOB = 200, (1, 10, 50)
STUDY = {
    "study": "cluster",
    "populations": [{"model": "dnn", "dataset": "digits", "widths": [20], "seeds": RUNS}],
}
SHARD = "results/cluster/weights/dnn/digits/width-20/seeds-0000.h5"
PROFILE = ["--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
CLOCK = "%Y-%m-%dT%H:%M:%S"


def cpu_seconds() -> float:
    """That all cores of this machine have worked since it started."""
    user, nice, system, _, _, irq, softirq = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def n_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def measure(slurm: Slurm, prepared: Path, folder: Path, runs_per_job: int) -> dict[str, Any]:
    """A row: what the 200 runs take in so many jobs."""
    project = Project(prepared, STUDY).copy(folder)
    project.study["runs_per_job"] = runs_per_job
    project.environment["PATH"] = f"{slurm.folder}/bin:{os.environ['PATH']}"
    files, cpu, started = n_files(folder), cpu_seconds(), time.time()
    subprocess.run(
        project.command("weights", *PROFILE),
        cwd=folder,
        env=project.environment,
        check=True,
        capture_output=True,
    )
    seconds, cpu = time.time() - started, cpu_seconds() - cpu
    fields = "Comment,Submit,Start,End"
    known = slurm.output(
        "sacct",
        "-X",
        "-n",
        "-P",
        f"--format={fields}",
        "--starttime",
        datetime.fromtimestamp(started).strftime(CLOCK),
    )
    waits, starts, lengths = [], [], []
    for line in known.splitlines():
        comment, *times = line.split("|")
        if "train_runs" not in comment:
            continue
        submit, start, end = (datetime.strptime(text, CLOCK) for text in times)
        waits.append((start - submit).total_seconds())
        lengths.append((end - start).total_seconds())
        seeds = comment.rpartition("_")[2]
        text = next(project.results.glob(f"logs/**/seeds-{seeds}.log")).read_text()
        first = re.match(r"(\S+ \S+) training", text)
        begun = datetime.strptime(first[1], "%Y-%m-%d %H:%M:%S") if first else end
        starts.append((begun - start).total_seconds())
    return {
        "runs_per_job": runs_per_job,
        "jobs": len(waits),
        "seconds": round(seconds),
        "cpu_seconds": round(cpu),
        "cpu_seconds_a_run": round(cpu / RUNS, 2),
        "mean_seconds_in_queue": round(sum(waits) / len(waits), 1),
        "longest_seconds_in_queue": max(waits),
        "mean_seconds_to_training": round(sum(starts) / len(starts), 1),
        "mean_seconds_a_job": round(sum(lengths) / len(lengths), 1),
        "files": n_files(folder) - files,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="weightscape-") as state,
        tempfile.TemporaryDirectory() as folder,
        Slurm(Programs(ROOT / ".slurm"), Path(state)) as slurm,
    ):
        # images are prepared and gradients compiled
        prepared = Project.create(Path(folder, "prepared"), STUDY)
        prepared.succeed(SHARD)
        (prepared.folder / SHARD).unlink()
        for runs_per_job in RUNS_PER_JOB:
            rows.append(
                measure(slurm, prepared.folder, Path(folder, str(runs_per_job)), runs_per_job)
            )
            print(rows[-1], flush=True)
    write_table(pd.DataFrame(rows), out)


if __name__ == "__main__":
    main()
