"""Arrays in HDF5 files that others wrote: checkpoints, and images of the user's own.

An array is what lies in the file itself: links to elsewhere, external storage and virtual datasets
would read other files of the machine, or zeros where these are missing.
"""

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.foreign.formats.base import DEFLATE

Refuse = Callable[[str, str], WeightscapeError]
"""From what is wrong, and the remedy, to the error that names the file."""


def find_array(file: h5py.File, name: str, refuse: Refuse) -> h5py.Dataset | None:
    """The array at a path of hard links; None if there is none.

    Raises what `refuse` makes if it lies elsewhere, or is larger than its file can hold.
    """
    array = _follow(file, name, refuse)
    if not isinstance(array, h5py.Dataset):
        return None
    if array.external or array.is_virtual:
        raise refuse(f"'{name}' lies in another file", "write it as one file")
    is_stored_here = array.size and array.dtype.kind != "O"  # as texts of any length are not
    if is_stored_here and size_of(array) > DEFLATE * array.id.get_storage_size():
        raise refuse(f"'{name}' is larger than the file", "save it again")
    return array


def read_array(file: h5py.File, name: str, refuse: Refuse) -> np.ndarray | None:
    """What `find_array` finds, read."""
    array = find_array(file, name, refuse)
    return None if array is None else np.asarray(array[()])


def size_of(array: h5py.Dataset) -> int:
    """Bytes that an array takes in memory: a chunk is unpacked whole, and may be larger."""
    return int(max(array.size, math.prod(array.chunks or ())) * array.dtype.itemsize)


def _follow(file: h5py.File, name: str, refuse: Refuse) -> Any:
    """What lies at a path of hard links; None if there is nothing."""
    found: Any = file
    for part in name.strip("/").split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise refuse(f"'{part}' is a link to elsewhere", "write it as one file")
        found = found[part]
    return found
