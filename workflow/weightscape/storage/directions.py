"""Directions: what hidden layers of runs make of some test images, as `similarity` compares it.

A file has the runs of one population, in `width` and `seed`, and for final and initial weights the
direction of each run in each layer: the upper triangle of a centred Gram matrix, of length 1, so
that the inner product of two is their CKA over these images. Those of a run that is left out are
NaN. Half precision moves a CKA by less than 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weightscape.storage.hdf5 import read_file, write_file

DIRECTIONS_VERSION = 1
WEIGHTS = ("final", "initial")
ROWS = 500  # runs that are read at a time


@contextmanager
def write_directions(
    path: Path, model: str, dataset: str, layers: Sequence[str]
) -> Iterator[h5py.File]:
    """A new file, to which `add_directions` adds; complete when it is left."""
    facts = {"format_version": DIRECTIONS_VERSION, "model": model, "dataset": dataset}
    with write_file(path, facts | {"layers": list(layers)}) as file:
        yield file


def add_directions(
    file: h5py.File, weights: str, layer: str, directions: np.ndarray, known: np.ndarray
) -> None:
    """(n, pairs of images) of the runs of the file; `known` (n,) says which are not left out."""
    halves = directions.astype(np.float16)
    halves[~known] = np.nan
    file.create_dataset(f"{weights}/{layer}", data=halves)


def add_runs(file: h5py.File, runs: Sequence[Mapping[str, Any]]) -> None:
    """The runs whose directions are added, in their order, by `width` and `seed`."""
    # of one length: texts of any length would have other bytes each time
    file.create_dataset("width", data=np.array([run["width"].encode() for run in runs]))
    file.create_dataset("seed", data=[run["seed"] for run in runs])


def open_directions(path: Path) -> AbstractContextManager[h5py.File]:
    """For reading; WeightscapeError if the file is damaged."""
    remedy = "delete it and run again"
    return read_file(path, "the file of directions", DIRECTIONS_VERSION, remedy)


def read_runs(file: h5py.File) -> list[tuple[str, int]]:
    """Width and seed of each run; there are none of a family that tells no layers' outputs."""
    if "width" not in file:
        return []
    return list(zip(file["width"].asstr()[()], file["seed"][()].tolist(), strict=True))


def read_directions(file: h5py.File, weights: str, layer: str) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of ROWS runs (rows, pairs of images) float32, each with the place of its first run."""
    directions = file[f"{weights}/{layer}"]
    for first in range(0, len(directions), ROWS):
        yield first, directions[first : first + ROWS].astype(np.float32)
