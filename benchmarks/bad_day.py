"""A study of thousands of jobs on a real Slurm whose controller freezes; `make bench-bad-day`.

python -m benchmarks.bad_day OUT.csv [--runs 6090] [--seconds 30]

The Slurm is that of tests/cluster: three nodes of two cores on one machine. Training is pretended
by jobs that only write a file. The controller is frozen twice, for so many seconds: it answers
nobody then, and takes afterwards what it was sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from weightscape.storage.tables import write_table

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "cluster")]

from conftest import StubProject  # noqa: E402
from slurm import Programs, Slurm  # noqa: E402

STUDY = {
    "study": "stubs",
    "populations": [{"model": "dnn", "dataset": "digits", "widths": [30]}],
}
FREEZES_AT = (0.1, 0.5)  # share of the runs that have been trained by then
LOOK = '#!/bin/sh\necho "$*" >> squeue.txt\nexec {} "$@"\n'


def measure(slurm: Slurm, folder: Path, n_runs: int, seconds: float) -> dict[str, Any]:
    """A row: what the study takes, and what was done more than once."""
    STUDY["populations"][0]["seeds"] = n_runs  # type: ignore[index]
    project = StubProject.create(folder, STUDY, slurm)
    shim = folder / "shims/squeue"
    shim.write_text(LOOK.format(slurm.folder / "bin/squeue"))
    shim.chmod(0o755)
    started = time.monotonic()
    snakemake = project.start("weights")
    for share in FREEZES_AT:
        while len(project.trained()) < share * n_runs and snakemake.process.poll() is None:
            time.sleep(1)
        slurm.freeze_controller()
        time.sleep(seconds)
        slurm.thaw_controller()
    snakemake.process.wait()
    wall = time.monotonic() - started
    trained = project.trained()
    shards = {path.stem: path.read_text().strip() for path in project.results.rglob("*.h5")}
    row = {
        "runs": n_runs,
        "seconds_frozen": seconds * len(FREEZES_AT),
        "exit_status": snakemake.process.returncode,
        "seconds": round(wall),
        "submissions": project.submissions(),
        "looks": len((folder / "squeue.txt").read_text().splitlines()),
        "trained": len(trained),
        "trained_twice": sum(len(jobs) > 1 for jobs in trained.values()),
        "shards_made_anew": sum(
            shards.get(f"seeds-{seeds}") != jobs[0] for seeds, jobs in trained.items()
        ),
        "lines_told": len(snakemake.text.splitlines()),
        "log_mb": round(_size(folder / ".snakemake/log"), 2),
        "slurm_logs_mb": round(_size(project.results.parent / "slurm-logs"), 2),
    }
    print(snakemake.text[-3000:], file=sys.stderr)
    return row


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=6090)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="weightscape-") as state,
        tempfile.TemporaryDirectory() as folder,
        Slurm(Programs(ROOT / ".slurm"), Path(state)) as slurm,
    ):
        row = measure(slurm, Path(folder, "project"), arguments.runs, arguments.seconds)
        print(row, flush=True)
    write_table(pd.DataFrame([row]), arguments.out)


if __name__ == "__main__":
    main()
