"""Tables: CSV files with a header, one tidy row per thing, sealed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.storage.seals import check_seal, refuse, replace_sealed

FLOATS = "%.9g"  # enough to restore a float32
BLOCK = 1000  # rows that are written at once

Rows = pd.DataFrame | list[dict[str, Any]]


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    with replace_sealed(Path(path)) as aside:
        table.to_csv(aside, index=False, float_format=FLOATS)


@contextmanager
def grow_table(path: Path | str, columns: Iterable[str]) -> Iterator[Callable[[Rows], None]]:
    """A function that appends rows (dicts, or a table) to a table of these columns, as they come.

    The file appears when the block ends without an error; without rows it holds the header. About
    BLOCK rows are kept until they are written, since a few at a time take as long as all of them.
    """
    names = list(columns)
    kept: list[pd.DataFrame] = []
    loose: list[dict[str, Any]] = []
    with replace_sealed(Path(path)) as aside, aside.open("w", newline="") as file:

        def gather() -> None:
            if loose:
                kept.append(pd.DataFrame(loose, columns=names))
                loose.clear()

        def write() -> None:
            gather()
            if kept:
                table = pd.concat(kept)
                table.to_csv(file, index=False, header=False, float_format=FLOATS)
                kept.clear()

        def add(rows: Rows) -> None:
            if isinstance(rows, list):
                loose.extend(rows)
            else:
                gather()
                kept.append(rows[names])
            if len(loose) + sum(map(len, kept)) >= BLOCK:
                write()

        pd.DataFrame(columns=names).to_csv(file, index=False)
        yield add
        write()


def read_table(path: Path | str, name: str = "") -> pd.DataFrame:
    """A table whose columns of text are text: a width `20` is no number, like `20x50`.

    Raises WeightscapeError if it is missing, damaged, changed, or without the columns that the
    table `name` has.
    """
    check_seal(Path(path))
    try:
        table = pd.read_csv(path, dtype=heads.texts(), keep_default_na=False, na_values=[""])
    except ValueError as error:  # of pandas too, and of bytes that are no text
        raise refuse(path, f"it can't be read ({str(error).partition(chr(10))[0]})") from error
    wanted = heads.tables()[name].written if name else []
    if missing := [column for column in wanted if column not in table]:
        raise refuse(path, f"it has no column {missing[0]}")
    return table


def read_tables(paths: Iterable[Path | str], name: str = "") -> pd.DataFrame:
    """The rows of several tables of the same columns."""
    return pd.concat([read_table(path, name) for path in paths], ignore_index=True)


def add_groups(table: pd.DataFrame, grouping: pd.DataFrame) -> pd.DataFrame:
    """A table of runs with the group of each, after its seed; one that has them as it is.

    Raises WeightscapeError if a run has none.
    """
    if "group" in table:
        return table
    known = dict(zip(_runs_of(grouping), grouping["group"], strict=True))
    groups = [known.get(run) for run in _runs_of(table)]
    if None in groups:
        run = _runs_of(table)[groups.index(None)]
        raise WeightscapeError(
            f"{_name(run)} has no group; delete grouping.csv of {run[0]} on {run[1]} in the "
            "study's measures and run again"
        )
    grouped = table.copy()
    grouped.insert(list(table).index("seed") + 1, "group", pd.Series(groups, table.index, "str"))
    return grouped


def add_other_groups(runs: pd.DataFrame, grouping: pd.DataFrame) -> pd.DataFrame:
    """The table of runs with `other_group` of each, the group by other edges, or an empty text."""
    others = grouping.drop(columns="group").fillna("")
    return runs.merge(others, on=[*heads.RUN_KEYS], how="left")


def check_runs(table: pd.DataFrame, runs: pd.DataFrame, path: Path | str, has_all: bool) -> None:
    """Raises WeightscapeError if a table has rows of runs that are not in the table of runs.

    If it `has_all`, none may be missing either. A table without these keys tells of no single runs.
    """
    if not set(heads.RUN_KEYS) <= set(table):
        return
    found, known = set(_runs_of(table)), set(_runs_of(runs))
    if unknown := found - known:
        raise refuse(path, f"its {_name(min(unknown))} is not in the table of runs")
    if has_all and (missing := known - found):
        raise refuse(path, f"it has no row of {_name(min(missing))}")


def _runs_of(table: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    return list(table[list(heads.RUN_KEYS)].itertuples(index=False, name=None))


def _name(run: tuple[str, str, str, int]) -> str:
    model, dataset, width, seed = run
    return f"seed {seed} of width {width} ({model} on {dataset})"
