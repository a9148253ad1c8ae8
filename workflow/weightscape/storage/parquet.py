"""Tables as Parquet files, sealed: a tenth to a half of a CSV file's size, and exact.

Only published tables are written so: rows that a person, git or another program looks at while a
study runs are CSV.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from weightscape.storage.seals import check_seal, refuse, replace_sealed

REMEDY = "take it again from where it came"


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Text is stored as categories; a column of bytes as it is; True and False may have gaps."""
    import fastparquet

    table, kinds = table.infer_objects(), {}  # joined ones may have numbers as objects
    for name, column in table.items():
        if isinstance(column.dtype, pd.StringDtype):
            kinds[name] = "category"
        elif column.dtype == object and not isinstance(column.iloc[0], bytes):
            kinds[name] = "boolean"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_sealed(path) as aside:
        fastparquet.write(str(aside), table.astype(kinds), compression="ZSTD", write_index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """The table as `storage.tables.read_table` has it of a CSV file.

    Raises WeightscapeError if it is missing or not as it was written.
    """
    check_seal(path, REMEDY)
    import fastparquet  # where there are such files alone

    try:
        table: pd.DataFrame = fastparquet.ParquetFile(str(path)).to_pandas()
    except Exception as error:  # a file without a seal can fail in any way
        raise refuse(path, f"it can't be read ({error})", REMEDY) from error
    kinds = {
        name: "str" if isinstance(kind, pd.CategoricalDtype) else object
        for name, kind in table.dtypes.items()
        if isinstance(kind, pd.CategoricalDtype | pd.BooleanDtype)
    }
    return table.astype(kinds).where(table.notna()) if kinds else table
