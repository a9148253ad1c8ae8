"""Whole training jobs: from the start of the process to the shard; `make bench` calls it.

python -m benchmarks.jobs FOLDER_OF_PREPARED_DATASETS OUT.csv
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.case import make_recipe, parse
from weightscape.storage.tables import write_table

MODEL, DATASET, WIDTHS, RUNS = "dnn", "mnist", ("5", "100"), (1, 50)
CHILD = "from benchmarks.job import job; job({arguments!r}, {started!r})"


def measure(dataset: Path, width: str, runs: int, folder: Path) -> dict[str, object]:
    """A row: seconds of a job of `runs` runs with the recipe of Table 1."""
    arguments = {
        "dataset": str(dataset),
        "target": str(folder / f"{width}-{runs}.h5"),
        "model": MODEL,
        "width": width,
        "seeds": list(range(runs)),
        "recipe": make_recipe(MODEL, width),
        "snapshot_epochs": [0],
        "device": "cpu",
        "threads": 1,
    }
    started = time.time()
    command = [sys.executable, "-c", CHILD.format(arguments=arguments, started=started)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    whole = time.time() - started
    inner = json.loads(found.stdout.splitlines()[-1])
    return {
        "model": MODEL,
        "dataset": DATASET,
        "width": width,
        "runs_per_job": runs,
        "seconds": round(whole, 2),
        "cpu_seconds": round(inner["cpu"], 2),
        "seconds_to_import_torch": round(inner["torch"], 2),
        "seconds_from_torch_to_training": round(inner["to_training"], 2),
        "seconds_training": round(inner["training"], 2),
        "seconds_in_steps": round(inner["steps"], 2),
        "job_to_training": round(whole / inner["training"], 3),
    }


def main() -> None:
    arguments = parse(__doc__).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for width in WIDTHS:
            for runs in RUNS:
                dataset = arguments.datasets / f"{DATASET}.h5"
                rows.append(measure(dataset, width, runs, Path(folder)))
                row = rows[-1]
                print(
                    f"{MODEL} {DATASET}, width {width}, {runs} runs a job: {row['seconds']} s, "
                    f"{row['seconds_to_import_torch']} to import torch, "
                    f"{row['seconds_from_torch_to_training']} more to training, "
                    f"{row['job_to_training']} times its training",
                    flush=True,
                )
    write_table(pd.DataFrame(rows), arguments.out)


if __name__ == "__main__":
    main()
