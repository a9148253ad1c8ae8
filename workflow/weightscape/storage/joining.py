"""Joins tables as text, which needs no pandas; and files of densities."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole


def join(parts: Sequence[str], target: Path) -> None:
    """The same table, or file of densities, of several populations in one."""
    if target.suffix == ".h5":
        from weightscape.storage.densities import join_densities

        join_densities([Path(part) for part in parts], target)
    else:
        join_tables(parts, target)


def join_tables(parts: Sequence[str], target: Path) -> None:
    """The rows of all `parts` under one header, as they are; in memory is a block of one file.

    Raises WeightscapeError if the parts have different columns.
    """
    header: bytes | None = None
    with replace_whole(target) as aside, aside.open("wb") as joined:
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
