"""Whole training jobs: from the start of the process to the shard; `make bench` calls it.

python -m benchmarks.jobs FOLDER_OF_PREPARED_DATASETS OUT.csv
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.table import write

MODEL, DATASET, WIDTHS, RUNS = "dnn", "mnist", ("5", "100"), (1, 50)
CHILD = "from benchmarks.jobs import job; job({arguments!r}, {started!r})"


def job(arguments: dict[str, object], started: float) -> None:
    """A training job in a process of its own, which prints its seconds as JSON."""
    import torch  # noqa: F401  the time of its import is what a job can't save

    seconds = {"torch": time.time() - started}
    from weightscape import training
    from weightscape.engine.by_hand import HandStack

    gc.freeze()  # as the workflow's script does
    stacks, steps = [], []
    train_stack, train_epoch = training.train_stack, HandStack.train_epoch

    def timed(work: Callable, spans: list) -> Callable:
        def call(*arguments):
            begun = time.time()
            found = work(*arguments)
            spans.append((begun, time.time()))
            return found

        return call

    training.train_stack = timed(train_stack, stacks)
    HandStack.train_epoch = timed(train_epoch, steps)
    training.train_shard(**{key: Path(v) if key in ("dataset", "target") else v
                            for key, v in arguments.items()})  # fmt: skip
    seconds |= {
        "to_training": stacks[0][0] - started - seconds["torch"],
        "training": sum(end - begun for begun, end in stacks),
        "steps": sum(end - begun for begun, end in steps),
        "cpu": time.process_time(),
    }
    print(json.dumps(seconds))


def measure(dataset: Path, width: str, runs: int, folder: Path) -> dict[str, object]:
    """A row: seconds of a job of `runs` runs with the recipe of Table 1."""
    recipe = {
        "version": 1, "options": {}, "epochs": 20, "batch_size": 100, "optimiser": "adam",
        "learning_rate": 0.001,
        "initialisation": {"weights": "normal", "std": 0.05, "biases": "uniform"},
    }  # fmt: skip
    arguments = {
        "dataset": str(dataset), "target": str(folder / f"{width}-{runs}.h5"), "model": MODEL,
        "width": width, "seeds": list(range(runs)), "recipe": recipe, "snapshots": [0],
        "device": "cpu", "threads": 1,
    }  # fmt: skip
    started = time.time()
    command = [sys.executable, "-c", CHILD.format(arguments=arguments, started=started)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    whole = time.time() - started
    inner = json.loads(found.stdout.splitlines()[-1])
    return {
        "model": MODEL, "dataset": DATASET, "width": width, "runs_per_job": runs,
        "seconds": round(whole, 2), "cpu_seconds": round(inner["cpu"], 2),
        "seconds_to_import_torch": round(inner["torch"], 2),
        "seconds_from_torch_to_training": round(inner["to_training"], 2),
        "seconds_training": round(inner["training"], 2),
        "seconds_in_steps": round(inner["steps"], 2),
        "job_to_training": round(whole / inner["training"], 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("datasets", type=Path, help="folder of prepared datasets (*.h5)")
    parser.add_argument("out", type=Path, help="CSV file to write")
    arguments = parser.parse_args()
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
                    f"{row['job_to_training']} times its training", flush=True,
                )  # fmt: skip
    write(arguments.out, rows)


if __name__ == "__main__":
    main()
