"""Checkpoints: tensors by name from files that others wrote (safetensors, torch, HDF5).

A checkpoint is data: nothing in it is run, nothing outside it is read, and no more numbers are
taken from it than it holds. Whatever is wrong with a file is a WeightscapeError that says what,
and what to do.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, NamedTuple
from zipfile import ZipFile, is_zipfile

import h5py
import numpy as np

from weightscape.errors import WeightscapeError

FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
"""safetensors' names of the numbers that weights can be, and how they are read"""
BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
LONGEST_HEADER = 100_000_000  # bytes, as safetensors' own reader has it
MOST_COMPRESSED = 1032  # deflate makes a byte of no more

Tensors = dict[str, np.ndarray]


def read_tensors(path: Path, names: Iterable[str]) -> Tensors:
    """The tensors `names` of a checkpoint, float32.

    The suffix tells the format. Raises WeightscapeError if the file is missing, damaged, of another
    format or holds objects that are no tensors, or if a tensor is missing or not of floats.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise _refuse(path, f"its suffix is not one of {known}", "give it that of its format")
    if not path.is_file():
        raise _refuse(path, "there is no such file", "correct the table, or put the file there")
    try:
        return reader(path, list(names))
    except WeightscapeError:
        raise
    # readers and unpicklers raise nearly anything on damaged bytes, MemoryError among it
    except Exception as error:
        reason = f"it can't be read ({type(error).__name__}: {_first_line(error)})"
        raise _refuse(path, reason, "save it again") from error


def _refuse(path: Path, reason: str, remedy: str) -> WeightscapeError:
    return WeightscapeError(f"the checkpoint {path} is refused: {reason}; {remedy}")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else "no reason given"


def _missing(path: Path, name: str, known: Iterable[str]) -> WeightscapeError:
    listing = sorted(known)
    shown = ", ".join(listing[:10]) + (", ..." if len(listing) > 10 else "")
    others = f"; it has {shown}" if shown else ", and no other one"
    return _refuse(
        path,
        f"it has no tensor '{name}'{others}",
        "name the right one under layers in the config",
    )


def _no_floats(path: Path, name: str, kind: object) -> WeightscapeError:
    return _refuse(path, f"'{name}' is {kind}", "save it as 16, 32 or 64-bit floats")


class _Entry(NamedTuple):
    """A tensor in a safetensors header: its bytes count from the end of the header."""

    dtype: str
    shape: list[int]
    start: int
    end: int


def _read_safetensors(path: Path, names: list[str]) -> Tensors:
    """8 bytes of header length, a JSON header, and raw little-endian numbers.

    https://huggingface.co/docs/safetensors: the tensors fill the file without holes or overlaps.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise _refuse(
                path, f"it is cut off: its header of {length} bytes is incomplete", "save it again"
            )
        entries = _parse_header(path, file.read(length), size - 8 - length)
        return {name: _read_entry(path, file, 8 + length, name, entries) for name in names}


def _parse_header(path: Path, text: bytes, size: int) -> dict[str, _Entry]:
    """The tensors of a header whose data have `size` bytes, checked against each other."""
    entries = {}
    header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    for name, about in header.items():
        if name == "__metadata__":
            continue
        entry = _Entry(about["dtype"], about["shape"], *about["data_offsets"])
        # a bool is an int in Python
        if not all(type(n) is int and n >= 0 for n in (*entry.shape, *entry[2:])):
            raise _refuse(path, f"the header of '{name}' is wrong", "save it again")
        if entry.end - entry.start != math.prod(entry.shape) * BYTES[entry.dtype]:
            raise _refuse(
                path,
                f"'{name}' has a different number of bytes than its shape needs",
                "save it again",
            )
        entries[name] = entry
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != place:
            raise _refuse(path, "its tensors overlap, or leave holes", "save it again")
        place = entry.end
    if place != size:
        reason = f"its tensors take {place} bytes, but it has {size}"
        raise _refuse(path, reason, "save it again")
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name appears twice in its header")
    return dict(pairs)


