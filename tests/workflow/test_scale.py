"""What Snakemake costs at 100,000 runs, without training and without Slurm."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Slurm's stand-ins read /proc")

RUNS = 100_000
CALLS = 10_000  # that a job may make for 99,900 runs more; 62 measured
MEGABYTES = 200  # of the largest process; 135 measured, of which 115 are Snakemake's modules

# after the library's own; a count of calls is the same on a busy machine, and seconds are not
COUNT = """
import atexit, io, sys
_calls = 0
def _count(frame, event, argument):
    global _calls
    _calls += event in ("call", "c_call")
def _tell():
    sys.setprofile(None)
    with io.open({path!r}, "a") as file:
        print(_calls, file=file)
atexit.register(_tell)
sys.setprofile(_count)
"""


def count_calls(folder: Path, study: dict[str, Any]) -> tuple[int, scale.Used]:
    """The calls of functions that one job of a study makes, and what it took."""
    copy = scale.Copy(folder / "copy", study, runs_per_job=1)
    counts = folder / "counts"
    library = copy.folder / "workflow" / "weightscape" / "__init__.py"
    library.write_text(library.read_text() + COUNT.format(path=str(counts)))
    used = scale.measure_start(copy)
    # the snakemake that submits, then that of the job and that of its step
    _, *of_job = map(int, counts.read_text().split())
    assert len(of_job) == 2
    return sum(of_job), used


def test_a_cluster_job_starts_in_its_budget_at_100_000_runs(tmp_path):
    """It parses the workflow twice, and must never list the study's shards."""
    grid = scale.GRID
    assert len(grid["widths"]) * grid["seeds"] == RUNS
    few, _ = count_calls(tmp_path / "few", {"study": "few", "populations": [grid | {"seeds": 1}]})
    many, used = count_calls(tmp_path / "many", {"study": "many", "populations": [grid]})
    assert many - few < CALLS
    assert used.peak_mb < MEGABYTES


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
