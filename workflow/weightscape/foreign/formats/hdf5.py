"""HDF5: arrays by their path; `fc1.weight` is also found as `fc1/weight`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

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
        found = self._follow(name) or self._follow(name.replace(".", "/"))
        return found if isinstance(found, h5py.Dataset) else None

    def _follow(self, name: str) -> Any:
        """What lies at a path of hard links; None if there is nothing."""
        found: Any = self.file
        for part in name.strip("/").split("/"):
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise refuse(self.path, f"'{part}' is a link to elsewhere", "write it as one file")
            found = found[part]
        return found

    def read(self, name: str, found: h5py.Dataset) -> np.ndarray:
        if found.external or found.is_virtual:
            raise refuse(self.path, f"'{name}' lies in another file", "write it as one file")
        if found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4, 8):
            raise no_floats(self.path, name, found.dtype)
        # a chunk is unpacked whole, and may be larger than its array
        size = max(found.size, math.prod(found.chunks or ())) * found.dtype.itemsize
        check_expansion(self.path, name, size, found.id.get_storage_size())
        return as_float32(found[()])


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5]:
    # to read takes no lock, which some network file systems don't have
    with h5py.File(path, "r", locking=False) as file:
        yield Hdf5(path, file)
