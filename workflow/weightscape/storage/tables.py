"""Tables: CSV files with a header, one tidy row per thing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from weightscape.files import replace_whole
from weightscape.heads import texts

FLOATS = "%.9g"  # enough to restore a float32
BLOCK = 1000  # rows that are written at once

Rows = pd.DataFrame | list[dict[str, Any]]


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    with replace_whole(Path(path)) as aside:
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
    with replace_whole(Path(path)) as aside, aside.open("w", newline="") as file:

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


def read_table(path: Path | str) -> pd.DataFrame:
    """A table whose columns of text are text: a width `20` is no number, like `20x50`."""
    return pd.read_csv(path, dtype=texts(), keep_default_na=False, na_values=[""])


def read_tables(paths: Iterable[Path | str]) -> pd.DataFrame:
    """The rows of several tables of the same columns."""
    return pd.concat(map(read_table, paths), ignore_index=True)
