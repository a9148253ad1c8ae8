"""numpy's .npz: a zip archive with an array in each of its parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from weightscape.foreign.formats.base import (
    as_float32,
    check_expansion,
    no_floats,
    refuse,
    too_large,
)


class Npz:
    def __init__(self, path: Path, archive: ZipFile) -> None:
        self.path, self.archive = path, archive

    def names(self) -> Iterable[str]:
        return [name.removesuffix(".npy") for name in self.archive.namelist()]

    def find(self, name: str) -> ZipInfo | None:
        return self.archive.NameToInfo.get(f"{name}.npy")

    def read(self, name: str, found: ZipInfo) -> np.ndarray:
        if found.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise refuse(self.path, "its compression is unusual", "save it by numpy.savez")
        stored = min(found.compress_size, self.path.stat().st_size)
        check_expansion(self.path, name, found.file_size, stored)
        with self.archive.open(found) as file:
            version = npy.read_magic(file)
            read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, is_fortran, dtype = read_header[version](file)
            if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
                raise no_floats(self.path, name, dtype)
            if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > found.file_size:
                raise too_large(self.path, name)
            values = np.frombuffer(file.read(found.file_size), dtype)
        return as_float32(values.reshape(shape, order="F" if is_fortran else "C"))


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    with ZipFile(path) as archive:
        yield Npz(path, archive)
