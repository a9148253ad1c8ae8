"""Whole jobs of one run, from the start of the process to its end; `make bench` calls it.

    python -m benchmarks.jobs FOLDER_OF_PREPARED_DATASETS OUT.csv

Ours is beside a plain PyTorch script that trains and saves the same run, each in a process of its
own, by turns; a figure is the least of a contender's turns.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.case import make_recipe, parse
from weightscape.storage.tables import write_table

MODEL, CASES = "dnn", (("digits", "8"), ("mnist", "5"), ("mnist", "100"))
CONTENDERS = ("ours", "plain")
TURNS = 3


class Used(NamedTuple):
    """What a process took from its start to its end."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(contender: str, arguments: dict[str, Any]) -> Used:
    """A job in a process of its own. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "benchmarks.job", contender, json.dumps(arguments)]
    started = time.perf_counter()
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"the job of {contender} failed with status {status}")
    seconds = time.perf_counter() - started
    return Used(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(dataset: Path, width: str, folder: Path, turns: int = TURNS) -> list[dict[str, object]]:
    """A row per contender, of one run by the recipe of Table 1."""
    arguments = {
        "dataset": str(dataset),
        "model": MODEL,
        "width": width,
        "seeds": [0],
        "recipe": make_recipe(MODEL, width),
        "snapshot_epochs": [0],
        "device": "cpu",
        "threads": 1,
    }
    used: dict[str, list[Used]] = {name: [] for name in CONTENDERS}
    for _ in range(turns):
        for name in CONTENDERS:
            target = folder / f"{name}-{dataset.stem}-{width}"
            used[name].append(run(name, arguments | {"target": str(target)}))
    return [
        {"model": MODEL, "dataset": dataset.stem, "width": width, "contender": name}
        | {
            field: round(min(values), 2)
            for field, values in zip(Used._fields, zip(*found, strict=True), strict=True)
        }
        for name, found in used.items()
    ]


def main() -> None:
    arguments = parse(__doc__).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for dataset, width in CASES:
            rows += measure(arguments.datasets / f"{dataset}.h5", width, Path(folder))
            for row in rows[-len(CONTENDERS) :]:
                print(
                    f"{MODEL} on {dataset}, width {width}, one run as a job, {row['contender']}: "
                    f"{row['cpu_seconds']} CPU s, {row['peak_mb']:.0f} MB, {row['seconds']} s",
                    flush=True,
                )
    write_table(pd.DataFrame(rows), arguments.out)


if __name__ == "__main__":
    main()
