"""Joins tables as text, which needs no pandas; and files of densities."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.storage.seals import check_seal, replace_sealed


def join(parts: Sequence[str], target: Path) -> None:
    """The same table, or file of densities, of several populations in one."""
    if target.suffix == ".h5":
        from weightscape.storage.densities import join_densities

        join_densities([Path(part) for part in parts], target)
    else:
        join_tables(parts, target)


def join_tables(parts: Sequence[str], target: Path) -> None:
    """The rows of all `parts` under one header, as they are; in memory is a block of one file.

    Raises WeightscapeError if a part is damaged, or the parts have different columns.
    """
    header: bytes | None = None
    with replace_sealed(target) as aside, aside.open("wb") as joined:
        for part in parts:
            check_seal(Path(part))
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
