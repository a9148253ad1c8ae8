"""Populations without runs: imports whose every checkpoint is bad. The study goes on without them.

Their tables have a header alone, their other files nothing, and figures pass over them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from weightscape import heads
from weightscape.heads import MeasureHead
from weightscape.storage.hdf5 import write_file
from weightscape.storage.tables import read_table, write_table

Inputs = dict[str, str | Sequence[str]]


def only_with_runs(inputs: Mapping[str, str | Sequence[str]]) -> Inputs | None:
    """The inputs of a measure without those of populations that have no runs; None if all do.

    Of a job for the whole study, a file of each population is in the order of their tables of runs.
    A measure that reads no table of runs is not asked.
    """
    if "runs" not in inputs:
        return dict(inputs)
    paths = [inputs["runs"]] if isinstance(inputs["runs"], str) else list(inputs["runs"])
    has_runs = [len(read_table(path)) > 0 for path in paths]
    if not any(has_runs):
        return None
    if all(has_runs):
        return dict(inputs)
    return {
        name: [path for path, has in zip(files, has_runs, strict=True) if has]
        for name, files in inputs.items()
    }


def write_nothing(head: MeasureHead, outputs: Mapping[str, str], model: str, dataset: str) -> None:
    """What a measure writes of such a population."""
    for name in heads.tables_of(head):
        write_header(name, outputs[name])
    for name in head.files:
        facts = {"format_version": 1, "model": model, "dataset": dataset, "layers": []}
        with write_file(Path(outputs[name.replace(".", "_")]), facts):
            pass


def write_header(name: str, path: str) -> None:
    """A table without rows."""
    write_table(pd.DataFrame(columns=heads.tables()[name].written), path)
