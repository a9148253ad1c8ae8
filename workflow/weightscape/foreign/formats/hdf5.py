"""HDF5: arrays by their path; `fc1.weight` is also found as `fc1/weight`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weightscape.files import open_unlocked
from weightscape.foreign.arrays import find_array, size_of
from weightscape.foreign.formats.base import as_float32, check_expansion, no_floats, refuse


class Hdf5:
    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file

    def names(self) -> Iterable[str]:
        found: list[str] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append(name)

        self.file.visititems(visit)  # hard links alone, each object once
        return found

    def find(self, name: str) -> h5py.Dataset | None:
        refuse_this = partial(refuse, self.path)
        found = find_array(self.file, name, refuse_this)
        return found or find_array(self.file, name.replace(".", "/"), refuse_this)

    def read(self, name: str, found: h5py.Dataset) -> np.ndarray:
        if found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4, 8):
            raise no_floats(self.path, name, found.dtype)
        check_expansion(self.path, name, size_of(found), found.id.get_storage_size())
        return as_float32(found[()])


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5]:
    with open_unlocked(path) as file:
        yield Hdf5(path, file)
