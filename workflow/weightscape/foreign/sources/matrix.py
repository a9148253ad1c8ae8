"""The source `matrix`: one matrix with a row for each checkpoint of all runs, as Small CNN Zoo has.

`weights.npy` has the rows; `metrics.csv` or `metrics.csv.gz` tells of each, in the same order, its
`modeldir` (`<run>/<checkpoint>`), `step` (the epoch), losses and accuracies; `layout.csv` has the
columns of each variable: `varname`, `start_idx`, `end_idx` and `shape`. A place is a number of row.
"""

from __future__ import annotations

import csv
import functools
import gzip
import hashlib
import math
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from weightscape.foreign.listing import (
    ACCURACIES,
    LOSSES,
    Layout,
    ListedRun,
    Listing,
    Unit,
    as_told,
)
from weightscape.foreign.sources import WIDTH, gather, layers_in

if TYPE_CHECKING:
    import numpy as np

UNIT: Unit = "fraction"
LAYOUT: Layout = "in_out"
WEIGHTS, LAYOUTS, METRICS = "weights.npy", "layout.csv", ("metrics.csv", "metrics.csv.gz")
HEADER = re.compile(rb"'shape': \(([0-9]+), ([0-9]+)\)")
"""Of a matrix in numpy's format."""


class _Variable(NamedTuple):
    start: int
    end: int
    shape: tuple[int, ...]


@functools.cache
def list_runs(folder: str, table: str, unit: Unit) -> Listing:
    if table:
        return Listing([], ["matrix has its own table, metrics.csv; remove the key table"])
    try:
        variables = _variables(folder)
        n_rows, n_columns = _size(folder)
        lines = _lines(folder)
        if len(lines) != n_rows:
            raise ValueError(f"{WEIGHTS} has {n_rows} rows, but its metrics have {len(lines)}")
        if max(variable.end for variable in variables.values()) != n_columns:
            raise ValueError(f"{WEIGHTS} has other columns than {LAYOUTS} tells")
        ends = [0, *sorted(variable.end for variable in variables.values())]
        if ends[:-1] != sorted(variable.start for variable in variables.values()):
            raise ValueError(f"the columns that {LAYOUTS} tells overlap, or leave holes")
        runs = _runs(lines, unit)
    except (OSError, EOFError, ValueError, KeyError, csv.Error) as error:
        reason = f"the column {error.args[0]} is missing" if isinstance(error, KeyError) else error
        return Listing([], [f"{folder}: {reason}; correct its files"])
    shapes = {name: variable.shape for name, variable in variables.items()}
    return gather(runs, layers_in(shapes), unit, [])


def read(folder: Path, place: str, names: Collection[str]) -> dict[str, np.ndarray]:
    from weightscape.foreign.checkpoints import told
    from weightscape.foreign.formats.base import as_float32, refuse

    path = folder / WEIGHTS
    with told(path):
        variables = _variables(str(folder))
        if missing := [name for name in names if name not in variables]:
            raise refuse(
                path,
                f"{LAYOUTS} has no variable '{missing[0]}'; it has {', '.join(variables)}",
                "name the right one under layers in the config",
            )
        row = _row(path, place)
        if row.dtype.kind != "f":
            raise refuse(path, f"its numbers are {row.dtype}", "save it as floats")
        return {name: as_float32(_cut(row, variables[name])) for name in names}


def _cut(row: np.ndarray, variable: _Variable) -> np.ndarray:
    return row[variable.start : variable.end].reshape(variable.shape)


def digest(folder: Path, place: str) -> str:
    """Of the bytes of its row."""
    from weightscape.foreign.checkpoints import told

    with told(folder / WEIGHTS):
        return hashlib.sha256(_row(folder / WEIGHTS, place).tobytes()).hexdigest()


def size(folder: Path, place: str) -> int:
    return 4 * _size(str(folder))[1]  # of 32-bit floats


def files(place: str) -> list[str]:
    return [WEIGHTS, LAYOUTS, *METRICS]


def _row(path: Path, place: str) -> np.ndarray:
    import numpy as np

    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.array(matrix[int(place.rpartition(":")[2])])


def _variables(folder: str) -> dict[str, _Variable]:
    found = {}
    with open(os.path.join(folder, LAYOUTS), newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            shape = tuple(map(int, re.findall("[0-9]+", line["shape"])))
            variable = _Variable(int(line["start_idx"]), int(line["end_idx"]), shape)
            if not 0 <= variable.start <= variable.end == variable.start + math.prod(shape):
                raise ValueError(
                    f"{LAYOUTS}: the columns of {line['varname']} do not fit its shape"
                )
            found[line["varname"]] = variable
    if not found:
        raise ValueError(f"{LAYOUTS} is empty")
    return found


def _size(folder: str) -> tuple[int, int]:
    """Rows and columns of the matrix."""
    with open(os.path.join(folder, WEIGHTS), "rb") as file:
        match = HEADER.search(file.read(512))
    if not match:
        raise ValueError(f"{WEIGHTS} is not a matrix of numpy")
    return int(match[1]), int(match[2])


def _lines(folder: str) -> list[dict[str, str]]:
    for name in METRICS:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            is_packed = name.endswith(".gz")
            with (gzip.open if is_packed else open)(path, "rt", newline="", encoding="utf-8") as f:
                return list(csv.DictReader(f))
    raise ValueError(f"there is no {' and no '.join(METRICS)}")


def _runs(lines: list[dict[str, str]], unit: Unit) -> list[ListedRun]:
    by_run: dict[str, dict[int, tuple[int, dict[str, float]]]] = {}
    for row, line in enumerate(lines):
        run, step = str(PurePosixPath(line["modeldir"]).parent), float(line["step"])
        if not step.is_integer():
            raise ValueError(f"the step {line['step']} is no epoch")
        epoch = int(step)
        of_run = by_run.setdefault(run, {})
        if epoch in of_run:
            raise ValueError(f"the run {run} has step {epoch} twice")
        of_run[epoch] = row, _numbers(line, unit)
    return [_run(seed, dict(sorted(of.items()))) for seed, of in enumerate(by_run.values())]


def _run(seed: int, of_run: dict[int, tuple[int, dict[str, float]]]) -> ListedRun:
    places = {epoch: f"{WEIGHTS}:{row}" for epoch, (row, _) in of_run.items()}
    curves = {
        name: {epoch: numbers[name] for epoch, (_, numbers) in of_run.items()}
        for name in (*LOSSES, *ACCURACIES)
    }
    last = max(places)
    return ListedRun(places[last], WIDTH, seed, of_run[last][1], places.get(0, ""), places, curves)


def _numbers(line: dict[str, str], unit: Unit) -> dict[str, float]:
    known = {name: float(line[name]) for name in (*LOSSES, *ACCURACIES) if line.get(name)}
    return as_told(known, unit)
