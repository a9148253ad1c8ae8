"""What Snakemake costs at 100,000 runs, without training and without Slurm."""

import sys

import pytest

from benchmarks import scale

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Slurm's stand-ins read /proc")

RUNS = 100_000
SECONDS = 2.5  # CPU; 0.7 measured
MEGABYTES = 200  # of the largest process; 135 measured, of which 115 are Snakemake's modules


def test_a_cluster_job_starts_in_its_budget_at_100_000_runs(tmp_path):
    """It parses the workflow twice, and must never list the study's shards."""
    copy = scale.Copy(tmp_path / "copy", scale.STUDIES["grid"], runs_per_job=1)
    assert copy.n_jobs() == RUNS
    start, imported = scale.measure_start(copy, times=2), scale.measure_import(times=2)
    assert start.cpu - 2 * imported.cpu < SECONDS
    assert start.peak_mb < MEGABYTES


def test_the_main_process_hands_out_each_job_once(tmp_path):
    grid = {"model": "dnn", "dataset": "digits", "widths": [3, "4x2"], "seeds": 3}
    copy = scale.Copy(tmp_path / "copy", {"study": "small", "populations": [grid]}, 2)
    _, jobs = scale.measure_dry_run(copy, "weights")
    scale.measure_schedule(copy, [])
    assert jobs - 1 == copy.n_jobs() == copy.n_done() == 4
    shards = (copy.folder / "results" / "small" / "weights").rglob("*.h5")
    assert sorted(path.name for path in shards) == 2 * ["seeds-0000-0001.h5"] + 2 * [
        "seeds-0002.h5"
    ]
