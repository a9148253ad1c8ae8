"""The source `ray-tune`: a folder with a folder for each trial of Ray Tune, as the Model Zoos have.

A trial has `result.json`, with a line of JSON for each epoch (`training_iteration`; 0 is before
training), and folders `checkpoint_000003`, named by the epoch, each with a file of weights.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.foreign.listing import (
    ImportedLayer,
    Layout,
    ListedRun,
    Listing,
    Unit,
    as_told,
)
from weightscape.foreign.sources import WIDTH, gather, layers_in
from weightscape.foreign.sources.table import digest, read, size

__all__ = ["LAYOUT", "UNIT", "digest", "files", "list_runs", "read", "size"]

UNIT: Unit = "fraction"
LAYOUT: Layout = "out_in"
RESULTS = "result.json"
NAMES = {
    "train_loss": ("train_loss",),
    "train_accuracy": ("train_acc", "train_accuracy"),
    "test_loss": ("test_loss",),
    "test_accuracy": ("test_acc", "test_accuracy"),
}
"""Each curve's names in the results."""
BESIDE = re.compile(r"\..*|optim.*", re.IGNORECASE)
"""Files of a checkpoint that are no weights."""


@functools.cache
def list_runs(folder: str, table: str, unit: Unit) -> Listing:
    if table:
        return Listing([], ["ray-tune has no table; remove the key table"])
    try:
        trials = sorted(
            entry.name
            for entry in os.scandir(folder)
            if os.path.isfile(os.path.join(entry.path, RESULTS))
        )
    except OSError as error:
        return Listing([], [f"{folder} can't be read ({error.strerror})"])
    if not trials:
        return Listing([], [f"{folder} has no folder with a {RESULTS}; name that of the trials"])
    runs = [_run(folder, trial, seed, unit) for seed, trial in enumerate(trials)]
    whole = next((run for run in runs if not run.fault), None)
    return gather(runs, _layers(folder, whole) if whole else {}, unit, [])


def files(place: str) -> list[str]:
    return [place, f"{place.partition('/')[0]}/{RESULTS}"]


def _run(folder: str, trial: str, seed: int, unit: Unit) -> ListedRun:
    try:
        results = _results(os.path.join(folder, trial, RESULTS), unit)
        places = _places(folder, trial)
        if missing := [epoch for epoch in places if epoch not in results]:
            raise ValueError(f"{RESULTS} has no training_iteration {missing[0]}, but a checkpoint")
        last = results[max(places)]
        curves = {
            name: {epoch: values[name] for epoch, values in results.items()} for name in NAMES
        }
        return ListedRun(places[max(places)], WIDTH, seed, last, places.get(0, ""), places, curves)
    except (OSError, ValueError, KeyError, TypeError) as error:
        unknown = dict.fromkeys(NAMES, math.nan)
        return ListedRun(trial, WIDTH, seed, unknown, "", {}, {}, f"{error}".splitlines()[0])


def _results(path: str, unit: Unit) -> dict[int, dict[str, float]]:
    """Epoch -> its losses and accuracies (%); of an epoch that was run again, the last."""
    found = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                result = json.loads(line)
                epoch = int(result["training_iteration"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"line {number} of {RESULTS} is damaged") from None
            found[epoch] = _numbers(result, unit)
    return found


def _numbers(result: dict[str, Any], unit: Unit) -> dict[str, float]:
    known = {
        name: float(result[key])
        for name, keys in NAMES.items()
        for key in keys
        if isinstance(result.get(key), int | float)
    }
    return as_told(known, unit)


def _places(folder: str, trial: str) -> dict[int, str]:
    """Epoch -> the file of its weights, in order."""
    found = {}
    for name in sorted(os.listdir(os.path.join(folder, trial))):
        if match := re.fullmatch("checkpoint_([0-9]+)", name):
            within = sorted(os.listdir(os.path.join(folder, trial, name)))
            weights = [file for file in within if not BESIDE.fullmatch(file)]
            if len(weights) != 1:
                raise ValueError(f"{name} has {len(weights)} files of weights, and needs one")
            found[int(match[1])] = f"{trial}/{name}/{weights[0]}"
    if not found:
        raise ValueError("it has no checkpoint")
    return dict(sorted(found.items()))


def _layers(folder: str, run: ListedRun) -> dict[str, ImportedLayer]:
    """Those of a whole run; nothing if its weights can't be read, which its import tells."""
    from pathlib import Path

    from weightscape.foreign.checkpoints import shapes

    try:
        return layers_in(shapes(Path(folder, run.file)))
    except WeightscapeError:
        return {}