def _read_entry(
    path: Path, file: BinaryIO, start: int, name: str, entries: dict[str, _Entry]
) -> np.ndarray:
    if name not in entries:
        raise _missing(path, name, entries)
    entry = entries[name]
    if entry.dtype not in FLOATS:
        raise _no_floats(path, name, entry.dtype)
    file.seek(start + entry.start)
    values = np.frombuffer(file.read(entry.end - entry.start), FLOATS[entry.dtype])
    if entry.dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return _as_float32(values.reshape(entry.shape))


@np.errstate(over="ignore")  # a float64 beyond float32 is infinite, as in the network itself
def _as_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def _read_torch(path: Path, names: list[str]) -> Tensors:
    """A state_dict, or one within other dicts: its names are then joined by dots.

    weights_only unpickles tensors and plain containers, and refuses every other object.
    """
    import torch

    if is_zipfile(path):
        with ZipFile(path) as parts:  # torch does not look at its checksums
            if damaged := parts.testzip():
                raise _refuse(path, f"its part {damaged} is damaged", "save it again")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        alien = re.search(r"GLOBAL (\S+)", str(error))
        if not alien:
            raise _refuse(
                path, "it is damaged, or it is not a torch file", "save it again"
            ) from error
        raise _refuse(
            path,
            f"it contains {alien[1]}, which is not a tensor; nothing in it was run",
            "save the state_dict alone: torch.save(model.state_dict(), file)",
        ) from error
    found = {}
    for name in names:
        tensor = _find(loaded, name)
        if not isinstance(tensor, torch.Tensor):
            raise _missing(path, name, _names(loaded, torch.Tensor, set()))
        tensor = tensor.detach()
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise _no_floats(path, name, f"{tensor.dtype}, {tensor.layout}")
        # strides of 0 make any shape of one number
        if tensor.numel() * tensor.element_size() > path.stat().st_size:
            raise _refuse(path, f"'{name}' is larger than the file", "save it again")
        found[name] = tensor.float().numpy().copy()
    return found


def _find(value: Any, name: str) -> Any:
    """What has this name in dicts within dicts, whose names may have dots themselves."""
    if not isinstance(value, Mapping):
        return None
    if name in value:
        return value[name]
    ends = (place for place, letter in enumerate(name) if letter == ".")
    within = (_find(value.get(name[:end]), name[end + 1 :]) for end in ends)
    return next((found for found in within if found is not None), None)


def _names(value: Any, kind: type, seen: set[int], above: str = "") -> Iterator[str]:
    """The names of all objects of a kind; each dict once, since few may stand in many places."""
    if isinstance(value, kind):
        yield above
    elif isinstance(value, Mapping) and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items():
            yield from _names(item, kind, seen, f"{above}.{key}" if above else str(key))


def _read_hdf5(path: Path, names: list[str]) -> Tensors:
    """Arrays by their path; `fc1.weight` is also found as `fc1/weight`."""
    with h5py.File(path) as file:
        return {name: _read_array(path, file, name) for name in names}


def _read_array(path: Path, file: h5py.File, name: str) -> np.ndarray:
    array = _follow(path, file, name) or _follow(path, file, name.replace(".", "/"))
    if not isinstance(array, h5py.Dataset):
        raise _missing(path, name, file)
    if array.external or array.is_virtual:
        raise _refuse(path, f"'{name}' lies in another file", "write it as one file")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise _no_floats(path, name, array.dtype)
    if array.size * array.dtype.itemsize > MOST_COMPRESSED * array.id.get_storage_size():
        raise _refuse(path, f"'{name}' is larger than the file", "save it again")
    return _as_float32(array[()])


def _follow(path: Path, file: h5py.File, name: str) -> Any:
    """What lies at a path of hard links; None if there is nothing."""
    found: Any = file
    for part in name.strip("/").split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise _refuse(path, f"'{part}' is a link to elsewhere", "write it as one file")
        found = found[part]
    return found


READERS: dict[str, Callable[[Path, list[str]], Tensors]] = {
    ".safetensors": _read_safetensors,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _read_torch),
    **dict.fromkeys((".h5", ".hdf5"), _read_hdf5),
}
"""By suffix."""
