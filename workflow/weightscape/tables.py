"""Tables: CSV files with a header, one tidy row per thing."""

import shutil
from pathlib import Path

import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole

FLOATS = "%.9g"  # enough to restore a float32


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    with replace_whole(Path(path)) as aside:
        table.to_csv(aside, index=False, float_format=FLOATS)


def read_table(path: Path | str) -> pd.DataFrame:
    """A table with its names as text (a width `20` stays text, like `20x50`)."""
    texts = dict.fromkeys(("model", "dataset", "width", "group", "layer", "shard"), "str")
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])


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
                        f"{part} has other columns than {parts[0]}; delete both and run again"
                    )
                shutil.copyfileobj(rows, joined)
