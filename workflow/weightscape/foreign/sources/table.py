"""The source `table`: a folder of checkpoints, and a CSV file with a row for each run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape.foreign.listing import Layout, Listing, Unit, read_listing

if TYPE_CHECKING:
    import numpy as np

UNIT: Unit = "percent"
LAYOUT: Layout = "out_in"


def list_runs(folder: str, table: str, unit: Unit) -> Listing:
    if not table:
        return Listing([], ["the key 'table' is missing; name the CSV file that lists the runs"])
    return read_listing(table, unit)


def read(folder: Path, place: str, names: Collection[str]) -> dict[str, np.ndarray]:
    from weightscape.foreign.checkpoints import read_tensors

    return read_tensors(folder / place, names)


def digest(folder: Path, place: str) -> str:
    from weightscape.foreign.checkpoints import sha256

    return sha256(folder / place)


def size(folder: Path, place: str) -> int:
    try:
        return (folder / place).stat().st_size
    except OSError:
        return 0


def files(place: str) -> list[str]:
    return [place]
