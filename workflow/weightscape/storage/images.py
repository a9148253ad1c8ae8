"""Datasets as training reads them: one HDF5 file of uint8 images and labels each.

The file: attrs name, classes, provenance (JSON), digest (SHA-256 of the arrays), format_version;
per split `train` and `test`: images (N, channels, height, width) uint8 and labels (N,) int64.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.storage.hdf5 import DAMAGE, read_file, write_file

FORMAT_VERSION = 1

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
"""`train` and `test`: images (N, channels, height, width) uint8 and labels (N,) int64"""


class Images(NamedTuple):
    """A prepared dataset in memory; images (N, channels, height, width) uint8, labels (N,)."""

    name: str
    classes: int
    digest: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.train[0].shape[1:]
        return channels, height, width


def load(path: Path) -> Images:
    """A prepared dataset. Raises WeightscapeError if it is damaged; remaking it mends that."""
    with open_dataset(path) as file:
        train, test = (
            (file[f"{split}/images"][()], file[f"{split}/labels"][()])
            for split in ("train", "test")
        )
        facts = dict(file.attrs)
        return Images(facts["name"], int(facts["classes"]), facts["digest"], train, test)


@contextmanager
def open_dataset(path: Path) -> Iterator[h5py.File]:
    """A prepared dataset for reading; whatever is wrong with it is a WeightscapeError."""
    remedy = "delete it and run again to make it again"
    with read_file(path, "the dataset", FORMAT_VERSION, remedy) as file:
        try:
            yield file
        except DAMAGE as error:
            raise WeightscapeError(f"the dataset {path} is refused: {error}; {remedy}") from error


def count_classes(splits: Splits) -> int:
    return int(max(labels.max() for _, labels in splits.values())) + 1


def _digest(splits: Splits) -> str:
    digest = hashlib.sha256()
    for split in ("train", "test"):
        for array in splits[split]:
            digest.update(f"{split} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_dataset(name: str, target: Path, splits: Splits, provenance: dict[str, Any]) -> None:
    attributes = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": count_classes(splits),
        "provenance": json.dumps(provenance, sort_keys=True),
        "digest": _digest(splits),
    }
    with write_file(target, attributes) as file:
        for split, (images, labels) in splits.items():
            file.create_dataset(f"{split}/images", data=images, compression="lzf")
            file.create_dataset(f"{split}/labels", data=labels)
