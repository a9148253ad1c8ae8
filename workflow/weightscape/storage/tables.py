"""Tables: CSV files with a header, one tidy row per thing."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.heads import texts
from weightscape.storage.files import replace_whole

FLOATS = "%.9g"  # enough to restore a float32

Rows = pd.DataFrame | list[dict[str, Any]]


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    with replace_whole(Path(path)) as aside:
        table.to_csv(aside, index=False, float_format=FLOATS)


@contextmanager
def grow_table(path: Path | str, columns: Iterable[str]) -> Iterator[Callable[[Rows], None]]:
    """A function that appends rows (dicts, or a table) to a table of these columns, as they come.

    The file appears when the block ends without an error; without rows it holds the header.
    """
    names = list(columns)
    with replace_whole(Path(path)) as aside, aside.open("w", newline="") as file:

        def add(rows: Rows) -> None:
            table = pd.DataFrame(rows, columns=names)
            table.to_csv(file, index=False, header=False, float_format=FLOATS)

        pd.DataFrame(columns=names).to_csv(file, index=False)
        yield add


def read_table(path: Path | str) -> pd.DataFrame:
    """A table whose columns of text are text: a width `20` is no number, like `20x50`."""
    return pd.read_csv(path, dtype=texts(), keep_default_na=False, na_values=[""])


def join_tables(parts: list[str], target: Path | str) -> None:
    """The rows of all `parts` under one header, as they are; in memory is a block of one file.

    Raises WeightscapeError if the parts have different columns.
    """
    header: bytes | None = None
    with replace_whole(Path(target)) as aside, aside.open("wb") as joined:
        for part in parts:
            with open(part, "rb") as rows:
                first = rows.readline()
                if header is None:
                    header = first
                    joined.write(header)
                elif first != header:
                    raise WeightscapeError(
                        f"{parts[0]} and {part} have different columns; delete both and run again"
                    )
                shutil.copyfileobj(rows, joined)
