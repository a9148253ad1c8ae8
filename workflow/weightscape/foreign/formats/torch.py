"""What torch.save writes: a zip archive (since 1.6), the older stream of pickles, TorchScript.

The pickles are read as data, so that nothing in a file runs, whatever objects lie beside the
weights, and torch need not be there. Names are those of dicts within dicts, joined by dots.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from weightscape.foreign.formats import pickles
from weightscape.foreign.formats.base import (
    DAMAGED,
    as_float32,
    from_bfloat16,
    no_floats,
    refuse,
    too_large,
)
from weightscape.foreign.formats.pickles import Global, Made, Persistent

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
FLOATS = {"float16": "f2", "bfloat16": "u2", "float32": "f4", "float64": "f8"}
"""torch's names of the numbers that weights can be, and how they are read"""
NO_DENSE = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_qtensor": "quantised",
}
MAGIC = 0x1950A86A20F9469CFC6C  # that the older streams begin with
DEEPEST = 10  # parameters of parameters
MOST_NAMES, LONGEST_NAME = 10_000, 200  # that are listed


class _Tensor(NamedTuple):
    storage: Any
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    def check(self) -> None:
        """ValueError unless all are what they should be: they come from outside."""
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(type(n) is not int for n in numbers):
            raise ValueError
        if min(numbers) < 0 or not isinstance(self.dtype, str):
            raise ValueError


class _Array(NamedTuple):
    """An array of numpy."""

    data: Any
    dtype: str
    shape: tuple[int, ...]
    order: str


class _Storages(Protocol):
    """The numbers of the tensors, which lie outside the pickle."""

    byte_order: str

    def load(self, key: str) -> bytes | memoryview: ...


class TorchFile:
    def __init__(self, path: Path, content: Any, storages: _Storages) -> None:
        self.path, self.content, self.storages = path, content, storages

    def names(self) -> Iterable[str]:
        return islice(_names(self.content), MOST_NAMES)

    def find(self, name: str) -> Any:
        return _find(self.content, name)

    def read(self, name: str, found: Any) -> np.ndarray:
        match _described(found):
            case _Tensor() as tensor:
                return self._read_tensor(name, tensor)
            case _Array() as array:
                return _read_array(self.path, name, array)
            case Made(name=made) if made in NO_DENSE:
                remedy = "save it dense: tensor.to_dense(), or tensor.dequantize()"
                raise refuse(self.path, f"'{name}' is {NO_DENSE[made]}", remedy)
            case Made(name=kind) | Global(name=kind):
                raise refuse(
                    self.path, f"'{name}' is {kind}, no tensor", "save the state_dict alone"
                )
            case other:
                raise no_floats(self.path, name, f"no tensor, but {type(other).__name__}")

    def _read_tensor(self, name: str, tensor: _Tensor) -> np.ndarray:
        if tensor.dtype not in FLOATS:
            raise no_floats(self.path, name, f"torch.{tensor.dtype}")
        match tensor.storage:
            # the last of six is a view of the storage, which torch wrote before 0.4
            case Persistent(("storage", _, str(key), _, _) | ("storage", _, str(key), _, _, None)):
                raw = self.storages.load(key)
            case _:
                raise refuse(
                    self.path, f"the numbers of '{name}' lie elsewhere", "save it with torch.save"
                )
        dtype = np.dtype(self.storages.byte_order + FLOATS[tensor.dtype])
        numbers = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True)
        )
        # strides of 0 make any shape of one number
        if math.prod(tensor.size) * dtype.itemsize > self.path.stat().st_size or (
            0 not in tensor.size and last >= len(numbers)
        ):
            raise too_large(self.path, name)
        if 0 in tensor.size:
            return np.zeros(tensor.size, np.float32)
        strides = [step * dtype.itemsize for step in tensor.stride]
        values = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.size, strides)
        values = np.ascontiguousarray(values).reshape(tensor.size)
        return as_float32(from_bfloat16(values) if tensor.dtype == "bfloat16" else values)


def _described(value: Any) -> Any:
    """A tensor or an array where `value` describes one, or else the value."""
    for _ in range(DEEPEST):
        match value:
            case Made(name="torch._tensor._rebuild_from_type_v2", arguments=(f, _, given, *_)):
                value = Made(getattr(f, "name", ""), given if isinstance(given, tuple) else ())
            case Made(
                name="torch._utils._rebuild_parameter"
                | "torch._utils._rebuild_parameter_with_state"
                | "torch.nn.parameter.Parameter",
                arguments=(data, *_),
            ):
                value = data
            case _:
                break
    return _as_tensor(value)


def _as_tensor(value: Any) -> Any:
    match value:
        case Made(
            name="torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
            arguments=(storage, offset, tuple(size), tuple(stride), *_),
        ):
            tensor = _Tensor(storage, offset, size, stride, _storage_type(storage))
        case Made(
            name="torch._utils._rebuild_tensor_v3",
            arguments=(storage, offset, tuple(size), tuple(stride), _, _, Global(dtype), *_),
        ):
            tensor = _Tensor(storage, offset, size, stride, dtype.removeprefix("torch."))
        case Made(
            name="numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct",
            state=(_, tuple(shape), dtype, is_fortran, data),
        ):
            return _Array(data, _dtype(dtype), shape, "F" if is_fortran else "C")
        case Made(
            name="numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer",
            arguments=(data, dtype, tuple(shape), str(order), *_),
        ):
            return _Array(data, _dtype(dtype), shape, order)
        case _:
            return value
    tensor.check()
    return tensor


def _storage_type(storage: Any) -> str:
    match storage:
        case Persistent(("storage", Global(kind), *_)):
            kind = kind.rpartition(".")[2]
            return STORAGES.get(kind, kind)
        case _:
            return "missing"


