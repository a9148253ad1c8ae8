"""A job: the files that a measure or an analysis reads and writes, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pandas as pd

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.storage.joining import join_tables
from weightscape.storage.tables import (
    add_groups,
    add_other_groups,
    check_runs,
    read_table,
    write_table,
)

T = TypeVar("T")


class Job:
    """One job of a measure, by the names that its head has for what it reads and writes.

    In the names of files `_` stands for the point, since Snakemake wants names of Python.
    """

    def __init__(
        self,
        inputs: Mapping[str, str | Sequence[str]],
        outputs: Mapping[str, str],
        settings: Mapping[str, Any],
        layer: str = "",
    ):
        self.inputs, self.outputs = inputs, outputs
        self.settings, self.layer = settings, layer

    @property
    def runs(self) -> pd.DataFrame:
        """The table of runs of the population; with their groups if the head reads `grouping`."""
        (runs,) = self._tables_of_runs
        return runs

    @property
    def runs_regrouped(self) -> pd.DataFrame:
        """The same, with `other_group` of each run, the group by other edges, or an empty text."""
        (grouping,) = self._groupings
        return add_other_groups(self.runs, grouping)

    @cached_property
    def _tables_of_runs(self) -> list[pd.DataFrame]:
        return self.tables("runs")

    @property
    def shards(self) -> list[str]:
        return self._paths("shards")

    def table(self, name: str) -> pd.DataFrame:
        (table,) = self.tables(name)
        return table

    def tables(self, name: str) -> list[pd.DataFrame]:
        """A table of each population, of a job for the whole study.

        Where the head reads `grouping`, tables of runs have the group of each. Raises
        WeightscapeError if one has other runs than the table of runs beside it.
        """
        paths = self._paths(name)
        tables = [read_table(path, name) for path in paths]
        if "grouping" in self.inputs and heads.tables()[name].is_grouped_later:
            tables = list(map(add_groups, tables, self._groupings))
        if name != "runs" and "runs" in self.inputs:
            has_all = name in heads.told_layer_measures()
            for path, table, runs in zip(paths, tables, self._tables_of_runs, strict=True):
                check_runs(table, runs, path, has_all)
        return tables

    @cached_property
    def _groupings(self) -> list[pd.DataFrame]:
        return [read_table(path, "grouping") for path in self._paths("grouping")]

    def layers(self) -> dict[str, pd.DataFrame]:
        """The tables of the measures of one layer, by name."""
        return {name: self.table(name) for name in heads.told_layer_measures()}

    def layers_of_each(self) -> list[dict[str, pd.DataFrame]]:
        """The same for each population, of a job for the whole study."""
        tables = {name: self.tables(name) for name in heads.told_layer_measures()}
        return [
            dict(zip(tables, of_one, strict=True)) for of_one in zip(*tables.values(), strict=True)
        ]

    def path(self, name: str) -> Path:
        """A file that is read."""
        (path,) = self.paths(name)
        return path

    def paths(self, name: str) -> list[Path]:
        """That of each population, of a job for the whole study."""
        return list(map(Path, self._paths(name)))

    def path_or_none(self, name: str) -> Path | None:
        """The same, of a file that some populations lack."""
        return self.path(name) if self._paths(name) else None

    def output(self, name: str) -> Path:
        return Path(_find(self.outputs, name, "write"))

    def write(self, **tables: pd.DataFrame) -> None:
        """Tables with the columns of their heads, else a WeightscapeError; groups are not written
        where they are added in reading."""
        for name, table in tables.items():
            head = heads.tables()[name]
            columns = head.names if "group" in table else head.written
            if list(table.columns) != columns:
                raise WeightscapeError(
                    f"the table {name} is made with the columns {[*table.columns]}, but its head "
                    f"has {columns}"
                )
            write_table(table[head.written], self.output(name))

    def _paths(self, name: str) -> list[str]:
        found = _find(self.inputs, name, "read")
        return [found] if isinstance(found, str) else list(found)


def make_layers(make: Callable[[Job], None], job: Job, layers: Sequence[str]) -> None:
    """Makes a measure of each of some layers, and writes the tables of all of them as the job's."""
    with TemporaryDirectory() as folder:
        parts: dict[str, list[str]] = {name: [] for name in job.outputs}
        for layer in layers:
            own = {name: f"{folder}/{name}-{layer}.csv" for name in job.outputs}
            make(Job(job.inputs, own, job.settings, layer))
            for name, path in own.items():
                parts[name].append(path)
        for name, path in job.outputs.items():
            join_tables(parts[name], Path(path))


def _find(files: Mapping[str, T], name: str, done: str) -> T:
    """Raises WeightscapeError if the head does not have the name."""
    try:
        return files[name.replace(".", "_")]
    except KeyError:
        raise WeightscapeError(
            f"a measure asks for {name}, which its head does not {done}"
        ) from None
