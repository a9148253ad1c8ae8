"""safetensors: 8 bytes of header length, a JSON header, and raw little-endian numbers.

https://huggingface.co/docs/safetensors: the tensors fill the file without holes or overlaps.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from weightscape.foreign.formats.base import as_float32, from_bfloat16, no_floats, refuse

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
    "C64": 8,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
NUMBERS = {"float32": "F32", "int64": "I64", "uint8": "U8"}
"""numpy's names of what we write -> safetensors'"""
LONGEST_HEADER = 100_000_000  # bytes, as safetensors' own reader has it


class _Entry(NamedTuple):
    """A tensor in the header: its bytes count from the end of the header."""

    dtype: str
    shape: list[int]
    start: int
    end: int


class Safetensors:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            reason = f"it is cut off: its header of {length} bytes is incomplete"
            raise refuse(path, reason, "save it again")
        self.start = 8 + length
        self.entries = _parse_header(path, file.read(length), size - self.start)

    def names(self) -> Iterable[str]:
        return self.entries

    def find(self, name: str) -> _Entry | None:
        return self.entries.get(name)

    def read(self, name: str, found: _Entry) -> np.ndarray:
        if found.dtype not in FLOATS:
            raise no_floats(self.path, name, found.dtype)
        self.file.seek(self.start + found.start)
        values = np.frombuffer(self.file.read(found.end - found.start), FLOATS[found.dtype])
        if found.dtype == "BF16":
            values = from_bfloat16(values)
        return as_float32(values.reshape(found.shape))


@contextmanager
def open_safetensors(path: Path) -> Iterator[Safetensors]:
    with path.open("rb") as file:
        yield Safetensors(path, file)


class Tensor(NamedTuple):
    """A tensor to be written, whose parts along its first axis are read one after another."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """of NUMBERS"""
    read: Callable[[], Iterable[np.ndarray]]


def write_tensors(
    path: Path, tensors: Iterable[Tensor], facts: Mapping[str, str] | None = None
) -> None:
    """A file of these tensors, with facts as its metadata; in memory is one part."""
    every, header, end = list(tensors), dict[str, Any](), 0
    if facts:
        header["__metadata__"] = dict(facts)
    for name, shape, dtype, _ in every:
        start, end = end, end + math.prod(shape) * dtype.itemsize
        kind = NUMBERS[dtype.name]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in every:
            for part in tensor.read():
                file.write(np.ascontiguousarray(part, tensor.dtype.newbyteorder("<")).tobytes())


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
            raise refuse(path, f"the header of '{name}' is wrong", "save it again")
        if entry.dtype not in BYTES:
            raise no_floats(path, name, entry.dtype)
        if entry.end - entry.start != math.prod(entry.shape) * BYTES[entry.dtype]:
            raise refuse(
                path,
                f"'{name}' has a different number of bytes than its shape needs",
                "save it again",
            )
        entries[name] = entry
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != place:
            raise refuse(path, "its tensors overlap, or leave holes", "save it again")
        place = entry.end
    if place != size:
        reason = f"its tensors take {place} bytes, but it has {size}"
        raise refuse(path, reason, "save it again")
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name appears twice in its header")
    return dict(pairs)