def _dtype(value: Any) -> str:
    """numpy's spelling: its byte order and its kind, such as <f4."""
    match value:
        case Made("numpy.dtype", (str(kind), *_), (_, str(order), *_)):
            return order.replace("|", "=") + kind
        case _:
            return "unknown"


def _read_array(path: Path, name: str, array: _Array) -> np.ndarray:
    if not re.fullmatch("[<>=]f[248]", array.dtype):
        raise no_floats(path, name, f"an array of {array.dtype}")
    match array.data:
        case bytes() | bytearray():
            raw = array.data
        case Made("_codecs.encode", (str(text), *_)) | str(text):  # bytes in protocols below 3
            raw = text.encode("latin-1")
        case _:
            raise no_floats(path, name, "an array without numbers")
    values = np.frombuffer(raw, array.dtype)
    return as_float32(values.reshape(array.shape, order="F" if array.order == "F" else "C"))


def _find(value: Any, name: str) -> Any:
    """What has this name in dicts within dicts, whose names may have dots themselves."""
    known = pickles.parts(value)
    if name in known:
        return known[name]
    ends = (place for place, letter in enumerate(name) if letter == ".")
    within = (_find(known[name[:end]], name[end + 1 :]) for end in ends if name[:end] in known)
    return next((found for found in within if found is not None), None)


def _names(content: Any) -> Iterator[str]:
    """The names of tensors and arrays; each dict once, since few may stand in many places."""
    seen = {id(content)}
    queue = deque([(content, "")])
    while queue:
        value, above = queue.popleft()
        for key, item in pickles.parts(value).items():
            name = f"{above}.{key}" if above else key
            if isinstance(_described(item), _Tensor | _Array):
                yield name
            elif len(name) < LONGEST_NAME and id(item) not in seen:
                seen.add(id(item))
                queue.append((item, name))


@contextmanager
def open_torch_zip(path: Path) -> Iterator[TorchFile]:
    with ZipFile(path) as archive:
        yield _open_archive(path, archive)


def _open_archive(path: Path, archive: ZipFile) -> TorchFile:
    found = [name for name in archive.namelist() if re.fullmatch("[^/]+/data.pkl", name)]
    if len(found) != 1:
        raise refuse(
            path, "it is a zip archive, but not one of torch's", "unpack it, or save it again"
        )
    parts = _ZipParts(path, archive, found[0].removesuffix("data.pkl"))
    return TorchFile(path, _load_pickle(path, BytesIO(parts.read("data.pkl"))).content, parts)


class _ZipParts:
    """The parts of a torch archive, each as large as its directory says."""

    def __init__(self, path: Path, archive: ZipFile, top: str) -> None:
        self.path, self.archive, self.top = path, archive, top
        is_told = f"{top}byteorder" in archive.NameToInfo
        self.byte_order = ">" if is_told and self.read("byteorder") == b"big" else "<"
        self.last = "", b""  # tensors that share their numbers mostly follow each other

    def read(self, name: str) -> bytes:
        part = self.archive.NameToInfo.get(self.top + name)
        if part is None:
            raise refuse(self.path, f"its part {self.top}{name} is missing", "save it again")
        if part.compress_type != ZIP_STORED:
            raise refuse(
                self.path,
                "it is compressed, which torch never does",
                "save it again with torch.save, or unpack it and pack it with zip -0",
            )
        if not part.file_size == part.compress_size <= self.path.stat().st_size:
            raise refuse(self.path, f"its part {part.filename} is damaged", "save it again")
        return self.archive.read(part)  # its checksum is compared

    def load(self, key: str) -> bytes:
        if self.last[0] != key or not self.last[1]:
            self.last = key, self.read(f"data/{key}")
        return self.last[1]


class _Stream:
    """The storages of an older stream, in memory."""

    def __init__(self, byte_order: str = "<") -> None:
        self.byte_order = byte_order
        self.storages: dict[str, memoryview] = {}

    def fill(self, data: memoryview, kinds: dict[str, str], keys: Any) -> None:
        """Take the storages of `keys` from `data`: 8 bytes with its length before each."""
        place = 0
        for key in keys:
            count = int.from_bytes(data[place : place + 8], "little")
            start, place = place + 8, place + 8 + count * _bytes_of(kinds[key])
            if place > len(data):
                raise pickles.PickleError("a storage is cut off")
            self.storages[key] = data[start:place]

    def load(self, key: str) -> memoryview:
        return self.storages[key]


def _bytes_of(kind: str) -> int:
    """The bytes of a number of this type: those of a float32 are 4."""
    bits = re.search("[0-9]+$", kind)
    return int(bits[0]) // 8 if bits else 1


@contextmanager
def open_pickle(path: Path) -> Iterator[TorchFile]:
    """The older stream: a number, a version, facts, the content, keys of storages, and these.

    A pickle that is no such stream is its content.
    """
    data = path.read_bytes()
    file = BytesIO(data)
    content, storages = _load_pickle(path, file).content, _Stream()
    if content == MAGIC:
        _, facts, whole, keys = (_load_pickle(path, file) for _ in range(4))
        is_little = pickles.parts(facts.content).get("little_endian", True)
        content, storages = whole.content, _Stream("<" if is_little else ">")
        kinds = {place.key[2]: _storage_type(place) for place in whole.outside}
        storages.fill(memoryview(data)[file.tell() :], kinds, keys.content)
    yield TorchFile(path, content, storages)


def _load_pickle(path: Path, file: BytesIO) -> pickles.Pickle:
    try:
        return pickles.load(file)
    except pickles.PickleError as error:
        raise refuse(path, f"{DAMAGED} ({error})", "save it again") from error
