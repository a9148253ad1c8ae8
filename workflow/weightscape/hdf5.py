"""HDF5 files of ours: written whole, and protected against damage wherever it falls.

HDF5's own checksums cover its metadata (from libver v110 on) and the arrays (fletcher32), but not
attributes of text, which it keeps in a heap. A digest over all attributes closes that gap.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole

SEAL = "attributes_digest"
# readers check these by themselves, and say better what is wrong
UNSEALED = {"format_version", "recipe", "recipe_digest"}


@contextmanager
def write_file(target: Path, attributes: dict[str, Any]) -> Iterator[h5py.File]:
    """A new file with these attributes, open to be filled; `target` appears when it is complete."""
    with replace_whole(target) as aside, h5py.File(aside, "w", libver="v110") as file:
        file.attrs.update(attributes)
        # of fixed length, so that it lies where HDF5's own checksum covers it
        file.attrs[SEAL] = np.bytes_(_digest(dict(file.attrs)))
        yield file


# what h5py may raise on a damaged file
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)


@contextmanager
def read_file(path: Path | str, what: str, version: int, remedy: str) -> Iterator[h5py.File]:
    """A file of ours for reading.

    Raises WeightscapeError, which names `what`, the path, the reason and the `remedy`, if the file
    is missing, none of ours, of another format_version, or if its attributes are damaged.
    """
    try:
        file = h5py.File(path)
        _check(file, version)
    except DAMAGE as error:
        raise WeightscapeError(f"{what} {path} is refused: {error}; {remedy}") from error
    with file:
        yield file


def _check(file: h5py.File, version: int) -> None:
    attributes = dict(file.attrs)
    found = attributes.get("format_version")
    if found != version:
        raise ValueError(f"its format_version is {found}, not {version}")
    if attributes.pop(SEAL, b"") != _digest(attributes).encode():
        raise ValueError("its attributes are damaged or were changed")


def _digest(attributes: dict[str, Any]) -> str:
    sealed = attributes.keys() - UNSEALED
    text = repr([(key, str(attributes[key])) for key in sorted(sealed)])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
